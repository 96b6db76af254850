/*
 * claim.c
 *		Finds rows of file_queue for a worker, and deletes them.
 *
 * In a session, files that came back (their lease or their delay is over) go before files that were never claimed, both by due_at: two
 * ranges of one index. Rows are found with a dirty snapshot and deleted without waiting: a row that another transaction has locked or
 * changed is passed over. So a row belongs to the transaction whose deletion succeeds, and no claim waits for another.
 *
 * Deleted rows leave dead tuples in the index, which stay as long as any transaction's snapshot is older. So a backend remembers, per
 * range of a session, up to where all index tuples are dead, and starts there. That is only a hint. A row before it (a file with an old
 * id, a row whose insertion had not committed) is found by a walk from the start. Such a walk takes place every second, and when nothing
 * else is found; but not so often that walking over dead tuples takes more than a twentieth of the time.
 *
 * Over all sessions, each call goes on with the session after the one that was served last, so that a session of a million files does not
 * keep one of ten waiting. The first call of a backend starts at a random session.
 *
 * It must not return a file of a session that the caller may not see (access.c), nor of an expired one.
 */
#include "compat.h"

#include "ingestion/claim.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access.h"
#include "catalog.h"
#include "index/scan.h"
#include "ingestion/batch.h"
#include "row_set.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_take_batches);

/* Among how many sessions a backend chooses its first one. */
#define MAX_START_SESSIONS 10000

/* How many sessions have hints. */
#define MAX_HINTS 1000

/* How long a hint is used, in microseconds; and how long at least, per dead tuple: to walk over one takes some 0.1 us. */
#define HINT_TIME USECS_PER_SEC
#define HINT_TIME_PER_TUPLE 2

/* The two ranges of a session, in the order in which they are read. */
typedef enum Range
{
	RANGE_RETURNED,
	RANGE_NEW
} Range;

#define RANGE_COUNT 2

/* Up to where all index tuples of a session are dead; when that walk from the start was, and how many dead tuples it found. */
typedef struct Hint
{
	pg_uuid_t session_id; /* the hash key */
	TimestampTz from[RANGE_COUNT];
	TimestampTz walked_at;
	int64 dead_tuples;
} Hint;

typedef struct Claim
{
	Catalog catalog;
	Access access;
	Relation upload_sessions;
	Relation files;
	Relation file_queue;
	Relation due_idx;
	TupleTableSlot *seen;
	SnapshotData dirty;
	TimestampTz now;
	text *workspace; /* NULL for any */
	int64 rows;
	int64 dead_tuples;
	Batch batch;
} Claim;

static HTAB *hints = NULL;

/* The session that was served last, if has_last_session. */
static pg_uuid_t last_session;
static bool has_last_session = false;

static void
drop_hints(void)
{
	if (hints != NULL)
		hash_destroy(hints);
	hints = NULL;
}

/* Rows that this transaction deleted looked dead to it. They are not when it aborts. */
static void
at_transaction_event(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		drop_hints();
}

static void
at_subtransaction_event(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		drop_hints();
}

void
claim_init(void)
{
	RegisterXactCallback(at_transaction_event, NULL);
	RegisterSubXactCallback(at_subtransaction_event, NULL);
}

/* Returns a session's hint. */
static Hint *
find_hint(const pg_uuid_t *session_id)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(Hint)};
	Hint *hint;
	bool found;

	if (hints != NULL && hash_get_num_entries(hints) >= MAX_HINTS)
		drop_hints();
	if (hints == NULL)
		hints = hash_create("session_files claim hints", 16, &control, HASH_ELEM | HASH_BLOBS);
	hint = hash_search(hints, session_id, HASH_ENTER, &found);
	if (!found)
	{
		hint->walked_at = DT_NOBEGIN;
		hint->dead_tuples = 0;
	}
	return hint;
}

/* Deletes the row that was seen. Returns false if another transaction has locked or changed it. */
static bool
delete_row(Claim *claim)
{
	TM_FailureData failure;

	if (!table_tuple_satisfies_snapshot(claim->file_queue, claim->seen, GetActiveSnapshot()))
		return false;
	return table_tuple_delete(claim->file_queue, &claim->seen->tts_tid, GetCurrentCommandId(true), GetActiveSnapshot(),
	                          InvalidSnapshot, false, &failure, false) == TM_Ok;
}

/* Starts a scan of a range of a session, from a time on. */
static IndexScanDesc
begin_range(Claim *claim, const pg_uuid_t *session_id, Range range, TimestampTz from)
{
	ScanKeyData keys[4];
	int key_count = 3;
	IndexScanDesc scan;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_BOOLEQ, BoolGetDatum(range == RANGE_RETURNED));
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE, TimestampTzGetDatum(from));
	if (range == RANGE_RETURNED)
		ScanKeyInit(&keys[key_count++], 3, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
		            TimestampTzGetDatum(claim->now));
	scan = compat_index_beginscan(claim->file_queue, claim->due_idx, &claim->dirty, key_count);
	scan->xs_want_itup = true;
	index_rescan(scan, keys, key_count, NULL, 0);
	return scan;
}

