/*
 * queue_walk.c
 *		Finds rows of file_queue for a claim, and deletes them.
 *
 * Each walk reads a range of an index in the order of due_at. Rows are found with a dirty snapshot and deleted without waiting: a row that
 * another transaction has locked or changed is passed over. So a row belongs to the transaction whose deletion succeeds, and no claim waits
 * for another.
 *
 * Deleted rows leave dead tuples in the index, which stay as long as any transaction's snapshot is older. So a backend remembers, per
 * range, up to where all index tuples are dead, and starts there. That is only a hint. A row before it (a file with an old id, a row whose
 * insertion had not committed) is found by a walk from the start. Such a walk takes place every second, and when nothing else is found; but
 * not so often that walking over dead tuples takes more than a twentieth of the time.
 */
#include "compat.h"

#include "ingestion/queue_walk.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ingestion/batch.h"

/* How many ranges have hints. */
#define MAX_HINTS 2000

/* How long a hint is used, in microseconds; and how long at least, per dead tuple: to walk over one takes some 0.1 us. */
#define HINT_TIME USECS_PER_SEC
#define HINT_TIME_PER_TUPLE 2

#define MAX_KEYS 4

/* The ranges. */
typedef enum Range
{
	RETURNED,
	RETURNED_IN_WORKSPACE,
	RETURNED_IN_SESSION,
	NEW_IN_SESSION
} Range;

/* A range of a session or workspace. The id of a workspace is a hash of its name: that two have the same one only makes a hint wrong. */
typedef struct HintKey
{
	pg_uuid_t id;
	int range;
} HintKey;

/* Up to where all index tuples are dead; when the walk from the start was, and how many dead tuples it found. */
typedef struct Hint
{
	HintKey key; /* the hash key */
	TimestampTz from;
	TimestampTz walked_at;
	int64 dead_tuples;
} Hint;

/* A range of an index: equal first columns, then due_at. */
typedef struct Walk
{
	Claim *claim;
	Relation index;
	HintKey hint_key;
	ScanKeyData keys[MAX_KEYS];
	int equal_keys;
	bool is_new; /* rows that were never claimed, which are due at any time */
} Walk;

static HTAB *hints = NULL;

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
queue_walk_init(void)
{
	RegisterXactCallback(at_transaction_event, NULL);
	RegisterSubXactCallback(at_subtransaction_event, NULL);
}

static Hint *
find_hint(const HintKey *key)
{
	HASHCTL control = {.keysize = sizeof(HintKey), .entrysize = sizeof(Hint)};
	Hint *hint;
	bool found;

	if (hints != NULL && hash_get_num_entries(hints) >= MAX_HINTS)
		drop_hints();
	if (hints == NULL)
		hints = hash_create("session_files claim hints", 16, &control, HASH_ELEM | HASH_BLOBS);
	hint = hash_search(hints, key, HASH_ENTER, &found);
	if (!found)
	{
		hint->from = hint->walked_at = DT_NOBEGIN;
		hint->dead_tuples = 0;
	}
	return hint;
}

/* Starts a scan of a range from a time on. */
static IndexScanDesc
begin_scan(Walk *walk, TimestampTz from)
{
	int count = walk->equal_keys;
	AttrNumber column = (AttrNumber) (count + 1);
	IndexScanDesc scan;

	ScanKeyInit(&walk->keys[count++], column, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
	            TimestampTzGetDatum(from));
	if (!walk->is_new)
		ScanKeyInit(&walk->keys[count++], column, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
		            TimestampTzGetDatum(walk->claim->now));
	scan = compat_index_beginscan(walk->claim->file_queue, walk->index, &walk->claim->dirty, count);
	scan->xs_want_itup = true;
	index_rescan(scan, walk->keys, count, NULL, 0);
	return scan;
}

/* Deletes the row that was found. Returns false if another transaction has locked or changed it. */
static bool
delete_row(Claim *claim)
{
	TM_FailureData failure;

	if (!table_tuple_satisfies_snapshot(claim->file_queue, claim->row, GetActiveSnapshot()))
		return false;
	return table_tuple_delete(claim->file_queue, &claim->row->tts_tid, GetCurrentCommandId(true), GetActiveSnapshot(),
	                          InvalidSnapshot, false, &failure, false) == TM_Ok;
}

