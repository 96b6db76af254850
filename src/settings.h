/*
 * settings.h
 *		The settings session_files.*, and what follows from them.
 */
#ifndef SESSION_FILES_SETTINGS_H
#define SESSION_FILES_SETTINGS_H

#include "compat.h"

#include "datatype/timestamp.h"

/* How many attempts a file has. */
extern int settings_max_attempts;

/* Whether transactions send notifications. */
extern bool settings_notify;

/* Where a client finds how to upload, a URL or "". */
extern char *settings_documentation_url;

/* The database of the maintenance worker, or ""; and how often it works, in seconds. */
extern char *settings_maintenance_database;
extern int settings_maintenance_interval;

#define HTTP_MAX_WORKERS 64

/* The settings session_files.http_*, for the library session_files_http. Sizes are in bytes (unread_size: kB), times in seconds. */
typedef struct HttpSettings
{
	int workers;
	char *listen_address;
	int port;
	char *database;
	char *role;
	char *anonymous_role;
	int max_connections;
	int header_size;
	int body_size;
	int unread_size; /* in kB */
	int idle_timeout;
	char *jwt_secret;
	char *jwk_set_file;
	char *jwt_audience;
	char *allow_origin; /* "*", a list separated by commas, or "" */
} HttpSettings;

extern HttpSettings settings_http;

/*
 * Finds when a file can be claimed again after its attempt with this number failed for a reason. Returns false if it is not tried again:
 * the reason is not one of retry_reasons, or the attempt was the last one.
 */
extern bool settings_retry_at(int reason, int attempt, TimestampTz *at);

/* Defines the settings; to be called once, when the library is loaded. */
extern void settings_init(void);

#endif
