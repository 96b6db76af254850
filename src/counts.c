/*
 * counts.c
 *		How many files a session has of each status: the triggers that keep it, the reader.
 *
 * file_counts has several rows ("slots") per session. A statement's changes go, in its own
 * transaction, to a slot that nobody else has locked, or to a new one: so nobody waits for a
 * counter, and savepoints, rollbacks and snapshots are as for any row. A new slot is numbered by
 * the top transaction's id, which no other transaction can use.
 *
 * A transaction with one snapshot (REPEATABLE READ, SERIALIZABLE) always uses the slot of its own
 * number: to take another could fail, where another transaction changed it since the snapshot.
 * Such slots pile up, one per transaction; READ COMMITTED writers merge them when there are too
 * many.
 *
 * The triggers act as the owner of file_counts, so that those who write files need no right on it.
 * No query depends on search_path.
 */
#include "compat.h"

#include "counts.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "scan.h"

/* With more slots than this, a writer merges those that are free. */
#define MAX_SLOTS 32

PG_FUNCTION_INFO_V1(session_files_count_changes);
PG_FUNCTION_INFO_V1(session_files_forget_counts);

/* What a statement changed in a session. */
typedef struct Delta
{
	pg_uuid_t session_id; /* the hash key */
	int64 by_status[STATUS_COUNT];
} Delta;

/* The queries; a plan is made when first used and kept for the backend's life. */
typedef struct CountQuery
{
	const char *text;
	int arg_count;
	Oid arg_types[STATUS_COUNT + 2];
	SPIPlanPtr plan;
} CountQuery;

static CountQuery take_slot = {
	.text = "UPDATE session_files.file_counts AS c SET failed = c.failed OPERATOR(pg_catalog.+) $2,"
			" finished = c.finished OPERATOR(pg_catalog.+) $3, pending = c.pending OPERATOR(pg_catalog.+) $4"
			" WHERE c.session_id OPERATOR(pg_catalog.=) $1 AND c.slot OPERATOR(pg_catalog.=)"
			" (SELECT f.slot FROM session_files.file_counts AS f WHERE f.session_id OPERATOR(pg_catalog.=) $1"
			" LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)",
	.arg_count = 4,
	.arg_types = {UUIDOID, INT8OID, INT8OID, INT8OID},
};

static CountQuery own_slot = {
	.text = "INSERT INTO session_files.file_counts AS c (session_id, failed, finished, pending, slot)"
			" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (session_id, slot) DO UPDATE"
			" SET failed = c.failed OPERATOR(pg_catalog.+) excluded.failed,"
			" finished = c.finished OPERATOR(pg_catalog.+) excluded.finished,"
			" pending = c.pending OPERATOR(pg_catalog.+) excluded.pending",
	.arg_count = 5,
	.arg_types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID},
};

