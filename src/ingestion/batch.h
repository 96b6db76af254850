/*
 * batch.h
 *		What a claim takes, in bundles: each will be one lease row.
 */
#ifndef SESSION_FILES_BATCH_H
#define SESSION_FILES_BATCH_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "catalog.h"

typedef struct Entry
{
	pg_uuid_t id;
	text *name;
} Entry;

/* What a row says of its files. */
typedef struct History
{
	pg_uuid_t session_id;
	int retries;
	int attempt;
	bool has_reason;
	Oid last_reason;
	TimestampTz due_at;
	bool was_claimed;
	TimestampTz claimed_at;
	bool has_lease; /* one that has run out */
	pg_uuid_t lease_token;
	Datum worker;
} History;

/* Files of a session with the same past attempts, and the rows of file_queue that they were in. */
typedef struct Bundle
{
	const Catalog *catalog;
	Relation files;
	ReturnSetInfo *result; /* where bundles go, a row each */
	int wanted;            /* files */
	int taken;
	/* The one that is being made. */
	History history; /* of the last row */
	int rows;
	Entry *entries;
	int entry_count;
	ArrayType *rest; /* what is left of the last row, or NULL */
} Bundle;

/* Takes a row that is out of file_queue: its files, as far as they are PENDING and wanted. */
extern void bundle_take_row(Bundle *bundle, TupleTableSlot *row);

/* Returns what was taken last. */
extern void bundle_put(Bundle *bundle);

#endif
