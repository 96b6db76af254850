/*
 * queue.c
 *		The trigger that fills file_queue with the files that a statement made PENDING; functions on arrays of ids.
 *
 * A queue row holds up to QUEUE_MAX_FILES files of a session. A statement that adds few files spreads them over up to QUEUE_MIN_ROWS rows,
 * as a row is what a worker locks: of five files, five workers can have one each. claim.c takes the rows.
 *
 * A file that becomes PENDING again may still be in an old queue row, even under a lease. To search for that row would be slow. So the file
 * has a new generation then (generation.c), and a queue row is void for a file of a greater generation than its own. A row's generation is
 * at least that of each of its files, and was drawn before the statement ended: no other transaction had seen these files yet. So whatever
 * makes one of them PENDING again draws a greater one. A deleted file needs nothing: one that is inserted under its id has a greater
 * generation, too.
 *
 * The trigger sees the rows of its statement in the transition tables, whatever snapshots show. It writes as the owner of the tables.
 */
#include "compat.h"

#include "ingestion/queue.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "ingestion/notify.h"
#include "ingestion/sessions.h"
#include "owner.h"
#include "trigger.h"
#include "uuid7.h"

#define QUEUE_MIN_ROWS 16
#define BUFFER_FILES (QUEUE_MIN_ROWS * QUEUE_MAX_FILES)

PG_FUNCTION_INFO_V1(session_files_queue_files);
PG_FUNCTION_INFO_V1(session_files_pick_ids);
PG_FUNCTION_INFO_V1(session_files_sort_ids);

/* Files of a session that are not in a queue row yet. */
typedef struct PendingFiles
{
	pg_uuid_t session_id; /* the hash key */
	int64 generation;     /* the greatest of a file */
	pg_uuid_t *ids;
	int count;
	int room;
} PendingFiles;

/* What a statement made PENDING. */
typedef struct Changes
{
	Relation file_queue;
	HTAB *pending; /* NULL as long as there is nothing */
	bool is_writing;
	Caller caller; /* when is_writing */
} Changes;

static OwnerQuery insert_batch = {
	.text = "INSERT INTO session_files.file_queue (session_id, due_at, file_ingestion_ids, generation)"
			" VALUES ($1, session_files.uuid7_time($3), $2, $4)",
	.arg_count = 4,
	.arg_types = {UUIDOID, UUIDARRAYOID, UUIDOID, INT8OID},
};

static int
compare_ids(const void *a, const void *b)
{
	return uuid7_compare(a, b);
}

