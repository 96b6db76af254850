/*
 * claim_state.h
 *		What a claim looks for, and what it has found: for claim.c, queue_walk.c and batch.c.
 */
#ifndef SESSION_FILES_CLAIM_STATE_H
#define SESSION_FILES_CLAIM_STATE_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "access.h"
#include "catalog.h"
#include "ingestion/queue.h"

typedef struct Claim
{
	Catalog catalog;
	Access access;
	Relation upload_sessions;
	Relation files;
	Relation file_queue;
	TupleTableSlot *row; /* the queue row that was found last */
	SnapshotData dirty;
	TimestampTz now;
	text *workspace;   /* NULL for any */
	List *workspaces;  /* names of those that the caller was granted */
	bool is_of_all;    /* instead: all were */
	int wanted;        /* how many files; fewer, once one of a lost lease was taken */
	int taken;         /* so many */
	bool is_lost;      /* what was taken comes from leases that ended without a report; other files are not added */
	int64 rows;        /* queue rows that were deleted */
	int64 dead_tuples; /* that were passed */
	List *leases;      /* of Batch: what was taken; the last one may grow */
	List *returned;    /* of Batch: to be put back as it was */
	List *exhausted;   /* of Batch: files without an attempt left */
	/* The session that was looked at last, when has_session. */
	bool has_session;
	pg_uuid_t session_id;
	bool is_open;
	Oid write_mode;
} Claim;

/* Returns whether a session can be claimed from: the caller may see it, it is of the claim's workspace, and not past its end. */
extern bool claim_may_serve(Claim *claim, const pg_uuid_t *session_id, bool *exists);

#endif
