/*
 * session_cleanup.c
 *		The trigger that deletes a session's counts and queue rows when the session is deleted or files is truncated.
 *
 * No foreign key does that: its check would make a transaction that writes files wait for one that deletes their session.
 *
 * Rows are deleted under new snapshots (GetLatestSnapshot), so that those go too which are newer than the transaction's snapshot.
 */
#include "compat.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "owner.h"
#include "trigger.h"

PG_FUNCTION_INFO_V1(session_files_session_cleanup);

static OwnerQuery delete_counts = {
	.text = "DELETE FROM session_files.file_counts AS c WHERE c.session_id = $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery find_queue = {
	.text = "SELECT FROM session_files.file_queue AS q WHERE q.session_id = $1 LIMIT 1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery delete_queue = {
	.text = "DELETE FROM session_files.file_queue AS q WHERE q.session_id = $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery truncate_counts_and_queue = {
	.text = "TRUNCATE session_files.file_counts, session_files.file_queue",
};

/*
 * Deletes the queue rows of a session. Workers lock neither the session nor its files. A worker that claims, extends or releases replaces
 * queue rows. DELETE waits for it, but does not see the new rows; a snapshot that is taken after the wait does. So this repeats until
 * there is none.
 */
static void
clean_up_queue(Datum session_id)
{
	while (owner_run_under(&find_queue, &session_id, GetLatestSnapshot()) > 0)
		owner_run_under(&delete_queue, &session_id, GetLatestSnapshot());
}

/*
 * Deletes what is kept of the sessions that a statement has deleted; also rows that are newer than the transaction's snapshot, as the
 * cascade to files does.
 */
static void
clean_up_sessions(const TriggerData *data)
{
	TupleTableSlot *slot = trigger_begin_rows(data, data->tg_oldtable);

	while (tuplestore_gettupleslot(data->tg_oldtable, true, false, slot))
	{
		Datum session_id;

		slot_getsomeattrs(slot, Anum_upload_sessions_session_id);
		session_id = slot->tts_values[Anum_upload_sessions_session_id - 1];
		owner_run_under(&delete_counts, &session_id, GetLatestSnapshot());
		clean_up_queue(session_id);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* SQL: session_files._session_cleanup(), trigger. */
Datum
session_files_session_cleanup(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = trigger_data(fcinfo, TRIGGER_STATEMENTS, catalog.files, catalog.upload_sessions);
	Relation file_counts = table_open(catalog.file_counts, RowExclusiveLock);
	Oid owner_of = RelationGetRelid(data->tg_relation);
	Caller caller = owner_begin(file_counts);

	table_close(file_counts, NoLock);
	if (owner_of == catalog.files)
		owner_run(&truncate_counts_and_queue, NULL);
	else if (data->tg_oldtable != NULL)
		clean_up_sessions(data);
	owner_end(caller);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}