/* Two statements, as the second must see the rows as they are once the first has locked them. */
static CountQuery lock_free_slots = {
	.text = "SELECT pg_catalog.array_agg(l.slot) FROM (SELECT f.slot FROM session_files.file_counts AS f"
			" WHERE f.session_id OPERATOR(pg_catalog.=) $1 FOR UPDATE SKIP LOCKED) AS l",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static CountQuery merge_slots = {
	.text = "WITH gone AS (DELETE FROM session_files.file_counts AS c WHERE c.session_id OPERATOR(pg_catalog.=) $1"
			" AND c.slot OPERATOR(pg_catalog.=) ANY ($2[2:]) RETURNING c.failed, c.finished, c.pending),"
			" merged AS (SELECT COALESCE(pg_catalog.sum(failed), 0)::bigint AS failed,"
			" COALESCE(pg_catalog.sum(finished), 0)::bigint AS finished,"
			" COALESCE(pg_catalog.sum(pending), 0)::bigint AS pending FROM gone)"
			" UPDATE session_files.file_counts AS c SET failed = c.failed OPERATOR(pg_catalog.+) m.failed,"
			" finished = c.finished OPERATOR(pg_catalog.+) m.finished,"
			" pending = c.pending OPERATOR(pg_catalog.+) m.pending FROM merged AS m"
			" WHERE c.session_id OPERATOR(pg_catalog.=) $1 AND c.slot OPERATOR(pg_catalog.=) $2[1]",
	.arg_count = 2,
	.arg_types = {UUIDOID, INT8ARRAYOID},
};

static CountQuery find_session = {
	.text = "SELECT FROM session_files.upload_sessions AS s WHERE s.session_id OPERATOR(pg_catalog.=) $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static CountQuery forget_session = {
	.text = "DELETE FROM session_files.file_counts AS c WHERE c.session_id OPERATOR(pg_catalog.=) $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static CountQuery forget_all = {
	.text = "TRUNCATE session_files.file_counts",
};

void
counts_read(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id, Counts *counts)
{
	KeyScan scan;

	memset(counts, 0, sizeof(Counts));
	scan_init(&scan, file_counts, catalog->file_counts_pkey);
	scan_key_equal(&scan, 1, F_UUID_EQ, UUIDPGetDatum(session_id));
	scan_begin(&scan, ForwardScanDirection, MAX_SLOTS);
	while (scan_next(&scan))
	{
		for (int status = 0; status < STATUS_COUNT; status++)
			counts->by_status[status] += DatumGetInt64(scan_value(&scan, Anum_file_counts_first_status + status));
		counts->slots++;
	}
	scan_end(&scan);
}

/* Runs a query under a snapshot, InvalidSnapshot for the usual one; returns how many rows it processed. */
static uint64
run_under(CountQuery *query, Datum *values, Snapshot snapshot)
{
	if (query->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(query->text, query->arg_count, query->arg_types);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		query->plan = plan;
	}
	if (SPI_execute_snapshot(query->plan, values, NULL, snapshot, InvalidSnapshot, false, true, 0) < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(SPI_result));
	return SPI_processed;
}

static uint64
run(CountQuery *query, Datum *values)
{
	return run_under(query, values, InvalidSnapshot);
}

/* Merges the slots of a session that nobody has locked, if there are too many. */
static void
merge_if_many(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id)
{
	Datum values[2] = {UUIDPGetDatum(session_id), (Datum) 0};
	Counts counts;
	bool isnull;

	counts_read(catalog, file_counts, session_id, &counts);
	if (counts.slots <= MAX_SLOTS)
		return;
	run(&lock_free_slots, values);
	values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		run(&merge_slots, values);
}

/* Adds a session's changes to one of its slots. */
static void
store(const Catalog *catalog, Relation file_counts, const Delta *delta)
{
	Datum values[STATUS_COUNT + 2] = {UUIDPGetDatum(&delta->session_id), Int64GetDatum(delta->by_status[STATUS_FAILED]),
	                                  Int64GetDatum(delta->by_status[STATUS_FINISHED]),
	                                  Int64GetDatum(delta->by_status[STATUS_PENDING]), (Datum) 0};

	if (!IsolationUsesXactSnapshot() && run(&take_slot, values) > 0)
	{
		merge_if_many(catalog, file_counts, &delta->session_id);
		return;
	}
	values[STATUS_COUNT + 1] = Int64GetDatum((int64) U64FromFullTransactionId(GetTopFullTransactionId()));
	run(&own_slot, values);
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
		memset(delta->by_status, 0, sizeof(delta->by_status));
	return delta;
}

/* Adds the rows of a transition table, each `sign` times, to the deltas. NULL: it has none. */
static void
collect(const Catalog *catalog, TupleDesc desc, Tuplestorestate *rows, int sign, HTAB *deltas)
{
	TupleTableSlot *slot;
	Delta *delta = NULL;

	if (rows == NULL)
		return;
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	/* A read pointer of our own: other triggers may read the same rows. */
	tuplestore_select_read_pointer(rows, tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND));
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		pg_uuid_t *session_id;
		int status;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, Anum_files_ingestion_status);
		session_id = DatumGetUUIDP(slot->tts_values[Anum_files_session_id - 1]);
		status = catalog_status(catalog, DatumGetObjectId(slot->tts_values[Anum_files_ingestion_status - 1]));
		if (delta == NULL || memcmp(&delta->session_id, session_id, sizeof(pg_uuid_t)) != 0)
			delta = find_delta(deltas, session_id);
		delta->by_status[status] += sign;
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Tells whether a delta is not to be stored: nothing changed, or the session was deleted and this
 * is the cascade, whose triggers fire when the session's counts are gone already.
 */
