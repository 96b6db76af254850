/*
 * metrics.h
 *		The counters of the HTTP workers, in shared memory.
 */
#ifndef SESSION_FILES_HTTP_METRICS_H
#define SESSION_FILES_HTTP_METRICS_H

#include "compat.h"

#include "lib/stringinfo.h"

/* Requests shared memory. To be called once, when the library is preloaded. */
extern void metrics_init(void);

/* Makes this process a worker with a row, until it ends. */
extern void metrics_start_worker(int number);

/* Count a request by its response's status; one that the server refused; one for whose response there was no room. */
extern void metrics_count_request(int status, int64 microseconds);
extern void metrics_count_refusal(int status);
extern void metrics_count_no_room(void);

/* Sets how many connections this worker has, how many bytes of responses are unread, and how many connections it has closed to make room. */
extern void metrics_set_connections(int count, uint64 unread, uint64 dropped);

/* Writes the sums over all workers in the text format of Prometheus. */
extern void metrics_write(StringInfo out);

#endif