/* Walks a range of a session and takes rows until there are enough files. Returns up to where all index tuples are dead. */
static TimestampTz
walk_range(Claim *claim, const pg_uuid_t *session_id, Range range, TimestampTz from)
{
	IndexScanDesc scan = begin_range(claim, session_id, range, from);
	bool found_living = false;

	while (claim->batch.taken < claim->batch.wanted && index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		if (!found_living)
			from = DatumGetTimestampTz(index_getattr(scan->xs_itup, 3, scan->xs_itupdesc, &isnull));
		/* Invisible to a dirty snapshot: the deletion has committed, or the insertion has aborted. */
		if (!index_fetch_heap(scan, claim->seen))
		{
			claim->dead_tuples++;
			continue;
		}
		found_living = true;
		if (!delete_row(claim))
			continue;
		claim->rows++;
		batch_take_row(&claim->batch, claim->seen);
	}
	index_endscan(scan);
	return from;
}

/* Takes rows of a session, from where the hint says. */
static void
walk_session(Claim *claim, Hint *hint)
{
	for (Range range = RANGE_RETURNED; range < RANGE_COUNT; range++)
	{
		if (claim->batch.taken < claim->batch.wanted)
			hint->from[range] = walk_range(claim, &hint->session_id, range, hint->from[range]);
	}
}

/* Takes rows of a session, from its start. */
static void
walk_session_from_start(Claim *claim, Hint *hint)
{
	int64 dead_tuples = claim->dead_tuples;

	hint->from[RANGE_RETURNED] = hint->from[RANGE_NEW] = DT_NOBEGIN;
	walk_session(claim, hint);
	hint->walked_at = claim->now;
	hint->dead_tuples = claim->dead_tuples - dead_tuples;
}

/* Takes rows of a session, by its hint or from its start, as the head of this file says. */
static void
serve_session(Claim *claim, const pg_uuid_t *session_id)
{
	Hint *hint = find_hint(session_id);
	int64 least_time = hint->dead_tuples * HINT_TIME_PER_TUPLE;
	/* Negative: there was no walk, or the clock was set back. */
	int64 age = hint->walked_at == DT_NOBEGIN ? -1 : claim->now - hint->walked_at;
	int64 rows = claim->rows;
	int taken = claim->batch.taken;

	if (age < 0 || age >= Max(HINT_TIME, least_time))
		walk_session_from_start(claim, hint);
	else
	{
		walk_session(claim, hint);
		if (claim->rows == rows && age >= least_time)
			walk_session_from_start(claim, hint);
	}
	if (claim->batch.taken > taken)
	{
		last_session = *session_id;
		has_last_session = true;
	}
}

/* Returns whether a session can be claimed from: it is of the workspace, and has not expired. One that the user may not see does not exist. */
static bool
may_claim_from(Claim *claim, const pg_uuid_t *session_id, bool *exists)
{
	KeyScan scan;
	bool found = false;

	*exists = scan_find(&scan, claim->upload_sessions, claim->catalog.upload_sessions_pkey, session_id);
	if (*exists)
	{
		text *name = DatumGetTextPP(scan_value(&scan, Anum_upload_sessions_workspace_name));

		*exists = (claim->workspace == NULL ||
		           (VARSIZE_ANY_EXHDR(name) == VARSIZE_ANY_EXHDR(claim->workspace) &&
		            memcmp(VARDATA_ANY(name), VARDATA_ANY(claim->workspace), VARSIZE_ANY_EXHDR(name)) == 0)) &&
		          access_may_see(&claim->access, session_id, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)});
		found = *exists && DatumGetTimestampTz(scan_value(&scan, Anum_upload_sessions_expires_at)) > claim->now;
	}
	scan_end(&scan);
	return found;
}

/* Finds the first session in the queue's index after an id, or, for NULL, of all. Dead tuples count. */
static bool
find_session_after(Claim *claim, const pg_uuid_t *after, pg_uuid_t *session_id)
{
	IndexScanDesc scan = compat_index_beginscan(claim->file_queue, claim->due_idx, &claim->dirty, after ? 1 : 0);
	ScanKeyData key;
	bool found;

	if (after)
		ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_UUID_GT, UUIDPGetDatum(after));
	scan->xs_want_itup = true;
	index_rescan(scan, &key, after ? 1 : 0, NULL, 0);
	found = index_getnext_tid(scan, ForwardScanDirection) != NULL;
	if (found)
	{
		bool isnull;
		Datum id = index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull);

		Assert(!isnull);
		*session_id = *DatumGetUUIDP(id);
	}
	index_endscan(scan);
	return found;
}