ArrayType *
queue_make_array(const pg_uuid_t *ids, int count)
{
	Datum *values = palloc(Max(count, 1) * sizeof(Datum));
	ArrayType *array;

	for (int i = 0; i < count; i++)
		values[i] = UUIDPGetDatum(&ids[i]);
	array = construct_array(values, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
	pfree(values);
	return array;
}

/* Changes to the owner of the tables, until end_changes. */
static void
begin_writing(Changes *changes)
{
	if (!changes->is_writing)
		changes->caller = owner_begin(changes->file_queue);
	changes->is_writing = true;
}

/* Writes files to the queue, in rows. */
static void
write_pending(Changes *changes, PendingFiles *pending)
{
	int per_row = Min((pending->count + QUEUE_MIN_ROWS - 1) / QUEUE_MIN_ROWS, QUEUE_MAX_FILES);

	begin_writing(changes);
	qsort(pending->ids, pending->count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < pending->count; i += per_row)
	{
		ArrayType *ids = queue_make_array(&pending->ids[i], Min(per_row, pending->count - i));
		Datum values[4] = {UUIDPGetDatum(&pending->session_id), PointerGetDatum(ids), UUIDPGetDatum(&pending->ids[i]),
		                   Int64GetDatum(pending->generation)};

		owner_run(&insert_batch, values);
		pfree(ids);
	}
	pending->count = 0;
}

static HTAB *
create_pending(void)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(PendingFiles), .hcxt = CurrentMemoryContext};

	return hash_create("session_files queue", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
add_file(Changes *changes, const pg_uuid_t *session_id, const pg_uuid_t *id, int64 generation)
{
	PendingFiles *pending;
	bool found;

	if (changes->pending == NULL)
		changes->pending = create_pending();
	pending = hash_search(changes->pending, session_id, HASH_ENTER, &found);
	if (!found)
	{
		pending->generation = generation;
		pending->count = 0;
		pending->room = QUEUE_MIN_ROWS;
		pending->ids = palloc(pending->room * sizeof(pg_uuid_t));
	}
	else if (pending->count == BUFFER_FILES)
		write_pending(changes, pending);
	else if (pending->count == pending->room)
	{
		pending->room = Min(pending->room * 10, BUFFER_FILES);
		pending->ids = repalloc(pending->ids, pending->room * sizeof(pg_uuid_t));
	}
	pending->ids[pending->count++] = *id;
	pending->generation = Max(pending->generation, generation);
}

/* Writes the rest, and notifies workers. */
static void
end_changes(Changes *changes, bool is_insert)
{
	if (changes->pending != NULL)
	{
		HASH_SEQ_STATUS each;
		PendingFiles *pending;

		hash_seq_init(&each, changes->pending);
		while ((pending = hash_seq_search(&each)) != NULL)
		{
			write_pending(changes, pending);
			notify_work(&pending->session_id);
			sessions_expect_work(&pending->session_id, is_insert);
		}
	}
	if (changes->is_writing)
		owner_end(changes->caller);
	table_close(changes->file_queue, NoLock);
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

/* Returns whether a row is a PENDING file. */
static bool
is_pending(const Catalog *catalog, TupleTableSlot *row)
{
	return DatumGetObjectId(row->tts_values[Anum_files_ingestion_status - 1]) == catalog->statuses[STATUS_PENDING];
}

/* Returns whether a file has to be queued that an INSERT or an UPDATE has written; removed is NULL for an INSERT. */
static bool
is_to_be_queued(const Catalog *catalog, TupleTableSlot *removed, TupleTableSlot *added)
{
	slot_getsomeattrs(added, Anum_files_generation);
	if (!is_pending(catalog, added) || removed == NULL)
		return is_pending(catalog, added);
	slot_getsomeattrs(removed, Anum_files_generation);
	return generation_of(removed) != generation_of(added) ||
	       uuid7_compare(id_of(removed, Anum_files_session_id), id_of(added, Anum_files_session_id)) != 0 ||
	       uuid7_compare(id_of(removed, Anum_files_file_ingestion_id), id_of(added, Anum_files_file_ingestion_id)) != 0;
}

/* Collects what an INSERT or an UPDATE made PENDING. The rows of an UPDATE come in pairs. */
static void
collect(const Catalog *catalog, TriggerData *data, Changes *changes)
{
	TupleTableSlot *added = trigger_begin_rows(data, data->tg_newtable);
	TupleTableSlot *removed = data->tg_oldtable ? trigger_begin_rows(data, data->tg_oldtable) : NULL;

	while (tuplestore_gettupleslot(data->tg_newtable, true, false, added))
	{
		CHECK_FOR_INTERRUPTS();
		if (removed && !tuplestore_gettupleslot(data->tg_oldtable, true, false, removed))
			elog(ERROR, "transition tables differ in length");
		if (is_to_be_queued(catalog, removed, added))
			add_file(changes, id_of(added, Anum_files_session_id), id_of(added, Anum_files_file_ingestion_id),
			         generation_of(added));
	}
	ExecDropSingleTupleTableSlot(added);
	if (removed)
		ExecDropSingleTupleTableSlot(removed);
}

/* SQL: session_files.queue_files(), trigger. */
Datum
session_files_queue_files(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = trigger_data(fcinfo, TRIGGER_STATEMENTS, catalog.files, InvalidOid);
	Changes changes = {NULL};

	if (data->tg_newtable == NULL)
		return PointerGetDatum(NULL);
	changes.file_queue = table_open(catalog.file_queue, RowExclusiveLock);
	collect(&catalog, data, &changes);
	end_changes(&changes, TRIGGER_FIRED_BY_INSERT(data->tg_event));
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}

static void
report_null(void)
{
	ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
	                errmsg("session_id, file_ingestion_ids and each of them must not be null")));
}

const pg_uuid_t *
queue_array_ids(ArrayType *array, int *count)
{
	if (array_contains_nulls(array))
		report_null();
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (const pg_uuid_t *) ARR_DATA_PTR(array);
}

/* SQL: session_files.sort_ids(session_id uuid, file_ingestion_ids uuid[]) returns uuid[]. */
Datum
session_files_sort_ids(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *ids;
	pg_uuid_t *sorted;
	int count;
	int sorted_count = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		report_null();
	ids = queue_array_ids(PG_GETARG_ARRAYTYPE_P(1), &count);
	sorted = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	memcpy(sorted, ids, count * sizeof(pg_uuid_t));
	qsort(sorted, count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || compare_ids(&sorted[i], &sorted[sorted_count - 1]) != 0)
			sorted[sorted_count++] = sorted[i];
	}
	PG_RETURN_ARRAYTYPE_P(queue_make_array(sorted, sorted_count));
}

/* SQL: session_files.pick_ids(ids uuid[], given uuid[], present boolean) returns uuid[]. The second array is sorted. */
Datum
session_files_pick_ids(PG_FUNCTION_ARGS)
{
	bool present = PG_GETARG_BOOL(2);
	int id_count;
	int given_count;
	const pg_uuid_t *ids = queue_array_ids(PG_GETARG_ARRAYTYPE_P(0), &id_count);
	const pg_uuid_t *given = queue_array_ids(PG_GETARG_ARRAYTYPE_P(1), &given_count);
	pg_uuid_t *picked = palloc(Max(id_count, 1) * sizeof(pg_uuid_t));
	int picked_count = 0;

	for (int i = 0; i < id_count; i++)
	{
		if ((bsearch(&ids[i], given, given_count, sizeof(pg_uuid_t), compare_ids) != NULL) == present)
			picked[picked_count++] = ids[i];
	}
	PG_RETURN_ARRAYTYPE_P(queue_make_array(picked, picked_count));
}
