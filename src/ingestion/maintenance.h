/*
 * maintenance.h
 *		The maintenance worker.
 */
#ifndef SESSION_FILES_MAINTENANCE_H
#define SESSION_FILES_MAINTENANCE_H

#include "compat.h"

/* Registers the worker, if the library is preloaded and the settings name a database. After settings_init. */
extern void maintenance_init(void);

#endif
