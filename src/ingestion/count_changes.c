/*
 * count_changes.c
 *		The trigger that keeps file_counts: how many files a session has of each status, and a digest of them.
 *
 * A session has several rows in file_counts ("slots"). A statement adds its changes to a slot that no other transaction has locked, or
 * to a new one, in its own transaction. So no writer waits for a counter, and savepoints, rollbacks and snapshots work as for any row.
 * A new slot is numbered by the top transaction's id, which no other transaction can use.
 *
 * A slot is looked for without a snapshot of the transaction (SnapshotSelf), and locked at its newest version or not at all. Under
 * REPEATABLE READ and SERIALIZABLE an UPDATE of a slot that has changed since the snapshot would fail: so there the transaction's
 * snapshot must show the same version. The look leaves no predicate lock: a slot that is not taken cannot cause a serialization failure.
 *
 * There are as many slots as there were transactions at the same time. READ COMMITTED writers merge them when there are too many.
 *
 * Each slot has a digest of its own: the XOR of the shares of the rows that were added and removed. The digest of a session is the XOR
 * over its slots. XOR fits for three reasons: a share that is removed cancels the one that was added, in whatever slot and order; it
 * cannot overflow, as a sum of bigints in SQL would; and a file is never added twice, which would cancel its share.
 *
 * No cost grows with the row versions that an old snapshot keeps: slots are found newest version first (counts.c), and the dead rows of
 * the queue are walked over within a budget.
 *
 * The trigger writes as the owner of file_counts, so a role that writes files needs no right on it.
 */
#include "compat.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/instrument.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "ingestion/counts.h"
#include "ingestion/digest.h"
#include "ingestion/notify.h"
#include "owner.h"
#include "trigger.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_count_changes);

/* After how many changes a backend tidies up the session that it has changed. */
#define TIDY_AFTER 16

/*
 * How many pages a backend may read, per change, for deleting void queue rows, and how many it saves up at most. Without dead rows to
 * walk over it needs no more.
 */
#define PAGES_PER_CHANGE 4
#define MAX_PAGES 1000

/* How many slots are merged at a time. */
#define MAX_MERGED 256

static int64 pages_left = MAX_PAGES;

/* Since this backend has tidied up. */
static int changes = 0;

/* What a statement changed in a session. */
typedef struct Delta
{
	pg_uuid_t session_id; /* the hash key */
	int64 by_status[STATUS_COUNT];
	uint64 digest;
} Delta;

#define ADD_TO_SLOT \
	"failed = c.failed + $1, finished = c.finished + $2, pending = c.pending + $3, digest = c.digest # $4"

static OwnerQuery add_to_slot = {
	.text = "UPDATE session_files.file_counts AS c SET " ADD_TO_SLOT " WHERE c.ctid = $5 RETURNING c.pending",
	.arg_count = 5,
	.arg_types = {INT8OID, INT8OID, INT8OID, INT8OID, TIDOID},
};

static OwnerQuery own_slot = {
	.text = "INSERT INTO session_files.file_counts AS c (failed, finished, pending, digest, session_id, slot)"
			" VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (session_id, slot) DO UPDATE SET " ADD_TO_SLOT,
	.arg_count = 6,
	.arg_types = {INT8OID, INT8OID, INT8OID, INT8OID, UUIDOID, INT8OID},
};

/* Of rows that the transaction has locked. */
static OwnerQuery merge_slots = {
	.text =
		"WITH gone AS (DELETE FROM session_files.file_counts AS c WHERE c.ctid = ANY ($1[2:]) RETURNING c.*),"
		" merged AS (SELECT sum(failed) AS failed, sum(finished) AS finished, sum(pending) AS pending,"
		" bit_xor(digest) AS digest FROM gone)"
		" UPDATE session_files.file_counts AS c SET failed = c.failed + m.failed, finished = c.finished + m.finished,"
		" pending = c.pending + m.pending, digest = c.digest # m.digest FROM merged AS m WHERE c.ctid = $1[1]",
	.arg_count = 1,
	.arg_types = {TIDARRAYOID},
};

