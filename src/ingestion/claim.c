/*
 * claim.c
 *		claim_files: gives a worker files for a time.
 *
 * Files that came back go first, the longest waiting before the others, from whatever session they are (queue_walk.c). Then come files that
 * were never claimed: workspaces and sessions take turns (turns.c). No step depends on how many files, sessions, tenants or leases there are.
 *
 * A claim reads as the caller, and must not return a file of a session that the caller may not see (access.c), nor of one past its end. It
 * writes as the owner of the tables (batch.c).
 */
#include "compat.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access.h"
#include "grants.h"
#include "ingestion/batch.h"
#include "ingestion/claim_state.h"
#include "ingestion/lease.h"
#include "ingestion/queue_walk.h"
#include "ingestion/turns.h"
#include "owner.h"
#include "row_set.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_claim_files);

/* What a caller has to have been granted. */
#define CLAIM_KINDS (KIND_WORKER | KIND_KEEPER)

#define MAX_FILES 100000
#define MAX_WORKER_CHARACTERS 200

static OwnerQuery find_workspace = {
	.text = "SELECT FROM session_files.workspaces AS w WHERE w.name = $1",
	.arg_count = 1,
	.arg_types = {TEXTOID},
};

/* Takes files of a session. */
static void
claim_of_session(Claim *claim, const pg_uuid_t *session_id)
{
	bool exists;

	if (claim_may_serve(claim, session_id, &exists))
	{
		queue_walk_returned_in_session(claim, session_id);
		if (!claim->is_lost)
			queue_walk_new_in_session(claim, session_id);
	}
	if (!exists)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
		                errmsg(claim->workspace ? "there is no session \"%s\" in the workspace \"%s\""
		                                        : "there is no session \"%s\"",
		                       DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(session_id))),
		                       claim->workspace ? text_to_cstring(claim->workspace) : NULL),
		                errhint(NOT_GRANTED_HINT)));
}

/* Takes files of all sessions of the workspaces. */
static void
claim_of_any(Claim *claim)
{
	if (claim->workspace != NULL)
		claim->workspaces = list_make1(claim->workspace);
	if (claim->workspace == NULL && claim->is_of_all)
		queue_walk_returned(claim);
	else
	{
		ListCell *cell;

		foreach (cell, claim->workspaces)
			queue_walk_returned_in_workspace(claim, lfirst(cell));
	}
	if (claim->is_lost)
		return;
	if (claim->workspace == NULL && claim->is_of_all)
		turns_serve_all(claim);
	else
		turns_serve(claim, claim->workspaces);
}

/* Raises 42501 if policies on files apply to the caller, which a claim cannot apply. */
static void
check_policies(const Claim *claim)
{
	if (!access_covers(&claim->access, claim->files))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		     errmsg("claiming can apply no other policy of row level security on table \"%s\" than the extension's own",
		            RelationGetRelationName(claim->files))));
}

static void
open_claim(Claim *claim)
{
	claim->upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	claim->files = table_open(catalog_get()->files, RowExclusiveLock);
	claim->file_queue = table_open(catalog_get()->file_queue, RowExclusiveLock);
	claim->catalog = *catalog_get();
	access_begin(&claim->access, &claim->catalog, claim->upload_sessions, CLAIM_KINDS);
	check_policies(claim);
	claim->row = table_slot_create(claim->file_queue, NULL);
	InitDirtySnapshot(claim->dirty);
	claim->now = GetCurrentTimestamp();
}

static void
close_claim(Claim *claim)
{
	ExecDropSingleTupleTableSlot(claim->row);
	table_close(claim->file_queue, NoLock);
	table_close(claim->files, NoLock);
	table_close(claim->upload_sessions, NoLock);
}

/* Raises an error unless the caller may claim: of a workspace, of a session, or at all. Finds the workspaces to claim of. */
static void
check_caller(Claim *claim, const pg_uuid_t *session_id)
{
	if (claim->workspace != NULL)
		access_require_workspace(claim->workspace, CLAIM_KINDS);
	if (session_id != NULL)
		access_require_session(session_id, CLAIM_KINDS);
	else if (claim->workspace == NULL && !access_require_some(CLAIM_KINDS))
		ereport(NOTICE, (errmsg("no workspace was granted to the role \"%s\", so there are no files for it to claim",
		                        GetUserNameFromId(GetUserId(), false)),
		                 errhint("Grant it one, or all, with session_files.grant_workspace().")));
	claim->workspaces = access_workspaces(CLAIM_KINDS, &claim->is_of_all);
}

/* Raises P0002 unless the claim's workspace is there, which nothing has checked for a caller that needs no grant. */
static void
check_workspace(const Claim *claim)
{
	Caller caller = owner_begin(claim->file_queue);
	Datum name = PointerGetDatum(claim->workspace);
	bool found = owner_run(&find_workspace, &name) > 0;

	owner_end(caller);
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
		                errmsg("there is no workspace \"%s\"", text_to_cstring(claim->workspace)),
		                errhint("Create it with session_files.create_workspace().")));
}

/* Checks the arguments worker and max_files. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	int characters;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("worker and max_files must not be null")));
	characters = DatumGetInt32(DirectFunctionCall1(textlen, PG_GETARG_DATUM(0)));
	if (characters < 1 || characters > MAX_WORKER_CHARACTERS)
		ereport(ERROR,
		        (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		         errmsg("worker has %d characters, and 1 to %d are allowed", characters, MAX_WORKER_CHARACTERS)));
	if (PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > MAX_FILES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("max_files is %d, and it must be 1 to %d", PG_GETARG_INT32(1), MAX_FILES)));
}

/*
 * SQL: session_files.claim_files(worker text, max_files integer, lease interval, workspace_name text, session_id uuid)
 * returns setof claimed_file. NULL stands for any workspace, or any session.
 */
Datum
session_files_claim_files(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = row_set_begin(fcinfo);
	Claim claim = {.wanted = 0};
	Lease lease;

	check_arguments(fcinfo);
	lease.expires_at = lease_end(fcinfo, 2);
	lease.worker = PG_GETARG_TEXT_PP(0);
	lease.max_files = claim.wanted = PG_GETARG_INT32(1);
	lease.token = *DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));
	claim.workspace = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	PreventCommandIfReadOnly("claim_files()");
	check_caller(&claim, PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4));
	open_claim(&claim);
	/* As a function in SQL would: what the statement itself did before can be claimed. */
	owner_push_snapshot();
	if (claim.workspace != NULL && claim.is_of_all)
		check_workspace(&claim);
	if (PG_ARGISNULL(4))
		claim_of_any(&claim);
	else
		claim_of_session(&claim, PG_GETARG_UUID_P(4));
	batch_write(&claim, &lease, result);
	PopActiveSnapshot();
	close_claim(&claim);
	return (Datum) 0;
}
