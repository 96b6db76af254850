/*
 * settle.c
 *		finish_files and fail_files: PENDING files become FINISHED or FAILED.
 *
 * With a token, only files that its lease holds are changed: they are taken out of the lease first (lease.c). A file is changed if it is
 * PENDING, and of no greater generation than its queue row. Where it is is looked up under a new snapshot (locate.c); the UPDATE checks it
 * again, as it may have waited for another transaction. A file that is still PENDING after that has moved, and is looked up again.
 *
 * A failure that is tried again leaves the file as it is: its queue row gets a later due_at.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "access.h"
#include "index/id_lookup.h"
#include "ingestion/lease.h"
#include "ingestion/locate.h"
#include "mb/pg_wchar.h"
#include "row_set.h"
#include "settings.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_finish_files);
PG_FUNCTION_INFO_V1(session_files_fail_files);

/* How often files are looked up that other transactions change at the same time. */
#define MAX_ATTEMPTS 10

/* How many characters of an error's text are kept: as many as the table takes. */
#define MAX_ERROR_CHARACTERS 2000

/* What files become. */
typedef struct Settlement
{
	int status;
	int reason;  /* REASON_NONE for FINISHED */
	text *error; /* or NULL */
} Settlement;

/*
 * A trigger sets name_hash. The statement sets it, too, so that its index knows that the value is new: if not, PostgreSQL takes it for one that
 * the index has already, and looks for dead versions of it each time a page is full.
 */
static OwnerQuery update_pending = {
	.text = "UPDATE session_files.files AS f SET ingestion_status = $3::session_files.ingestion_status,"
			" ingestion_status_reason = $4::session_files.ingestion_status_reason, error = $5, name_hash = NULL"
			" WHERE f.ctid = ANY ($1) AND (f.ingestion_status = 'PENDING') IS TRUE AND f.generation <= $2"
			" RETURNING f.file_ingestion_id, f.ingestion_status, f.ingestion_status_reason",
	.arg_count = 5,
	.arg_types = {TIDARRAYOID, INT8OID, TEXTOID, TEXTOID, TEXTOID},
};

/* Returns which of some files are PENDING and of no greater generation, as of now, and in *tids where. */
static int
find_pending(LeaseCall *call, const HeldFiles *files, pg_uuid_t *pending, ArrayType **tids)
{
	int count = files->count;

	owner_push_snapshot();
	*tids = locate_pending(call->files, &files->row.session_id, files->ids, &count, files->row.generation, pending);
	PopActiveSnapshot();
	return count;
}

/* Puts what files have become into their outcomes. The write mode of the session may have made them FAILED (write_mode.c). */
static void
read_changed(LeaseCall *call)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		Outcome *outcome = lease_outcome(call, DatumGetUUIDP(SPI_getbinval(row, desc, 1, &isnull)));
		Datum reason = SPI_getbinval(row, desc, 3, &isnull);

		outcome->changed = true;
		outcome->reason = isnull ? REASON_NONE : catalog_reason(&call->catalog, DatumGetObjectId(reason));
		outcome->status = catalog_status(&call->catalog, DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull)));
	}
}

/* Changes files, and puts that into their outcomes. */
static void
settle(LeaseCall *call, const HeldFiles *files, const Settlement *settlement)
{
	pg_uuid_t *pending = palloc(Max(files->count, 1) * sizeof(pg_uuid_t));
	Datum values[5] = {(Datum) 0, Int64GetDatum(files->row.generation),
	                   PointerGetDatum(cstring_to_text(status_labels[settlement->status])), (Datum) 0,
	                   PointerGetDatum(settlement->error)};
	char nulls[] = "     ";
	ArrayType *tids;

	if (settlement->reason == REASON_NONE)
		nulls[3] = 'n';
	else
		values[3] = PointerGetDatum(cstring_to_text(reason_labels[settlement->reason]));
	if (settlement->error == NULL)
		nulls[4] = 'n';
	for (int attempt = 0; attempt < MAX_ATTEMPTS && find_pending(call, files, pending, &tids) > 0; attempt++)
	{
		values[0] = PointerGetDatum(tids);
		owner_run_nulls(&update_pending, values, nulls);
		read_changed(call);
	}
}

/* Reads what a file is into its outcome. */
static void
read_outcome(const LeaseCall *call, TupleTableSlot *file, Outcome *outcome)
{
	bool isnull;
	Datum reason;

	outcome->status =
		catalog_status(&call->catalog, DatumGetObjectId(slot_getattr(file, Anum_files_ingestion_status, &isnull)));
	reason = slot_getattr(file, Anum_files_ingestion_status_reason, &isnull);
	if (!isnull)
		outcome->reason = catalog_reason(&call->catalog, DatumGetObjectId(reason));
}

/* Finds what the files are that the call did not change. */
static void
read_unchanged(LeaseCall *call)
{
	owner_push_snapshot();
	for (int i = 0; i < call->count; i++)
	{
		Outcome *outcome = &call->outcomes[i];
		IdLookup lookup;

		if (outcome->changed || !outcome->has_session)
			continue;
		id_lookup_begin(&lookup, call->files, call->catalog.files_pkey, &outcome->session_id, &outcome->id);
		if (id_lookup_find(&lookup, &outcome->id))
			read_outcome(call, lookup.slot, outcome);
		id_lookup_end(&lookup);
	}
	PopActiveSnapshot();
}

