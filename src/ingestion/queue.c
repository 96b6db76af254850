/*
 * queue.c
 *		The trigger that fills file_queue with the files that a statement made PENDING; functions on arrays of ids.
 *
 * A queue row holds up to QUEUE_MAX_FILES files of a session. A statement that adds few files spreads them over up to QUEUE_MIN_ROWS rows,
 * as a row is what a worker locks: of five files, five workers can have one each. claim.c takes the rows.
 *
 * A file that becomes PENDING again may still be in an old queue row, even under a lease. To search for that row would be slow. So the
 * file's retries are increased, by an UPDATE that this trigger runs; then every queue row with another number is void for the file, and
 * the trigger, which that UPDATE fires again, queues the file. The same is done for a file that is inserted, or gets its key, where
 * a deleted file may have had the same key: it starts with more retries than that one had (deletions.c).
 *
 * The trigger sees the rows of its statement in the transition tables, whatever snapshots show. It writes as the owner of the tables.
 */
#include "compat.h"

#include "ingestion/queue.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "ingestion/deletions.h"
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

/* Files of a session that go into the same queue rows. */
typedef struct PendingKey
{
	pg_uuid_t session_id;
	int retries; /* AGAIN: they have to be increased first */
} PendingKey;

/* In place of a number of retries: it has to be increased first; the file is not queued. */
#define AGAIN (-1)
#define NOT_QUEUED (-2)

typedef struct PendingFiles
{
	PendingKey key; /* the hash key */
	pg_uuid_t *ids;
	int count;
	int room;
} PendingFiles;

/* What a statement made PENDING, and what it removed. */
typedef struct Changes
{
	Relation file_queue;
	Relation file_deletions; /* NULL as long as it is not needed */
	HTAB *pending;           /* NULL as long as there is nothing, as the next two */
	HTAB *deleted;           /* bounds of what was deleted before */
	HTAB *removed;           /* bounds of what this statement removes */
	Deletions *last_deleted;
	bool is_writing;
	Caller caller; /* when is_writing */
} Changes;

/* The last transaction of this backend that has inserted files. */
static TransactionId inserter = InvalidTransactionId;

static OwnerQuery insert_batch = {
	.text = "INSERT INTO session_files.file_queue (session_id, due_at, file_ingestion_ids, retries)"
			" VALUES ($1, session_files.uuid7_time($3), $2, $4)",
	.arg_count = 4,
	.arg_types = {UUIDOID, UUIDARRAYOID, UUIDOID, INT4OID},
};

/* Fires this trigger again, which then queues the files. $3: they get more retries than these. */
static OwnerQuery increase_retries = {
	.text = "UPDATE session_files.files AS f SET retries = GREATEST(f.retries, $3) OPERATOR(pg_catalog.+) 1"
			" WHERE f.ctid OPERATOR(pg_catalog.=) ANY (session_files.locate_ids($1, $2))",
	.arg_count = 3,
	.arg_types = {UUIDOID, UUIDARRAYOID, INT4OID},
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

/* Returns the bound of a session in a hash table of bounds, and adds it if needed. */
static Deletions *
find_bound(HTAB **bounds, const pg_uuid_t *session_id, bool *found)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(Deletions), .hcxt = CurrentMemoryContext};

	if (*bounds == NULL)
		*bounds = hash_create("session_files deletions", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return hash_search(*bounds, session_id, HASH_ENTER, found);
}

static Relation
open_deletions(Changes *changes)
{
	if (changes->file_deletions == NULL)
		changes->file_deletions = table_open(catalog_get()->file_deletions, RowExclusiveLock);
	return changes->file_deletions;
}

/* Returns the bound of what was deleted from a session. */
static Deletions *
deleted_before(Changes *changes, const pg_uuid_t *session_id)
{
	Deletions *deletions = changes->last_deleted;
	bool found;

	if (deletions != NULL && uuid7_compare(&deletions->session_id, session_id) == 0)
		return deletions;
	deletions = find_bound(&changes->deleted, session_id, &found);
	if (!found)
		*deletions = deletions_read(open_deletions(changes), session_id);
	changes->last_deleted = deletions;
	return deletions;
}

/* Changes to the owner of the tables, until end_changes. */
static void
begin_writing(Changes *changes)
{
	if (!changes->is_writing)
		changes->caller = owner_begin(changes->file_queue);
	changes->is_writing = true;
}