static OwnerQuery delete_unlocked_queue = {
	.text = "DELETE FROM session_files.file_queue AS q WHERE q.ctid = ANY (ARRAY("
			"SELECT f.ctid FROM session_files.file_queue AS f WHERE f.session_id = $1 FOR UPDATE SKIP LOCKED))",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

/* Locks the slot that a walk is at, unless another transaction has; where the transaction has one snapshot, only if that shows it. */
static bool
lock_slot(Relation file_counts, SlotWalk *walk, LockTupleMode mode)
{
	Snapshot snapshot = GetActiveSnapshot();
	ItemPointerData tid = walk->row->tts_tid;
	TM_FailureData failure;

	return (!IsolationUsesXactSnapshot() || table_tuple_satisfies_snapshot(file_counts, walk->row, snapshot)) &&
	       table_tuple_lock(file_counts, &tid, snapshot, walk->row, GetCurrentCommandId(true), mode, LockWaitSkip, 0,
	                        &failure) == TM_Ok;
}

/* Locks slots of a session, so many at most, and puts their TIDs into an array; returns how many. Looks at some more than are wanted. */
static int
lock_slots(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id, LockTupleMode mode, int wanted,
           ItemPointer tids)
{
	SlotWalk walk;
	int locked = 0;

	counts_begin_walk(&walk, catalog, file_counts, session_id, SnapshotSelf, PG_INT64_MAX);
	for (int tries = 0; locked < wanted && tries < wanted + COUNTS_MAX_SLOTS && counts_walk(&walk) && walk.number >= 0;
	     tries++)
	{
		if (lock_slot(file_counts, &walk, mode))
			tids[locked++] = walk.row->tts_tid;
	}
	counts_end_walk(&walk);
	return locked;
}

/* Merges slots of a session that no other transaction has locked. */
static void
merge(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id)
{
	ItemPointerData tids[MAX_MERGED];
	Datum values[MAX_MERGED];
	int count = lock_slots(catalog, file_counts, session_id, LockTupleExclusive, MAX_MERGED, tids);

	for (int i = 0; i < count; i++)
		values[i] = PointerGetDatum(&tids[i]);
	if (count > 1)
	{
		Datum array =
			PointerGetDatum(construct_array(values, count, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));

		owner_run(&merge_slots, &array);
	}
}

static int64
pages_read(void)
{
	return pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read;
}

/* Deletes the queue rows of a session that the active snapshot shows, if that does not take too many pages. */
static void
delete_queue(const pg_uuid_t *session_id)
{
	Datum value = UUIDPGetDatum(session_id);
	int64 before = pages_read();

	if (pages_left <= 0)
		return;
	owner_run_under(&delete_unlocked_queue, &value, GetActiveSnapshot());
	pages_left -= pages_read() - before;
}

/*
 * Reads a session's counts under a new snapshot. Merges its slots if there are many. If no file is PENDING, deletes the queue rows that
 * the same snapshot shows: they are of files that were settled without a lease.
 */
static void
tidy(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id)
{
	Counts counts;

	changes = 0;
	PushActiveSnapshot(GetLatestSnapshot());
	counts_read(catalog, file_counts, session_id, &counts);
	if (counts.by_status[STATUS_PENDING] == 0)
		delete_queue(session_id);
	PopActiveSnapshot();
	if (counts.slots > COUNTS_MAX_SLOTS)
		merge(catalog, file_counts, session_id);
}

/* Adds changes to a slot; returns how many PENDING files that has now. */
static int64
add(Datum *values)
{
	bool isnull;

	if (owner_run(&add_to_slot, values) != 1)
		elog(ERROR, "locked slot is not there");
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Adds a session's changes to one of its slots. */
static void
store(const Catalog *catalog, Relation file_counts, const Delta *delta)
{
	ItemPointerData tid;
	Datum values[6] = {Int64GetDatum(delta->by_status[STATUS_FAILED]), Int64GetDatum(delta->by_status[STATUS_FINISHED]),
	                   Int64GetDatum(delta->by_status[STATUS_PENDING]), Int64GetDatum((int64) delta->digest)};

	changes++;
	pages_left = Min(pages_left + PAGES_PER_CHANGE, MAX_PAGES);
	if (delta->by_status[STATUS_PENDING] < 0)
		notify_settled(&delta->session_id);
	if (lock_slots(catalog, file_counts, &delta->session_id, LockTupleNoKeyExclusive, 1, &tid) > 0)
	{
		values[4] = PointerGetDatum(&tid);
		/* 0 in a single slot: no file is PENDING. With several slots that says nothing, so they are summed up now and then. */
		if ((add(values) == 0 || changes >= TIDY_AFTER) && !IsolationUsesXactSnapshot())
			tidy(catalog, file_counts, &delta->session_id);
	}
	else
	{
		values[4] = UUIDPGetDatum(&delta->session_id);
		values[5] = Int64GetDatum((int64) U64FromFullTransactionId(GetTopFullTransactionId()));
		owner_run(&own_slot, values);
	}
}

static HTAB *
create_deltas(void)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(Delta), .hcxt = CurrentMemoryContext};

	return hash_create("session_files deltas", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static Delta *
find_delta(HTAB *deltas, const pg_uuid_t *session_id)
{
	bool found;
	Delta *delta = hash_search(deltas, session_id, HASH_ENTER, &found);

	if (!found)
	{
		memset(delta->by_status, 0, sizeof(delta->by_status));
		delta->digest = 0;
	}
	return delta;
}

/* Returns a row's share of its session's digest. The row is read up to the name. */
static uint64
digest_row(const Catalog *catalog, const TupleTableSlot *slot, int status)
{
	Datum value = slot->tts_values[Anum_files_name - 1];
	struct varlena *name = PG_DETOAST_DATUM_PACKED(value);
	int reason =
		slot->tts_isnull[Anum_files_ingestion_status_reason - 1]
			? REASON_NONE
			: catalog_reason(catalog, DatumGetObjectId(slot->tts_values[Anum_files_ingestion_status_reason - 1]));
	uint64 digest = digest_file(DatumGetUUIDP(slot->tts_values[Anum_files_file_ingestion_id - 1]), status, reason,
	                            (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)});

	if ((Pointer) name != DatumGetPointer(value))
		pfree(name);
	return digest;
}

/* Adds the rows of a transition table to the deltas, each `sign` times. NULL: the trigger has no such table. */
static void
collect(const Catalog *catalog, const TriggerData *data, Tuplestorestate *rows, int sign, HTAB *deltas)
{
	TupleTableSlot *slot;
	Delta *delta = NULL;

	if (rows == NULL)
		return;
	slot = trigger_begin_rows(data, rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		pg_uuid_t *session_id;
		int status;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, Anum_files_name);
		session_id = DatumGetUUIDP(slot->tts_values[Anum_files_session_id - 1]);
		status = catalog_status(catalog, DatumGetObjectId(slot->tts_values[Anum_files_ingestion_status - 1]));
		if (delta == NULL || memcmp(&delta->session_id, session_id, sizeof(pg_uuid_t)) != 0)
			delta = find_delta(deltas, session_id);
		delta->by_status[status] += sign;
		delta->digest ^= digest_row(catalog, slot, status);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Returns whether a delta must not be stored: nothing changed, or the session was deleted by this statement, or by one that cascades to
 * it, and its counts are deleted already. Only a session that loses files can be deleted here.
 */
static bool
is_moot(const Delta *delta, TriggerEvent event)
{
	int64 files = 0;
	bool changed = false;

	for (int status = 0; status < STATUS_COUNT; status++)
	{
		files += delta->by_status[status];
		changed = changed || delta->by_status[status] != 0;
	}
	/* An UPDATE can move files away, in a statement that then deletes their session. */
	if (TRIGGER_FIRED_BY_DELETE(event) || files < 0)
		return !owner_finds_session(&delta->session_id);
	/* Another name or reason changes the digest alone. */
	return !changed && delta->digest == 0;
}

/* SQL: session_files._count_changes(), trigger. */
Datum
session_files_count_changes(PG_FUNCTION_ARGS)
{
	Relation file_counts = table_open(catalog_get()->file_counts, RowExclusiveLock);
	const Catalog catalog = *catalog_get();
	TriggerData *data = trigger_data(fcinfo, TRIGGER_STATEMENTS, catalog.files, InvalidOid);
	HTAB *deltas = create_deltas();
	Caller caller;
	HASH_SEQ_STATUS each;
	Delta *delta;

	collect(&catalog, data, data->tg_oldtable, -1, deltas);
	collect(&catalog, data, data->tg_newtable, 1, deltas);

	caller = owner_begin(file_counts);
	hash_seq_init(&each, deltas);
	while ((delta = hash_seq_search(&each)) != NULL)
	{
		if (!is_moot(delta, data->tg_event))
			store(&catalog, file_counts, delta);
	}
	owner_end(caller);

	table_close(file_counts, NoLock);
	hash_destroy(deltas);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}
