/*
 * metrics.h
 *		What the HTTP workers count, in shared memory, and how it is told.
 */
#ifndef SESSION_FILES_HTTP_METRICS_H
#define SESSION_FILES_HTTP_METRICS_H

#include "compat.h"

#include "lib/stringinfo.h"

/* Asks for shared memory; to be called once, when the library is preloaded. */
extern void metrics_init(void);

/* Says that this process is a worker, until it ends. */
extern void metrics_start_worker(int number);

/* Count what this worker does: a request with its answer's status; one that the server refused; one whose answer found no room. */
extern void metrics_count_request(int status, int64 microseconds);
extern void metrics_count_refusal(int status);
extern void metrics_count_no_room(void);

/* Sets how many connections this worker has, bytes of answers that are not read, and connections that were closed to make room so far. */
extern void metrics_set_connections(int count, uint64 unread, uint64 dropped);

/* Writes the sums over all workers in the text format of Prometheus. */
extern void metrics_write(StringInfo out);

#endif
