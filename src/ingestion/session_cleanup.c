/*
 * session_cleanup.c
 *		What goes with a session: its counts, its queue, and what is kept of deletions. No foreign key sees
 *		to that: to check it, who writes files would wait for whoever deletes their session.
 */
#include "compat.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "owner.h"

PG_FUNCTION_INFO_V1(session_files_forget_counts);

static OwnerQuery forget_session = {
	.text = "DELETE FROM session_files.file_counts AS c WHERE c.session_id OPERATOR(pg_catalog.=) $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery find_queue = {
	.text = "SELECT FROM session_files.file_queue AS q WHERE q.session_id OPERATOR(pg_catalog.=) $1 LIMIT 1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery forget_session_queue = {
	.text = "DELETE FROM session_files.file_queue AS q WHERE q.session_id OPERATOR(pg_catalog.=) $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery forget_session_deletions = {
	.text = "DELETE FROM session_files.file_deletions AS d WHERE d.session_id OPERATOR(pg_catalog.=) $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery forget_all = {
	.text = "TRUNCATE session_files.file_counts, session_files.file_queue",
};

static OwnerQuery forget_all_deletions = {
	.text = "TRUNCATE session_files.file_deletions",
};

/*
 * Removes the queue of a session. Workers lock neither the session nor its files: who claims, extends
 * or releases puts new rows in the place of those that he takes, which show only to a snapshot
 * taken after he was waited for.
 */
static void
forget_queue(Datum session_id)
{
	while (owner_run_under(&find_queue, &session_id, GetLatestSnapshot()) > 0)
		owner_run_under(&forget_session_queue, &session_id, GetLatestSnapshot());
}

/*
 * Removes the counts, the queue and the deletions of the sessions in a transition table; like the cascade to the files,
 * also those that are newer than the transaction's snapshot.
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
		owner_run_under(&forget_session, &session_id, GetLatestSnapshot());
		forget_queue(session_id);
		owner_run_under(&forget_session_deletions, &session_id, GetLatestSnapshot());
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* SQL: session_files.forget_counts(), trigger. */
Datum
session_files_forget_counts(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = owner_trigger_data(fcinfo, catalog.files, catalog.upload_sessions);
	Relation file_counts = table_open(catalog.file_counts, RowExclusiveLock);
	Oid owner_of = RelationGetRelid(data->tg_relation);
	Caller caller = owner_begin(file_counts);

	table_close(file_counts, NoLock);
	if (owner_of == catalog.files)
	{
		owner_run(&forget_all, NULL);
		owner_run(&forget_all_deletions, NULL);
	}
	else if (data->tg_oldtable != NULL)
		forget_sessions(RelationGetDescr(data->tg_relation), data->tg_oldtable);
	owner_end(caller);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}
