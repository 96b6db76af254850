/*
 * metrics.h
 *		What the HTTP workers count, in shared memory, and how it is told.
 */
#ifndef SESSION_FILES_HTTP_METRICS_H
#define SESSION_FILES_HTTP_METRICS_H

#include "../compat.h"

#include "lib/stringinfo.h"

/* Asks for shared memory; to be called once, when the library is preloaded. */
extern void metrics_init(void);

/* The process that starts the workers; and each worker's, 0 when it does not run. */
extern pid_t metrics_launcher(void);
extern void metrics_set_launcher(pid_t pid);
extern pid_t metrics_worker(int number);

/* Says that this process is a worker, until it ends; the launcher is woken then. */
extern void metrics_start_worker(int number);

extern void metrics_count_restart(void);

/* Count what this worker does. */
extern void metrics_count_request(int status, int64 microseconds);
extern void metrics_count_refusal(int status);
extern void metrics_set_connections(int count);

/* Writes the sums over all workers in the text format of Prometheus. */
extern void metrics_write(StringInfo out);

#endif
