/*
 * lease.c
 *		Calls of a worker about files that it holds: extend_lease and release_files; what these have in common with settle.c.
 *
 * A call takes its files out of their lease rows, and then does with them what it is for: each row is deleted or, where files are left in
 * it, changed. Rows are locked first (FOR UPDATE), so two calls with one token wait for each other: for a moment, unless their transactions
 * are long. A call that had to wait does not see the rows by which the other has replaced some. So where files are missing, it looks again
 * under a new snapshot, until that finds nothing more.
 *
 * A lease that has run out holds its files until another claim deletes its rows.
 */
#include "compat.h"

#include "ingestion/lease.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "access.h"
#include "grants.h"
#include "ingestion/notify.h"
#include "row_set.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_extend_lease);
PG_FUNCTION_INFO_V1(session_files_release_files);

/* What a caller has to have been granted. */
#define LEASE_KINDS (KIND_WORKER | KIND_KEEPER)

/* More than any lease or part of one may be, so that nothing overflows: days and months by themselves, as they can outweigh each other. */
#define MAX_LEASE_DAYS 1000
#define MAX_LEASE_MONTHS MONTHS_PER_YEAR

static OwnerQuery find_sessions = {
	.text = "SELECT DISTINCT q.session_id FROM session_files.file_queue AS q WHERE q.lease_token = $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

/* $3 and $4: the first and the last id that is looked for. Rows are sorted. */
static OwnerQuery lock_rows = {
	.text = "SELECT q.*, q.ctid FROM session_files.file_queue AS q"
			" WHERE q.lease_token = $1 AND ($2 IS NULL OR q.session_id = $2) AND q.file_ingestion_ids[1] <= $4"
			" AND q.file_ingestion_ids[pg_catalog.cardinality(q.file_ingestion_ids)] >= $3 FOR UPDATE",
	.arg_count = 4,
	.arg_types = {UUIDOID, UUIDOID, UUIDOID, UUIDOID},
};

static OwnerQuery delete_row = {
	.text = "DELETE FROM session_files.file_queue AS q WHERE q.ctid = $1",
	.arg_count = 1,
	.arg_types = {TIDOID},
};

static OwnerQuery reduce_row = {
	.text = "UPDATE session_files.file_queue AS q SET file_ingestion_ids = $2 WHERE q.ctid = $1",
	.arg_count = 2,
	.arg_types = {TIDOID, UUIDARRAYOID},
};

static void
report_null(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

/* Copies the ids of the call, sorted, and prepares their outcomes. */
static void
read_ids(LeaseCall *call, ArrayType *array)
{
	const pg_uuid_t *ids = queue_array_ids(array, &call->count);

	call->ids = palloc(Max(call->count, 1) * sizeof(pg_uuid_t));
	memcpy(call->ids, ids, call->count * sizeof(pg_uuid_t));
	call->count = queue_sort_ids(call->ids, call->count);
	call->outcomes = palloc0(Max(call->count, 1) * sizeof(Outcome));
	for (int i = 0; i < call->count; i++)
	{
		call->outcomes[i].id = call->ids[i];
		call->outcomes[i].has_session = call->has_session;
		call->outcomes[i].session_id = call->session_id;
		call->outcomes[i].status = STATUS_ANY;
		call->outcomes[i].reason = REASON_NONE;
	}
}

/* Raises an error unless the caller may finish files of all sessions of a lease. */
static void
check_sessions(Relation file_queue, const pg_uuid_t *token)
{
	Caller caller = owner_begin(file_queue);
	Datum value = UUIDPGetDatum(token);
	uint64 count = owner_run(&find_sessions, &value);
	pg_uuid_t *ids = MemoryContextAlloc(CurTransactionContext, Max(count, 1) * sizeof(pg_uuid_t));

	for (uint64 i = 0; i < count; i++)
	{
		bool isnull;

		ids[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	owner_end(caller);
	for (uint64 i = 0; i < count; i++)
		access_require_session(&ids[i], LEASE_KINDS);
	pfree(ids);
}

void
lease_begin_call(LeaseCall *call, FunctionCallInfo fcinfo, int token_argument)
{
	memset(call, 0, sizeof(LeaseCall));
	call->has_session = !PG_ARGISNULL(0);
	call->has_token = !PG_ARGISNULL(token_argument);
	if (PG_ARGISNULL(1) || (!call->has_session && !call->has_token))
		report_null("session_id, file_ingestion_ids and each of them");
	if (call->has_session)
	{
		call->session_id = *PG_GETARG_UUID_P(0);
		access_require_session(&call->session_id, LEASE_KINDS);
	}
	if (call->has_token)
		call->token = *PG_GETARG_UUID_P(token_argument);
	read_ids(call, PG_GETARG_ARRAYTYPE_P(1));
	call->files = table_open(catalog_get()->files, RowExclusiveLock);
	call->file_queue = table_open(catalog_get()->file_queue, RowExclusiveLock);
	call->catalog = *catalog_get();
	if (!call->has_session)
		check_sessions(call->file_queue, &call->token);
	call->caller = owner_begin(call->file_queue);
}

void
lease_end_call(LeaseCall *call)
{
	owner_end(call->caller);
	table_close(call->file_queue, NoLock);
	table_close(call->files, NoLock);
}

static int
compare_outcome(const void *id, const void *outcome)
{
	return uuid7_compare(id, &((const Outcome *) outcome)->id);
}

Outcome *
lease_outcome(LeaseCall *call, const pg_uuid_t *id)
{
	return bsearch(id, call->outcomes, call->count, sizeof(Outcome), compare_outcome);
}

/* Locks the lease's rows that can have one of the files. */
static SPITupleTable *
lock_lease_rows(LeaseCall *call, const pg_uuid_t *ids, int count)
{
	Datum values[4] = {UUIDPGetDatum(&call->token), UUIDPGetDatum(&call->session_id), UUIDPGetDatum(&ids[0]),
	                   UUIDPGetDatum(&ids[count - 1])};

	owner_run_nulls(&lock_rows, values, call->has_session ? "    " : " n  ");
	return SPI_tuptable;
}

/* Takes the files of a row out of it that are among some ids; NULL if there are none. */
static HeldFiles *
leave_row(LeaseCall *call, TupleTableSlot *slot, Datum tid, const pg_uuid_t *wanted, int wanted_count)
{
	HeldFiles *held = palloc(sizeof(HeldFiles));
	int row_count;
	pg_uuid_t *row_ids = queue_read(&call->catalog, slot, &held->row, &row_count);
	Datum values[2] = {tid, (Datum) 0};

	held->ids = palloc(row_count * sizeof(pg_uuid_t));
	held->count = queue_pick_ids(row_ids, row_count, wanted, wanted_count, true, held->ids);
	if (held->count == 0)
		return NULL;
	if (held->count == row_count)
		owner_run(&delete_row, values);
	else
	{
		pg_uuid_t *rest = palloc(row_count * sizeof(pg_uuid_t));
		int rest_count = queue_pick_ids(row_ids, row_count, wanted, wanted_count, false, rest);

		values[1] = PointerGetDatum(queue_make_array(rest, rest_count));
		owner_run(&reduce_row, values);
	}
	return held;
}

/* Takes some files out of the lease; appends to the list what it held. */
static List *
leave_rows(LeaseCall *call, const pg_uuid_t *ids, int count, List *all)
{
	SPITupleTable *rows = lock_lease_rows(call, ids, count);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(rows->tupdesc, &TTSOpsHeapTuple);

	for (uint64 i = 0; i < rows->numvals; i++)
	{
		bool isnull;
		HeldFiles *held;

		ExecStoreHeapTuple(rows->vals[i], slot, false);
		held = leave_row(call, slot, slot_getattr(slot, rows->tupdesc->natts, &isnull), ids, count);
		if (held != NULL)
			all = lappend(all, held);
	}
	ExecDropSingleTupleTableSlot(slot);
	SPI_freetuptable(rows);
	return all;
}

/* Puts the session of each file that was held into its outcome, and the ids of the others into missing; returns how many those are. */
static int
find_missing(LeaseCall *call, List *held, pg_uuid_t *missing)
{
	bool *found = palloc0(Max(call->count, 1) * sizeof(bool));
	int count = 0;
	ListCell *cell;

	foreach (cell, held)
	{
		HeldFiles *files = lfirst(cell);

		for (int i = 0; i < files->count; i++)
		{
			Outcome *outcome = lease_outcome(call, &files->ids[i]);

			outcome->has_session = true;
			outcome->session_id = files->row.session_id;
			found[outcome - call->outcomes] = true;
		}
	}
	for (int i = 0; i < call->count; i++)
	{
		if (!found[i])
			missing[count++] = call->ids[i];
	}
	pfree(found);
	return count;
}

List *
lease_leave(LeaseCall *call)
{
	pg_uuid_t *missing = palloc(Max(call->count, 1) * sizeof(pg_uuid_t));
	List *held = NIL;
	int count = find_missing(call, held, missing);
	int before;

	/* The first look may only have waited. */
	for (int look = 0; count > 0 && (look < 2 || list_length(held) > before); look++)
	{
		before = list_length(held);
		held = leave_rows(call, missing, count, held);
		count = find_missing(call, held, missing);
	}
	return held;
}

TimestampTz
lease_end(FunctionCallInfo fcinfo, int argument)
{
	TimestampTz now = GetCurrentTimestamp();
	Interval year = {.month = MONTHS_PER_YEAR};
	Interval *lease;

	if (PG_ARGISNULL(argument))
		report_null("lease");
	lease = PG_GETARG_INTERVAL_P(argument);
	if (abs(lease->month) <= MAX_LEASE_MONTHS && abs(lease->day) <= MAX_LEASE_DAYS &&
	    lease->time >= -MAX_LEASE_DAYS * USECS_PER_DAY && lease->time <= MAX_LEASE_DAYS * USECS_PER_DAY)
	{
		TimestampTz end = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), IntervalPGetDatum(lease)));
		TimestampTz last = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), IntervalPGetDatum(&year)));

		if (end > now && end <= last)
			return end;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
	                errmsg("lease is \"%s\", and it must be more than 0 and at most 1 year",
	                       DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(lease))))));
	return 0; /* not reached */
}