/* Writes files to the queue, in rows; or increases their retries. */
static void
write_pending(Changes *changes, PendingFiles *pending)
{
	bool again = pending->key.retries == AGAIN;
	int per_row = again ? BUFFER_FILES : Min((pending->count + QUEUE_MIN_ROWS - 1) / QUEUE_MIN_ROWS, QUEUE_MAX_FILES);

	begin_writing(changes);
	qsort(pending->ids, pending->count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < pending->count; i += per_row)
	{
		ArrayType *ids = queue_make_array(&pending->ids[i], Min(per_row, pending->count - i));
		Datum values[4] = {UUIDPGetDatum(&pending->key.session_id), PointerGetDatum(ids),
		                   UUIDPGetDatum(&pending->ids[i]), Int32GetDatum(pending->key.retries)};

		if (again)
			values[2] = Int32GetDatum(deleted_before(changes, &pending->key.session_id)->retries);
		owner_run(again ? &increase_retries : &insert_batch, values);
		pfree(ids);
	}
	pending->count = 0;
}

static HTAB *
create_pending(void)
{
	HASHCTL control = {.keysize = sizeof(PendingKey), .entrysize = sizeof(PendingFiles), .hcxt = CurrentMemoryContext};

	return hash_create("session_files queue", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
add_file(Changes *changes, const pg_uuid_t *session_id, int retries, const pg_uuid_t *id)
{
	PendingKey key = {.session_id = *session_id, .retries = retries};
	PendingFiles *pending;
	bool found;

	if (changes->pending == NULL)
		changes->pending = create_pending();
	pending = hash_search(changes->pending, &key, HASH_ENTER, &found);
	if (!found)
	{
		pending->count = 0;
		pending->room = QUEUE_MIN_ROWS;
		pending->ids = palloc(pending->room * sizeof(pg_uuid_t));
	}
	/* Retries are increased at the end, when all that the statement removes is known. */
	else if (pending->count == BUFFER_FILES && retries != AGAIN)
		write_pending(changes, pending);
	else if (pending->count == pending->room)
	{
		pending->room = pending->room < BUFFER_FILES ? Min(pending->room * 10, BUFFER_FILES) : pending->room * 2;
		pending->ids = repalloc_huge(pending->ids, pending->room * sizeof(pg_uuid_t));
	}
	pending->ids[pending->count++] = *id;
}

/* Writes the rest, and notifies workers. For files whose retries are increased, the trigger notifies when it fires again. */
static void
end_changes(Changes *changes, bool is_insert)
{
	HASH_SEQ_STATUS each;

	if (changes->removed != NULL)
	{
		Deletions *deletions;

		begin_writing(changes);
		hash_seq_init(&each, changes->removed);
		while ((deletions = hash_seq_search(&each)) != NULL)
			deletions_write(open_deletions(changes), deletions);
	}
	if (changes->pending != NULL)
	{
		PendingFiles *pending;

		hash_seq_init(&each, changes->pending);
		while ((pending = hash_seq_search(&each)) != NULL)
		{
			write_pending(changes, pending);
			if (pending->key.retries != AGAIN)
				notify_work(&pending->key.session_id);
			sessions_expect_work(&pending->key.session_id, is_insert);
		}
	}
	if (changes->is_writing)
		owner_end(changes->caller);
	table_close(changes->file_queue, NoLock);
	if (changes->file_deletions != NULL)
		table_close(changes->file_deletions, NoLock);
}

/* Returns whether a row is a PENDING file. */
static bool
is_pending(const Catalog *catalog, TupleTableSlot *row)
{
	slot_getsomeattrs(row, Anum_files_ingestion_status);
	return DatumGetObjectId(row->tts_values[Anum_files_ingestion_status - 1]) == catalog->statuses[STATUS_PENDING];
}

static pg_uuid_t *
id_of(TupleTableSlot *row, int column)
{
	return DatumGetUUIDP(row->tts_values[column - 1]);
}

static int
retries_of(TupleTableSlot *row)
{
	bool isnull;

	return DatumGetInt32(slot_getattr(row, Anum_files_retries, &isnull));
}

/* Returns whether an UPDATE gave a file another key, or fewer retries: another file may have had these. retries_of has read the columns for id_of. */
static bool
is_another(TupleTableSlot *removed, TupleTableSlot *added)
{
	return retries_of(added) < retries_of(removed) ||
	       uuid7_compare(id_of(removed, Anum_files_session_id), id_of(added, Anum_files_session_id)) != 0 ||
	       uuid7_compare(id_of(removed, Anum_files_file_ingestion_id), id_of(added, Anum_files_file_ingestion_id)) != 0;
}

/* Returns whether a file may have the key of a deleted one. is_pending has read the columns. */
static bool
may_reuse_id(Changes *changes, TupleTableSlot *added)
{
	const Deletions *deletions = deleted_before(changes, id_of(added, Anum_files_session_id));

	return deletions->retries != NO_RETRIES &&
	       uuid7_compare(id_of(added, Anum_files_file_ingestion_id), &deletions->up_to) <= 0;
}

/*
 * Adds a file that is deleted, or has another key now, to the bound of its session. Where one statement both inserts and deletes, the
 * trigger may have fired first for the INSERT, which did not see the deletion. So if this transaction has inserted files, the retries of
 * a file with the same key, if there is one, are increased now.
 */
static void
remove_file(Changes *changes, TupleTableSlot *removed)
{
	Deletions *deletions;
	bool found;

	slot_getsomeattrs(removed, Anum_files_retries);
	deletions = find_bound(&changes->removed, id_of(removed, Anum_files_session_id), &found);
	if (!found)
		deletions_init(deletions, id_of(removed, Anum_files_session_id));
	deletions_extend(deletions, id_of(removed, Anum_files_file_ingestion_id), retries_of(removed));
	if (TransactionIdIsValid(inserter) && TransactionIdEquals(inserter, GetTopTransactionIdIfAny()))
		add_file(changes, id_of(removed, Anum_files_session_id), AGAIN, id_of(removed, Anum_files_file_ingestion_id));
}

/*
 * Returns the number of retries with which a file is queued that an INSERT or an UPDATE has written, or AGAIN, or NOT_QUEUED. A file that
 * was PENDING before under the same key is not queued, unless its retries were increased: by this trigger or by another statement.
 * removed is NULL for an INSERT.
 */
static int
find_retries(const Catalog *catalog, Changes *changes, TupleTableSlot *removed, TupleTableSlot *added)
{
	bool pending = is_pending(catalog, added);

	if (removed ? is_another(removed, added) : may_reuse_id(changes, added))
		return AGAIN;
	if (!pending)
		return NOT_QUEUED;
	/* Negative retries are increased, and then start at 0. */
	if (removed == NULL || retries_of(added) != retries_of(removed))
		return retries_of(added) < 0 ? AGAIN : retries_of(added);
	return is_pending(catalog, removed) ? NOT_QUEUED : AGAIN;
}

/* Collects what an INSERT or an UPDATE made PENDING. The rows of an UPDATE come in pairs. */
static void
collect(const Catalog *catalog, TriggerData *data, Changes *changes)
{
	TupleTableSlot *added = trigger_begin_rows(data, data->tg_newtable);
	TupleTableSlot *removed = data->tg_oldtable ? trigger_begin_rows(data, data->tg_oldtable) : NULL;

	while (tuplestore_gettupleslot(data->tg_newtable, true, false, added))
	{
		int retries;

		CHECK_FOR_INTERRUPTS();
		if (removed && !tuplestore_gettupleslot(data->tg_oldtable, true, false, removed))
			elog(ERROR, "transition tables differ in length");
		retries = find_retries(catalog, changes, removed, added);
		if (retries == AGAIN && removed && is_another(removed, added))
			remove_file(changes, removed);
		if (retries != NOT_QUEUED)
			add_file(changes, id_of(added, Anum_files_session_id), retries, id_of(added, Anum_files_file_ingestion_id));
	}
	ExecDropSingleTupleTableSlot(added);
	if (removed)
		ExecDropSingleTupleTableSlot(removed);
}

/* Collects what a DELETE removed. */
static void
collect_removed(TriggerData *data, Changes *changes)
{
	TupleTableSlot *removed = trigger_begin_rows(data, data->tg_oldtable);

	while (tuplestore_gettupleslot(data->tg_oldtable, true, false, removed))
	{
		CHECK_FOR_INTERRUPTS();
		remove_file(changes, removed);
	}
	ExecDropSingleTupleTableSlot(removed);
}

/* SQL: session_files.queue_files(), trigger. */
Datum
session_files_queue_files(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = trigger_data(fcinfo, TRIGGER_STATEMENTS, catalog.files, InvalidOid);
	Changes changes = {NULL};

	if (data->tg_newtable == NULL && data->tg_oldtable == NULL)
		return PointerGetDatum(NULL);
	changes.file_queue = table_open(catalog.file_queue, RowExclusiveLock);
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		inserter = GetTopTransactionIdIfAny();
	if (data->tg_newtable == NULL)
		collect_removed(data, &changes);
	else
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
