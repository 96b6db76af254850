/*
 * batch.h
 *		Forms batches from the queue rows that a claim takes.
 */
#ifndef SESSION_FILES_BATCH_H
#define SESSION_FILES_BATCH_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "catalog.h"

typedef struct BatchFile
{
	pg_uuid_t id;
	text *name;
} BatchFile;

/* What a queue row says of its files. */
typedef struct History
{
	pg_uuid_t session_id;
	int64 generation;
	int attempt;
	bool has_reason;
	Oid last_reason;
	TimestampTz due_at;
	bool was_claimed;
	TimestampTz claimed_at;
	bool has_lease; /* an expired one */
	pg_uuid_t lease_token;
	Datum worker;
} History;

/* Files of a session with the same history, from one or more queue rows. */
typedef struct Batch
{
	const Catalog *catalog;
	Relation files;
	TupleTableSlot *version; /* of the files, for is_changing */
	SnapshotData dirty;
	ReturnSetInfo *result; /* gets a row per batch */
	int wanted;            /* how many files the claim wants */
	int taken;
	/* The current batch. */
	History history; /* of the last queue row, but with the greatest generation */
	int rows;
	BatchFile *members;
	int member_count;
	ArrayType *rest; /* the rest of the last queue row, or NULL */
	int64 rest_generation;
} Batch;

/* Takes the files of a queue row that was deleted from file_queue: those that are PENDING, as far as they are wanted. */
extern void batch_take_row(Batch *batch, TupleTableSlot *row);

/* Adds the current batch to the result. */
extern void batch_return(Batch *batch);

#endif
