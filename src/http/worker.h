/*
 * worker.h
 *		An HTTP worker: from requests to transactions.
 */
#ifndef SESSION_FILES_HTTP_WORKER_H
#define SESSION_FILES_HTTP_WORKER_H

#include "compat.h"

/* The main function of a background worker; the argument is its number, from 0. */
extern PGDLLEXPORT void session_files_http_worker(Datum number);

#endif
