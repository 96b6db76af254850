/*
 * launcher.h
 *		The process that keeps the HTTP workers running.
 */
#ifndef SESSION_FILES_HTTP_LAUNCHER_H
#define SESSION_FILES_HTTP_LAUNCHER_H

#include "../compat.h"

/* Registers the launcher; to be called once, when the library is preloaded. */
extern void launcher_init(void);

/* The main function of a background worker. */
extern PGDLLEXPORT void session_files_http_launcher(Datum unused);

#endif
