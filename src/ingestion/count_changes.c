/*
 * count_changes.c
 *		The trigger that keeps file_counts: how many files a session has of each status, and a digest of them.
 *
 * A session has several rows in file_counts ("slots"). A statement adds its changes to a slot that no other transaction has locked, or
 * to a new one, in its own transaction. So no writer waits for a counter, and savepoints, rollbacks and snapshots work as for any row.
 * A new slot is numbered by the top transaction's id, which no other transaction can use.
 *
 * Under READ COMMITTED the slot is chosen with SKIP LOCKED, and the UPDATE sees the newest version. Under REPEATABLE READ and
 * SERIALIZABLE an UPDATE of a slot that has changed since the snapshot would fail. So such a transaction first looks at the slot
 * without a snapshot of its own (SnapshotSelf), and locks it only if its snapshot shows the same version. That look leaves no predicate
 * lock: a slot that is not taken cannot cause a serialization failure.
 *
 * There are as many slots as there were transactions at the same time. READ COMMITTED writers merge them when there are too many.
 *
 * Each slot has a digest of its own: the XOR of the shares of the rows that were added and removed. The digest of a session is the XOR
 * over its slots. XOR fits for three reasons: a share that is removed cancels the one that was added, in whatever slot and order; it
 * cannot overflow, as a sum of bigints in SQL would; and a file is never added twice, which would cancel its share.
 *
 * A slot also counts, for the view session_progress, how many files were settled (are not PENDING any more) in the current minute and
 * in the one before.
 *
 * The trigger writes as the owner of file_counts, so a role that writes files needs no right on it.
 */
#include "compat.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "index/scan.h"
#include "ingestion/counts.h"
#include "ingestion/digest.h"
#include "ingestion/notify.h"
#include "owner.h"
#include "trigger.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_count_changes);

/* After how many changes to a session a backend tidies up. */
#define TIDY_EVERY 16

/* How many sessions have hints. */
#define MAX_HINTS 1000

/*
 * Where the slot of a session is that this backend took last. That saves a walk over the dead versions of all slots, which pile up as
 * long as any transaction's snapshot is older. The row there may have changed: each use checks it again.
 */
typedef struct SlotHint
{
	pg_uuid_t session_id; /* the hash key */
	ItemPointerData tid;
	uint32 changes;
} SlotHint;

static HTAB *slot_hints = NULL;

/* What a statement changed in a session. */
typedef struct Delta
{
	pg_uuid_t session_id; /* the hash key */
	int64 by_status[STATUS_COUNT];
	uint64 digest;
} Delta;

/* The current minute since PostgreSQL's epoch. Slots keep the numbers of one minute and of the one before. */
#define CURRENT_MINUTE() (GetCurrentTimestamp() / USECS_PER_MINUTE)

/* How many files a slot has settled in the minute `now`, and in the one before. */
#define SETTLED(row, now) "CASE WHEN " row ".minute OPERATOR(pg_catalog.=) " now " THEN " row ".settled ELSE 0 END"
#define SETTLED_BEFORE(row, now)                                                                    \
	"CASE WHEN " row ".minute OPERATOR(pg_catalog.=) " now " THEN " row ".settled_before WHEN " row \
	".minute OPERATOR(pg_catalog.=) (" now " OPERATOR(pg_catalog.-) 1) THEN " row ".settled ELSE 0 END"

/* $2 to $5: failed, finished, pending, settled; $6: the minute; $7: the digest. */
#define ADD_TO_SLOT                                                                                 \
	"failed = c.failed OPERATOR(pg_catalog.+) $2, finished = c.finished OPERATOR(pg_catalog.+) $3," \
	" pending = c.pending OPERATOR(pg_catalog.+) $4, settled = $5 OPERATOR(pg_catalog.+) " SETTLED( \
		"c", "$6") ","                                                                              \
				   " settled_before = " SETTLED_BEFORE(                                             \
					   "c", "$6") ", minute = $6, digest = c.digest OPERATOR(pg_catalog.#) $7"

static OwnerQuery take_slot = {
	.text = "UPDATE session_files.file_counts AS c SET " ADD_TO_SLOT
			" WHERE c.session_id OPERATOR(pg_catalog.=) $1 AND c.slot OPERATOR(pg_catalog.=)"
			" (SELECT f.slot FROM session_files.file_counts AS f WHERE f.session_id OPERATOR(pg_catalog.=) $1"
			" LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING c.ctid, c.pending",
	.arg_count = 7,
	.arg_types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID},
};

static OwnerQuery take_slot_at = {
	.text = "UPDATE session_files.file_counts AS c SET " ADD_TO_SLOT
			" WHERE c.session_id OPERATOR(pg_catalog.=) $1 AND c.ctid OPERATOR(pg_catalog.=)"
			" (SELECT f.ctid FROM session_files.file_counts AS f WHERE f.ctid OPERATOR(pg_catalog.=) $8"
			" AND f.session_id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING c.ctid, c.pending",
	.arg_count = 8,
	.arg_types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIDOID},
};