/* Puts the files of a row back under the lease, until another time. */
static void
extend(LeaseCall *call, HeldFiles *held, TimestampTz end)
{
	held->row.due_at = end;
	queue_insert(&held->row, held->ids, held->count);
	for (int i = 0; i < held->count; i++)
	{
		Outcome *outcome = lease_outcome(call, &held->ids[i]);

		outcome->has_time = true;
		outcome->time = end;
	}
}

/*
 * SQL: session_files.extend_lease(session_id uuid, file_ingestion_ids uuid[], lease_token uuid, lease interval) returns a table.
 */
Datum
session_files_extend_lease(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = row_set_begin(fcinfo);
	TimestampTz end = lease_end(fcinfo, 3);
	LeaseCall call;
	ListCell *cell;

	if (PG_ARGISNULL(2))
		report_null("lease_token");
	PreventCommandIfReadOnly("extend_lease()");
	lease_begin_call(&call, fcinfo, 2);
	foreach (cell, lease_leave(&call))
		extend(&call, lfirst(cell), end);
	lease_end_call(&call);
	for (int i = 0; i < call.count; i++)
	{
		Outcome *outcome = &call.outcomes[i];
		Datum values[2] = {UUIDPGetDatum(&outcome->id), TimestampTzGetDatum(outcome->time)};
		bool nulls[2] = {false, !outcome->has_time};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Gives back the files of a row: they can be claimed at once, and the attempt does not count. */
static void
release(LeaseCall *call, HeldFiles *held)
{
	held->row.due_at = GetCurrentTimestamp();
	held->row.has_lease = false;
	held->row.attempt = Max(held->row.attempt - 1, 0);
	queue_insert(&held->row, held->ids, held->count);
	notify_work(&held->row.session_id);
	for (int i = 0; i < held->count; i++)
		lease_outcome(call, &held->ids[i])->changed = true;
}

/* SQL: session_files.release_files(session_id uuid, file_ingestion_ids uuid[], lease_token uuid) returns a table. */
Datum
session_files_release_files(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = row_set_begin(fcinfo);
	LeaseCall call;
	ListCell *cell;

	if (PG_ARGISNULL(2))
		report_null("lease_token");
	PreventCommandIfReadOnly("release_files()");
	lease_begin_call(&call, fcinfo, 2);
	foreach (cell, lease_leave(&call))
		release(&call, lfirst(cell));
	lease_end_call(&call);
	for (int i = 0; i < call.count; i++)
	{
		Datum values[2] = {UUIDPGetDatum(&call.outcomes[i].id), BoolGetDatum(call.outcomes[i].changed)};
		bool nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
