/*
 * queue.h
 *		Rows of file_queue: how they are read and written; arrays of ids, as they have them.
 */
#ifndef SESSION_FILES_QUEUE_H
#define SESSION_FILES_QUEUE_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/uuid.h"

#include "catalog.h"

/* How many files a queue row holds at most: a row of 1,800 bytes, which is not moved to the TOAST table. */
#define QUEUE_MAX_FILES 100

/* A row of file_queue, without its files. */
typedef struct QueueRow
{
	pg_uuid_t session_id;
	text *workspace_name; /* of the session, with the next one: kept there for the indexes of claims */
	int16 priority;
	TimestampTz due_at;
	int64 generation; /* void for files with a greater one */
	int attempt;
	bool was_claimed; /* whether the rest counts */
	TimestampTz claimed_at;
	int last_reason; /* REASON_NONE: no attempt was reported as failed */
	bool has_lease;  /* whether the rest counts */
	pg_uuid_t lease_token;
	text *worker;
	int company; /* how many files the claim had */
} QueueRow;

/* Finds workspace and priority of a session, which a new queue row has, and whether it is OPEN, as of now. False if it is not there. */
extern bool queue_read_session(const Catalog *catalog, const pg_uuid_t *session_id, QueueRow *row, bool *is_open);

/* Reads a row; returns its files. All is a copy. */
extern pg_uuid_t *queue_read(const Catalog *catalog, TupleTableSlot *slot, QueueRow *row, int *count);

/* Adds a row with these files, sorted by id. To be called between owner_begin and owner_end, as the next. */
extern void queue_insert(const QueueRow *row, const pg_uuid_t *ids, int count);

/* Adds files in rows of at most so many. */
extern void queue_insert_rows(const QueueRow *row, const pg_uuid_t *ids, int count, int per_row);

/* Returns the elements of an array of UUIDs, which are contiguous in it. Raises 22004 if one is null, 22023 for a second dimension. */
extern const pg_uuid_t *queue_array_ids(ArrayType *array, int *count);

/* Returns an array of UUIDs. */
extern ArrayType *queue_make_array(const pg_uuid_t *ids, int count);

/* Sorts ids, and leaves each once; returns how many are left. */
extern int queue_sort_ids(pg_uuid_t *ids, int count);

/* Puts those ids into picked that are among given, which are sorted, or those that are not. Returns how many. */
extern int queue_pick_ids(const pg_uuid_t *ids, int count, const pg_uuid_t *given, int given_count, bool present,
                          pg_uuid_t *picked);

#endif