static OwnerQuery own_slot = {
	.text = "INSERT INTO session_files.file_counts AS c"
			" (session_id, failed, finished, pending, settled, minute, digest, slot)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
			" ON CONFLICT (session_id, slot) DO UPDATE SET " ADD_TO_SLOT " RETURNING c.ctid, c.pending",
	.arg_count = 8,
	.arg_types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID},
};

/* Locking and merging are two statements: the second needs a snapshot from after the first has locked the rows. */
static OwnerQuery lock_free_slots = {
	.text = "SELECT pg_catalog.array_agg(l.slot) FROM (SELECT f.slot FROM session_files.file_counts AS f"
			" WHERE f.session_id OPERATOR(pg_catalog.=) $1 FOR UPDATE SKIP LOCKED) AS l",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery merge_slots = {
	.text =
		"WITH gone AS (DELETE FROM session_files.file_counts AS c WHERE c.session_id OPERATOR(pg_catalog.=) $1"
		" AND c.slot OPERATOR(pg_catalog.=) ANY ($2[2:]) RETURNING c.*),"
		" merged AS (SELECT COALESCE(pg_catalog.sum(failed), 0)::bigint AS failed,"
		" COALESCE(pg_catalog.sum(finished), 0)::bigint AS finished,"
		" COALESCE(pg_catalog.sum(pending), 0)::bigint AS pending, COALESCE(pg_catalog.bit_xor(digest), 0) AS digest,"
		" COALESCE(pg_catalog.sum(" SETTLED(
			"gone",
			"$3") "), 0)::bigint AS settled,"
				  " COALESCE(pg_catalog.sum(" SETTLED_BEFORE(
					  "gone",
					  "$3") "), 0)::bigint AS settled_before FROM gone)"
							" UPDATE session_files.file_counts AS c SET failed = c.failed OPERATOR(pg_catalog.+) m.failed,"
							" finished = c.finished OPERATOR(pg_catalog.+) m.finished,"
							" pending = c.pending OPERATOR(pg_catalog.+) m.pending,"
							" digest = c.digest OPERATOR(pg_catalog.#) m.digest,"
							" settled = m.settled OPERATOR(pg_catalog.+) " SETTLED(
								"c",
								"$3") ","
									  " settled_before = m.settled_before OPERATOR(pg_catalog.+) " SETTLED_BEFORE(
										  "c",
										  "$3") ","
												" minute = $3 FROM merged AS m"
												" WHERE c.session_id OPERATOR(pg_catalog.=) $1 AND c.slot OPERATOR(pg_catalog.=) $2[1]",
	.arg_count = 3,
	.arg_types = {UUIDOID, INT8ARRAYOID, INT8OID},
};

static OwnerQuery delete_unlocked_queue = {
	.text = "DELETE FROM session_files.file_queue AS q WHERE q.session_id OPERATOR(pg_catalog.=) $1"
			" AND q.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
			"SELECT f.ctid FROM session_files.file_queue AS f WHERE f.session_id OPERATOR(pg_catalog.=) $1"
			" FOR UPDATE SKIP LOCKED))",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

/* Merges the slots of a session that no other transaction has locked. */
static void
merge(const pg_uuid_t *session_id)
{
	Datum values[3] = {UUIDPGetDatum(session_id), (Datum) 0, Int64GetDatum(CURRENT_MINUTE())};
	bool isnull;

	owner_run(&lock_free_slots, values);
	values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		owner_run(&merge_slots, values);
}

/*
 * Reads a session's counts under a new snapshot. Merges its slots if there are many. If no file is PENDING, deletes the queue rows that
 * the same snapshot shows: they are of files that were settled without a lease.
 */
static void
tidy(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id)
{
	Datum value = UUIDPGetDatum(session_id);
	Counts counts;

	PushActiveSnapshot(GetLatestSnapshot());
	counts_read(catalog, file_counts, session_id, &counts);
	if (counts.by_status[STATUS_PENDING] == 0)
		owner_run_under(&delete_unlocked_queue, &value, GetActiveSnapshot());
	PopActiveSnapshot();
	if (counts.slots > COUNTS_MAX_SLOTS)
		merge(session_id);
}

/* Returns the hint of a session. */
static SlotHint *
find_slot_hint(const pg_uuid_t *session_id)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(SlotHint)};
	SlotHint *hint;
	bool found;

	if (slot_hints != NULL && hash_get_num_entries(slot_hints) >= MAX_HINTS)
	{
		hash_destroy(slot_hints);
		slot_hints = NULL;
	}
	if (slot_hints == NULL)
		slot_hints = hash_create("session_files slots", 16, &control, HASH_ELEM | HASH_BLOBS);
	hint = hash_search(slot_hints, session_id, HASH_ENTER, &found);
	if (!found)
	{
		ItemPointerSetInvalid(&hint->tid);
		hint->changes = 0;
	}
	return hint;
}

