/*
 * queue.h
 *		Arrays of ids, as file_queue has them.
 */
#ifndef SESSION_FILES_QUEUE_H
#define SESSION_FILES_QUEUE_H

#include "compat.h"

#include "utils/array.h"
#include "utils/uuid.h"

/* How many files a queue row holds at most: a row of 1,800 bytes, which is not moved to the TOAST table. */
#define QUEUE_MAX_FILES 100

/* Returns the elements of an array of UUIDs, which are contiguous in it. Raises 22004 if one is null. */
extern const pg_uuid_t *queue_array_ids(ArrayType *array, int *count);

/* Returns an array of UUIDs. */
extern ArrayType *queue_make_array(const pg_uuid_t *ids, int count);

#endif
