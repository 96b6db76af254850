/*
 * settings.h
 *		The settings session_files.*, and what follows from them.
 */
#ifndef SESSION_FILES_SETTINGS_H
#define SESSION_FILES_SETTINGS_H

#include "compat.h"

/* After how many attempts a file is not tried again. */
extern int settings_max_attempts;

/* Whether transactions notify those who listen. */
extern bool settings_notify;

/* The database that the maintenance worker looks after; "" for none. And how often, in seconds. */
extern char *settings_maintenance_database;
extern int settings_maintenance_interval;

/* Defines the settings; to be called once, when the library is loaded. */
extern void settings_init(void);

#endif
