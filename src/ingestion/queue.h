/*
 * queue.h
 *		The queue of PENDING files.
 */
#ifndef SESSION_FILES_QUEUE_H
#define SESSION_FILES_QUEUE_H

#include "compat.h"

#include "utils/array.h"
#include "utils/uuid.h"

/* How many files a row of file_queue holds at most: a row of 1,800 bytes, which stays in the table itself. */
#define QUEUE_MAX_FILES 100

/* Returns the elements of an array of UUIDs, which stand one behind the other in it; raises 22004 if one is null. */
extern const pg_uuid_t *queue_array_ids(ArrayType *array, int *count);

/* Returns an array of UUIDs. */
extern ArrayType *queue_make_array(const pg_uuid_t *ids, int count);

#endif
