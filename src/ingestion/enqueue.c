/*
 * enqueue.c
 *		The triggers that fill file_queue: with the files that a statement made PENDING, and with what a session changes.
 *
 * A queue row holds up to QUEUE_MAX_FILES files of a session. A statement that adds few files spreads them over up to QUEUE_MIN_ROWS rows,
 * as a row is what a worker locks: of five files, five workers can have one each.
 *
 * A file is queued if it is PENDING and was inserted, or got another generation (derive_columns.c) or key. It may still be in an old queue
 * row, even under a lease. That row is not searched for: it is void for the file, whose generation is greater.
 *
 * The trigger sees the rows of its statement in the transition tables, whatever snapshots show. It writes as the owner of the tables.
 */
#include "compat.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "ingestion/notify.h"
#include "ingestion/queue.h"
#include "ingestion/sessions.h"
#include "ingestion/write_mode.h"
#include "owner.h"
#include "trigger.h"
#include "uuid7.h"

#define QUEUE_MIN_ROWS 16
#define BUFFER_FILES (QUEUE_MIN_ROWS * QUEUE_MAX_FILES)

PG_FUNCTION_INFO_V1(session_files_queue_files);
PG_FUNCTION_INFO_V1(session_files_follow_session);

/* Files of a session that go into the same queue rows. */
typedef struct PendingFiles
{
	pg_uuid_t session_id; /* the hash key */
	bool has_row;
	QueueRow row; /* when has_row: what its rows have in common */
	bool is_open; /* when has_row: the session is */
	int64 generation;
	pg_uuid_t *ids;
	int count;
	int space;
} PendingFiles;

/* What a statement made PENDING. */
typedef struct Changes
{
	const Catalog *catalog;
	Relation file_queue;
	bool is_insert;
	HTAB *pending; /* NULL as long as there is nothing */
	bool is_writing;
	Caller caller; /* when is_writing */
} Changes;

#define ROWS_TO_MOVE "q.session_id = $1 AND (q.workspace_name <> $2 OR q.priority <> $3)"

static OwnerQuery find_rows_to_move = {
	.text = "SELECT FROM session_files.file_queue AS q WHERE " ROWS_TO_MOVE " LIMIT 1",
	.arg_count = 3,
	.arg_types = {UUIDOID, TEXTOID, INT2OID},
};

static OwnerQuery move_rows = {
	.text = "UPDATE session_files.file_queue AS q SET workspace_name = $2, priority = $3 WHERE " ROWS_TO_MOVE,
	.arg_count = 3,
	.arg_types = {UUIDOID, TEXTOID, INT2OID},
};

/* Writes files to the queue. */
static void
write_pending(Changes *changes, PendingFiles *pending)
{
	int per_row = Min((pending->count + QUEUE_MIN_ROWS - 1) / QUEUE_MIN_ROWS, QUEUE_MAX_FILES);

	if (!changes->is_writing)
		changes->caller = owner_begin(changes->file_queue);
	changes->is_writing = true;
	/* An INSERT has done so, for the foreign key: the triggers of that fire for rows, and before this one. */
	if (!pending->has_row && !changes->is_insert)
		sessions_lock_against_changes(&pending->session_id);
	/* A session that is gone was deleted by a statement that this one is part of. */
	if (!pending->has_row &&
	    !queue_read_session(changes->catalog, &pending->session_id, &pending->row, &pending->is_open))
		return;
	pending->has_row = true;
	pending->row.generation = pending->generation;
	pending->count = queue_sort_ids(pending->ids, pending->count);
	queue_insert_rows(&pending->row, pending->ids, pending->count, per_row);
	pending->count = 0;
}

static PendingFiles *
find_pending(Changes *changes, const pg_uuid_t *session_id)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(PendingFiles), .hcxt = CurrentMemoryContext};
	PendingFiles *pending;
	bool found;

	if (changes->pending == NULL)
		changes->pending = hash_create("session_files queue", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	pending = hash_search(changes->pending, session_id, HASH_ENTER, &found);
	if (!found)
	{
		pending->has_row = false;
		pending->generation = 0;
		pending->count = 0;
		pending->space = QUEUE_MIN_ROWS;
		pending->ids = palloc(pending->space * sizeof(pg_uuid_t));
	}
	return pending;
}

static void
add_file(Changes *changes, const pg_uuid_t *session_id, const pg_uuid_t *id, int64 generation)
{
	PendingFiles *pending = find_pending(changes, session_id);

	if (pending->count == BUFFER_FILES)
		write_pending(changes, pending);
	else if (pending->count == pending->space)
	{
		pending->space = Min(pending->space * 10, BUFFER_FILES);
		pending->ids = repalloc(pending->ids, pending->space * sizeof(pg_uuid_t));
	}
	pending->ids[pending->count++] = *id;
	pending->generation = Max(pending->generation, generation);
}

static pg_uuid_t *
id_of(TupleTableSlot *row, int column)
{
	return DatumGetUUIDP(row->tts_values[column - 1]);
}