/* Walks a range and takes rows until there are enough files. Returns up to where all index tuples are dead. */
static TimestampTz
walk_from(Walk *walk, TimestampTz from)
{
	Claim *claim = walk->claim;
	IndexScanDesc scan = begin_scan(walk, from);
	bool found_living = false;

	while (claim->taken < claim->wanted && index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		if (!found_living)
			from = DatumGetTimestampTz(index_getattr(scan->xs_itup, walk->equal_keys + 1, scan->xs_itupdesc, &isnull));
		/* Invisible to a dirty snapshot: the deletion has committed, or the insertion has aborted. */
		if (!index_fetch_heap(scan, claim->row))
		{
			claim->dead_tuples++;
			continue;
		}
		found_living = true;
		if (!batch_wants_row(claim) || !delete_row(claim))
			continue;
		claim->rows++;
		batch_take_row(claim);
	}
	index_endscan(scan);
	return from;
}

static void
walk_from_start(Walk *walk, Hint *hint)
{
	int64 dead_tuples = walk->claim->dead_tuples;

	hint->from = walk_from(walk, DT_NOBEGIN);
	hint->walked_at = walk->claim->now;
	hint->dead_tuples = walk->claim->dead_tuples - dead_tuples;
}

/* Walks a range by its hint or from its start, as the head of this file says. */
static void
walk(Walk *walk, Oid index)
{
	Claim *claim = walk->claim;
	Hint *hint = find_hint(&walk->hint_key);
	int64 least_time = hint->dead_tuples * HINT_TIME_PER_TUPLE;
	/* Negative: there was no walk, or the clock was set back. */
	int64 age = hint->walked_at == DT_NOBEGIN ? -1 : claim->now - hint->walked_at;
	int64 rows = claim->rows;

	if (claim->taken >= claim->wanted)
		return;
	walk->index = catalog_open_index(index, RowExclusiveLock);
	if (age < 0 || age >= Max(HINT_TIME, least_time))
		walk_from_start(walk, hint);
	else
	{
		hint->from = walk_from(walk, hint->from);
		/* cppcheck-suppress knownConditionTrueFalse; walk_from takes rows */
		if (claim->rows == rows && age >= least_time)
			walk_from_start(walk, hint);
	}
	index_close(walk->index, NoLock);
}

void
queue_walk_returned(Claim *claim)
{
	Walk all = {.claim = claim, .hint_key.range = RETURNED};

	walk(&all, catalog_get()->file_queue_returned_idx);
}

pg_uuid_t
queue_walk_workspace_id(const text *name)
{
	const unsigned char *bytes = (const unsigned char *) VARDATA_ANY(name);
	uint64 words[2] = {hash_bytes_extended(bytes, VARSIZE_ANY_EXHDR(name), 1),
	                   hash_bytes_extended(bytes, VARSIZE_ANY_EXHDR(name), 2)};
	pg_uuid_t id;

	memcpy(id.data, words, UUID_LEN);
	return id;
}

void
queue_walk_returned_in_workspace(Claim *claim, text *workspace_name)
{
	Walk of_workspace = {.claim = claim,
	                     .hint_key = {.id = queue_walk_workspace_id(workspace_name), .range = RETURNED_IN_WORKSPACE},
	                     .equal_keys = 1};

	ScanKeyEntryInitialize(&of_workspace.keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
	                       PointerGetDatum(workspace_name));
	walk(&of_workspace, catalog_get()->file_queue_workspace_returned_idx);
}

static void
walk_session(Claim *claim, const pg_uuid_t *session_id, bool is_new)
{
	Walk of_session = {.claim = claim,
	                   .hint_key = {.id = *session_id, .range = is_new ? NEW_IN_SESSION : RETURNED_IN_SESSION},
	                   .equal_keys = 2,
	                   .is_new = is_new};

	ScanKeyInit(&of_session.keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session_id));
	ScanKeyInit(&of_session.keys[1], 2, BTEqualStrategyNumber, F_BOOLEQ, BoolGetDatum(!is_new));
	walk(&of_session, catalog_get()->file_queue_due_idx);
}

void
queue_walk_returned_in_session(Claim *claim, const pg_uuid_t *session_id)
{
	walk_session(claim, session_id, false);
}

void
queue_walk_new_in_session(Claim *claim, const pg_uuid_t *session_id)
{
	walk_session(claim, session_id, true);
}