/* Puts files that are tried again back into the queue, until a time. */
static void
delay(LeaseCall *call, HeldFiles *files, int reason, TimestampTz until)
{
	files->row.due_at = until;
	files->row.has_lease = false;
	files->row.last_reason = reason;
	queue_insert(&files->row, files->ids, files->count);
	for (int i = 0; i < files->count; i++)
	{
		Outcome *outcome = lease_outcome(call, &files->ids[i]);

		outcome->has_time = true;
		outcome->time = until;
	}
}

/* Settles what the lease holds, or has it tried again. */
static void
settle_held(LeaseCall *call, const Settlement *settlement)
{
	ListCell *cell;

	foreach (cell, lease_leave(call))
	{
		HeldFiles *files = lfirst(cell);
		TimestampTz until;

		if (settlement->status == STATUS_FAILED && settings_retry_at(settlement->reason, files->row.attempt, &until))
			delay(call, files, settlement->reason, until);
		else
			settle(call, files, settlement);
	}
}

/* Settles files without a lease, whatever worker holds them. */
static void
settle_any(LeaseCall *call, const Settlement *settlement)
{
	HeldFiles files = {
		.row = {.session_id = call->session_id, .generation = PG_INT64_MAX}, .ids = call->ids, .count = call->count};

	settle(call, &files, settlement);
}

/* Without a lease, a file that is not there is a mistake of the caller. A worker's other files are not to wait for one that was deleted. */
static void
check_missing(const LeaseCall *call)
{
	for (int i = 0; i < call->count && !call->has_token; i++)
	{
		if (call->outcomes[i].status == STATUS_ANY)
			ereport(
				ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
			     errmsg("session \"%s\" has no file \"%s\"",
			            DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&call->session_id))),
			            DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&call->outcomes[i].id)))),
			     errhint("Either the file or the session is not there, or its workspace was not granted to the role, "
			             "which session_files.grant_workspace() does.")));
	}
}

/* Adds the outcomes to the result. */
static void
return_outcomes(const LeaseCall *call, ReturnSetInfo *result)
{
	for (int i = 0; i < call->count; i++)
	{
		const Outcome *outcome = &call->outcomes[i];
		/* A file that is tried again is as it was. */
		bool is_delayed = outcome->has_time && outcome->status == STATUS_PENDING;
		bool exists = outcome->status != STATUS_ANY;
		bool has_reason = outcome->reason != REASON_NONE;
		Datum values[5] = {UUIDPGetDatum(&outcome->id),
		                   exists ? ObjectIdGetDatum(call->catalog.statuses[outcome->status]) : (Datum) 0,
		                   has_reason ? ObjectIdGetDatum(call->catalog.reasons[outcome->reason]) : (Datum) 0,
		                   BoolGetDatum(outcome->changed || is_delayed), TimestampTzGetDatum(outcome->time)};
		bool nulls[5] = {false, !exists, !has_reason, false, !is_delayed};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* What finish_files and fail_files do. */
static void
settle_files(FunctionCallInfo fcinfo, int token_argument, const Settlement *settlement)
{
	ReturnSetInfo *result = row_set_begin(fcinfo);
	LeaseCall call;

	lease_begin_call(&call, fcinfo, token_argument);
	if (call.has_token)
		settle_held(&call, settlement);
	else
		settle_any(&call, settlement);
	read_unchanged(&call);
	lease_end_call(&call);
	check_missing(&call);
	return_outcomes(&call, result);
}

/* SQL: session_files.finish_files(session_id uuid, file_ingestion_ids uuid[], lease_token uuid) returns a table. */
Datum
session_files_finish_files(PG_FUNCTION_ARGS)
{
	Settlement finished = {.status = STATUS_FINISHED, .reason = REASON_NONE};

	PreventCommandIfReadOnly("finish_files()");
	settle_files(fcinfo, 2, &finished);
	return (Datum) 0;
}

/* Returns a text argument, or NULL; no more than the first characters of it. */
static text *
error_argument(FunctionCallInfo fcinfo, int argument)
{
	text *error;

	if (PG_ARGISNULL(argument))
		return NULL;
	error = PG_GETARG_TEXT_PP(argument);
	return cstring_to_text_with_len(
		VARDATA_ANY(error), pg_mbcharcliplen(VARDATA_ANY(error), VARSIZE_ANY_EXHDR(error), MAX_ERROR_CHARACTERS));
}

/*
 * SQL: session_files.fail_files(session_id uuid, file_ingestion_ids uuid[], reason ingestion_status_reason, lease_token uuid, error text)
 * returns a table.
 */
Datum
session_files_fail_files(PG_FUNCTION_ARGS)
{
	Settlement failed = {.status = STATUS_FAILED, .error = error_argument(fcinfo, 4)};

	if (PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("reason must not be null")));
	PreventCommandIfReadOnly("fail_files()");
	failed.reason = catalog_reason(catalog_get(), PG_GETARG_OID(2));
	settle_files(fcinfo, 3, &failed);
	return (Datum) 0;
}