static int64
generation_of(TupleTableSlot *row)
{
	return DatumGetInt64(row->tts_values[Anum_files_generation - 1]);
}

/* Returns whether an UPDATE left a file where the queue has it already. */
static bool
is_queued(TupleTableSlot *removed, TupleTableSlot *added)
{
	slot_getsomeattrs(removed, Anum_files_generation);
	return generation_of(removed) == generation_of(added) &&
	       uuid7_compare(id_of(removed, Anum_files_session_id), id_of(added, Anum_files_session_id)) == 0 &&
	       uuid7_compare(id_of(removed, Anum_files_file_ingestion_id), id_of(added, Anum_files_file_ingestion_id)) == 0;
}

/* Collects what an INSERT or an UPDATE made PENDING. The rows of an UPDATE come in pairs. */
static void
collect(Changes *changes, TriggerData *data)
{
	TupleTableSlot *added = trigger_begin_rows(data, data->tg_newtable);
	TupleTableSlot *removed = data->tg_oldtable ? trigger_begin_rows(data, data->tg_oldtable) : NULL;
	Oid pending_label = changes->catalog->statuses[STATUS_PENDING];

	while (tuplestore_gettupleslot(data->tg_newtable, true, false, added))
	{
		CHECK_FOR_INTERRUPTS();
		if (removed && !tuplestore_gettupleslot(data->tg_oldtable, true, false, removed))
			elog(ERROR, "transition tables differ in length");
		slot_getsomeattrs(added, Anum_files_generation);
		if (DatumGetObjectId(added->tts_values[Anum_files_ingestion_status - 1]) != pending_label ||
		    (removed && is_queued(removed, added)))
			continue;
		add_file(changes, id_of(added, Anum_files_session_id), id_of(added, Anum_files_file_ingestion_id),
		         generation_of(added));
	}
	ExecDropSingleTupleTableSlot(added);
	if (removed)
		ExecDropSingleTupleTableSlot(removed);
}

/* Writes the rest, and notifies workers. */
static void
end_changes(Changes *changes)
{
	HASH_SEQ_STATUS each;
	PendingFiles *pending;

	if (changes->pending == NULL)
		return;
	hash_seq_init(&each, changes->pending);
	while ((pending = hash_seq_search(&each)) != NULL)
	{
		write_pending(changes, pending);
		notify_work(&pending->session_id);
		if (pending->has_row && !pending->is_open)
			sessions_expect_work(&pending->session_id);
	}
	if (changes->is_writing)
		owner_end(changes->caller);
}

/* SQL: session_files._queue_files(), trigger. */
Datum
session_files_queue_files(PG_FUNCTION_ARGS)
{
	Relation file_queue = table_open(catalog_get()->file_queue, RowExclusiveLock);
	const Catalog catalog = *catalog_get();
	TriggerData *data = trigger_data(fcinfo, TRIGGER_STATEMENTS, catalog.files, InvalidOid);
	Changes changes = {
		.catalog = &catalog, .file_queue = file_queue, .is_insert = TRIGGER_FIRED_BY_INSERT(data->tg_event)};

	if (data->tg_newtable != NULL)
	{
		collect(&changes, data);
		end_changes(&changes);
	}
	table_close(file_queue, NoLock);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}

/* Returns a column of the new row, which is not null. */
static Datum
new_value(TriggerData *data, int column)
{
	bool isnull;

	return heap_getattr(data->tg_newtuple, column, RelationGetDescr(data->tg_relation), &isnull);
}

/*
 * SQL: session_files._follow_session(), trigger: gives the queue rows of a session its workspace and priority.
 *
 * The lock keeps new files out of the queue until the commit. Workers lock no session. They replace queue rows, with what these say of the
 * session. UPDATE waits for such a worker, but does not see the new rows; a snapshot that is taken after the wait does. So this repeats until
 * no row is left: a row that a worker is replacing is still seen.
 */
Datum
session_files_follow_session(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, TRIGGER_ROWS, catalog_get()->upload_sessions, InvalidOid);
	Relation file_queue = table_open(catalog_get()->file_queue, RowExclusiveLock);
	Datum values[3] = {new_value(data, Anum_upload_sessions_session_id),
	                   new_value(data, Anum_upload_sessions_workspace_name),
	                   new_value(data, Anum_upload_sessions_priority)};
	bool isnull;
	Datum old_workspace = heap_getattr(data->tg_trigtuple, Anum_upload_sessions_workspace_name,
	                                   RelationGetDescr(data->tg_relation), &isnull);
	Caller caller = owner_begin(file_queue);

	sessions_lock_against_writers(DatumGetUUIDP(values[0]));
	while (owner_run_under(&find_rows_to_move, values, GetLatestSnapshot()) > 0)
		owner_run_under(&move_rows, values, GetLatestSnapshot());
	write_mode_follow_session(values[0], old_workspace, values[1]);
	owner_end(caller);
	table_close(file_queue, NoLock);
	return PointerGetDatum(NULL); /* not SQL null: what AFTER triggers return is ignored */
}