static bool
is_moot(const Delta *delta, TriggerEvent event)
{
	Datum session_id = UUIDPGetDatum(&delta->session_id);

	if (TRIGGER_FIRED_BY_DELETE(event))
		return run(&find_session, &session_id) == 0;
	for (int status = 0; status < STATUS_COUNT; status++)
	{
		if (delta->by_status[status] != 0)
			return false;
	}
	return true;
}

/* What to go back to. */
typedef struct Caller
{
	Oid user;
	int context;
	int guc_level;
} Caller;

/*
 * Connects to SPI as the owner of file_counts, with plans kept to the index: they are made when the
 * table is small and used when it is large. An error undoes all of it at the end of the
 * transaction.
 */
static Caller
begin_as_owner(Relation file_counts)
{
	Caller caller;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	GetUserIdAndSecContext(&caller.user, &caller.context);
	SetUserIdAndSecContext(file_counts->rd_rel->relowner,
	                       caller.context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	caller.guc_level = NewGUCNestLevel();
	set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return caller;
}

static void
end_as_owner(Caller caller)
{
	AtEOXact_GUC(true, caller.guc_level);
	SetUserIdAndSecContext(caller.user, caller.context);
	SPI_finish();
}

/* Returns the trigger's data, having checked that it is a statement trigger of one of the tables. */
static TriggerData *
check_trigger(FunctionCallInfo fcinfo, Oid table, Oid other_table)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
	    !TRIGGER_FIRED_FOR_STATEMENT(data->tg_event) ||
	    (RelationGetRelid(data->tg_relation) != table && RelationGetRelid(data->tg_relation) != other_table))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		                errmsg("function is only for the statement triggers of the extension session_files")));
	return data;
}

/* SQL: session_files.count_changes(), trigger. */
Datum
session_files_count_changes(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = check_trigger(fcinfo, catalog.files, catalog.files);
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	HTAB *deltas = create_deltas();
	Relation file_counts = table_open(catalog.file_counts, RowExclusiveLock);
	Caller caller;
	HASH_SEQ_STATUS each;
	Delta *delta;

	collect(&catalog, desc, data->tg_oldtable, -1, deltas);
	collect(&catalog, desc, data->tg_newtable, 1, deltas);

	caller = begin_as_owner(file_counts);
	hash_seq_init(&each, deltas);
	while ((delta = hash_seq_search(&each)) != NULL)
	{
		if (!is_moot(delta, data->tg_event))
			store(&catalog, file_counts, delta);
	}
	end_as_owner(caller);

	table_close(file_counts, NoLock);
	hash_destroy(deltas);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}

/*
 * Removes the counts of the sessions in a transition table; like the cascade to the files, also those
 * that are newer than the transaction's snapshot.
 */
static void
forget_sessions(TupleDesc desc, Tuplestorestate *sessions)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	tuplestore_select_read_pointer(sessions, tuplestore_alloc_read_pointer(sessions, EXEC_FLAG_REWIND));
	tuplestore_rescan(sessions);
	while (tuplestore_gettupleslot(sessions, true, false, slot))
	{
		Datum session_id;

		slot_getsomeattrs(slot, Anum_upload_sessions_session_id);
		session_id = slot->tts_values[Anum_upload_sessions_session_id - 1];
		run_under(&forget_session, &session_id, GetLatestSnapshot());
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* SQL: session_files.forget_counts(), trigger. */
Datum
session_files_forget_counts(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = check_trigger(fcinfo, catalog.files, catalog.upload_sessions);
	Relation file_counts = table_open(catalog.file_counts, RowExclusiveLock);
	Oid owner_of = RelationGetRelid(data->tg_relation);
	Caller caller = begin_as_owner(file_counts);

	table_close(file_counts, NoLock);
	if (owner_of == catalog.files)
		run(&forget_all, NULL);
	else if (data->tg_oldtable != NULL)
		forget_sessions(RelationGetDescr(data->tg_relation), data->tg_oldtable);
	end_as_owner(caller);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}