/* Locks a session's slot at a TID, if no other transaction has locked it and the transaction's one snapshot shows its newest version. */
static bool
lock_slot(Relation file_counts, const pg_uuid_t *session_id, ItemPointer tid, TupleTableSlot *slot)
{
	Snapshot snapshot = GetActiveSnapshot();
	TM_FailureData failure;
	bool isnull;

	/* The table may have been rewritten or truncated since, and be smaller. */
	return ItemPointerGetBlockNumber(tid) < RelationGetNumberOfBlocks(file_counts) &&
	       table_tuple_fetch_row_version(file_counts, tid, SnapshotSelf, slot) &&
	       uuid7_compare(DatumGetUUIDP(slot_getattr(slot, Anum_file_counts_session_id, &isnull)), session_id) == 0 &&
	       table_tuple_satisfies_snapshot(file_counts, slot, snapshot) &&
	       table_tuple_lock(file_counts, tid, snapshot, slot, GetCurrentCommandId(true), LockTupleNoKeyExclusive,
	                        LockWaitSkip, 0, &failure) == TM_Ok;
}

/* Locks the first of a session's slots that can be locked; returns where it is in *tid. */
static bool
lock_any_slot(Relation file_counts, const pg_uuid_t *session_id, ItemPointer tid, TupleTableSlot *slot)
{
	Relation index = catalog_open_index(catalog_get()->file_counts_pkey, AccessShareLock);
	TupleTableSlot *seen = table_slot_create(file_counts, NULL);
	IndexScanDesc scan = compat_index_beginscan(file_counts, index, SnapshotSelf, 1);
	ScanKeyData key;
	bool locked = false;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session_id));
	index_rescan(scan, &key, 1, NULL, 0);
	for (int tries = 0; !locked && tries < COUNTS_MAX_SLOTS && index_getnext_slot(scan, ForwardScanDirection, seen);
	     tries++)
	{
		*tid = seen->tts_tid;
		locked = lock_slot(file_counts, session_id, tid, slot);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(seen);
	index_close(index, NoLock);
	return locked;
}

/* Locks a slot for a transaction with one snapshot: the one that was taken last, if it is free. Sets its TID in the hint. */
static bool
lock_slot_of_snapshot(Relation file_counts, SlotHint *hint)
{
	TupleTableSlot *slot = table_slot_create(file_counts, NULL);
	bool locked = (ItemPointerIsValid(&hint->tid) && lock_slot(file_counts, &hint->session_id, &hint->tid, slot)) ||
	              lock_any_slot(file_counts, &hint->session_id, &hint->tid, slot);

	ExecDropSingleTupleTableSlot(slot);
	return locked;
}

/* Remembers where the slot is that a statement has written; returns how many PENDING files it has now. */
static int64
remember_slot(SlotHint *hint)
{
	bool isnull;

	hint->tid = *(ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
}

/* Adds to a slot that no other transaction has locked: the one that was taken last, if it is free. */
static bool
take_free_slot(Relation file_counts, SlotHint *hint, Datum *values)
{
	values[7] = PointerGetDatum(&hint->tid);
	if (IsolationUsesXactSnapshot())
		return lock_slot_of_snapshot(file_counts, hint) && owner_run(&take_slot_at, values) > 0;
	return (ItemPointerIsValid(&hint->tid) && owner_run(&take_slot_at, values) > 0) ||
	       owner_run(&take_slot, values) > 0;
}

/* Adds a session's changes to one of its slots. */
static void
store(const Catalog *catalog, Relation file_counts, const Delta *delta)
{
	int64 settled = Max(0, -delta->by_status[STATUS_PENDING]);
	Datum values[8] = {UUIDPGetDatum(&delta->session_id),
	                   Int64GetDatum(delta->by_status[STATUS_FAILED]),
	                   Int64GetDatum(delta->by_status[STATUS_FINISHED]),
	                   Int64GetDatum(delta->by_status[STATUS_PENDING]),
	                   Int64GetDatum(settled),
	                   Int64GetDatum(CURRENT_MINUTE()),
	                   Int64GetDatum((int64) delta->digest),
	                   (Datum) 0};
	SlotHint *hint = find_slot_hint(&delta->session_id);
	bool is_time = hint->changes++ % TIDY_EVERY == 0;

	if (settled > 0)
		notify_settled(&delta->session_id);
	if (take_free_slot(file_counts, hint, values))
	{
		/* 0 in a single slot: no file is PENDING. With several slots that says nothing, so they are summed up now and then. */
		if ((remember_slot(hint) == 0 || is_time) && !IsolationUsesXactSnapshot())
			tidy(catalog, file_counts, &delta->session_id);
	}
	else
	{
		values[7] = Int64GetDatum((int64) U64FromFullTransactionId(GetTopFullTransactionId()));
		owner_run(&own_slot, values);
		remember_slot(hint);
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