/* Sets the session that was served last to a random one, each with the same probability. */
static void
choose_start(Claim *claim)
{
	pg_uuid_t session_id;
	bool found = find_session_after(claim, NULL, &session_id);

	for (int seen = 1; found && seen <= MAX_START_SESSIONS; seen++)
	{
		CHECK_FOR_INTERRUPTS();
		if (compat_random() * seen < 1)
			last_session = session_id;
		found = find_session_after(claim, &session_id, &session_id);
	}
	has_last_session = true;
}

/* Takes rows of all sessions, starting after the one that was served last, until there are enough files. */
static void
serve_sessions(Claim *claim)
{
	pg_uuid_t start;
	pg_uuid_t session_id;
	bool wrapped = false;
	bool found;

	if (!has_last_session)
		choose_start(claim);
	start = session_id = last_session;
	found = find_session_after(claim, &session_id, &session_id);
	while (claim->batch.taken < claim->batch.wanted)
	{
		bool exists;

		CHECK_FOR_INTERRUPTS();
		if (!found && wrapped)
			return;
		if (!found)
		{
			wrapped = true;
			found = find_session_after(claim, NULL, &session_id);
			continue;
		}
		if (wrapped && uuid7_compare(&session_id, &start) > 0)
			return;
		if (may_claim_from(claim, &session_id, &exists))
			serve_session(claim, &session_id);
		found = find_session_after(claim, &session_id, &session_id);
	}
}

/* Raises 42501 if policies on a table apply to the caller that claiming cannot apply. */
static void
check_policies(const Claim *claim, Relation table)
{
	if (!access_covers(&claim->access, table))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		     errmsg("claiming can apply no other policy of row level security on table \"%s\" than the extension's own",
		            RelationGetRelationName(table))));
}

static void
open_claim(Claim *claim)
{
	claim->upload_sessions = access_open_table(catalog_get()->upload_sessions, ACL_SELECT);
	claim->files = access_open_table(catalog_get()->files, ACL_SELECT);
	claim->file_queue = access_open_table(catalog_get()->file_queue, ACL_SELECT | ACL_DELETE);
	claim->catalog = *catalog_get();
	access_begin(&claim->access, &claim->catalog, claim->upload_sessions);
	check_policies(claim, claim->files);
	check_policies(claim, claim->file_queue);
	claim->due_idx = catalog_open_index(claim->catalog.file_queue_due_idx, RowExclusiveLock);
	claim->seen = table_slot_create(claim->file_queue, NULL);
	InitDirtySnapshot(claim->dirty);
	claim->now = GetCurrentTimestamp();
	claim->batch.catalog = &claim->catalog;
	claim->batch.files = claim->files;
	claim->batch.version = table_slot_create(claim->files, NULL);
	InitDirtySnapshot(claim->batch.dirty);
}

static void
close_claim(Claim *claim)
{
	ExecDropSingleTupleTableSlot(claim->batch.version);
	ExecDropSingleTupleTableSlot(claim->seen);
	index_close(claim->due_idx, NoLock);
	table_close(claim->file_queue, NoLock);
	table_close(claim->files, NoLock);
	table_close(claim->upload_sessions, NoLock);
}

/*
 * Reports why there is nothing to claim, if no workspace was granted to the user. Once in a row per backend and user: it may have to look at all grants.
 */
static void
explain_nothing(const Claim *claim)
{
	static Oid informed = InvalidOid;

	if (claim->rows > 0 || informed == GetUserId())
		return;
	informed = GetUserId();
	if (!access_has_grants(&claim->access))
		ereport(NOTICE, (errmsg("no workspace was granted to the role \"%s\", so there are no files for it to claim",
		                        GetUserNameFromId(informed, false)),
		                 errhint("Grant it one, or all, with session_files.grant_workspace().")));
}

/*
 * SQL: session_files.take_batches(session uuid, workspace text, files integer) returns setof record.
 * NULL stands for any session, or any workspace.
 */
Datum
session_files_take_batches(PG_FUNCTION_ARGS)
{
	Claim claim = {.workspace = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1),
	               .batch.wanted = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2)};

	PreventCommandIfReadOnly("claim_files()");
	claim.batch.result = row_set_begin(fcinfo);
	open_claim(&claim);
	if (PG_ARGISNULL(0))
	{
		serve_sessions(&claim);
		explain_nothing(&claim);
	}
	else
	{
		bool exists;

		if (may_claim_from(&claim, PG_GETARG_UUID_P(0), &exists))
			serve_session(&claim, PG_GETARG_UUID_P(0));
		if (!exists)
			ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
			                errmsg(claim.workspace ? "there is no session \"%s\" in the workspace \"%s\""
			                                       : "there is no session \"%s\"",
			                       DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0))),
			                       claim.workspace ? text_to_cstring(claim.workspace) : NULL),
			                errhint(NOT_GRANTED_HINT)));
	}
	batch_return(&claim.batch);
	close_claim(&claim);
	return (Datum) 0;
}
