/*
 * queue.c
 *		Fills file_queue: the trigger that queues the files that a statement made PENDING.
 *
 * A row holds up to QUEUE_MAX_FILES files of a session. A statement that adds few files spreads them
 * over some QUEUE_MIN_ROWS rows, for a row is what a worker locks: of five files, five workers can
 * have one each. Rows are taken by claim.c.
 *
 * A file that becomes PENDING again may still be in a row, even under a lease, from before: to look
 * for it could take long. So its retries are counted, by an UPDATE of its own, which makes any such
 * entry void and queues the file anew. So are those of a file that is inserted, or gets its key, where
 * another one with the same key may have been deleted: it begins with more than that one had (deletions.c).
 */
#include "compat.h"

#include "ingestion/queue.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "catalog.h"
#include "ingestion/deletions.h"
#include "ingestion/notify.h"
#include "owner.h"
#include "uuid7.h"

#define QUEUE_MIN_ROWS 16
#define BUFFER_FILES (QUEUE_MIN_ROWS * QUEUE_MAX_FILES)

PG_FUNCTION_INFO_V1(session_files_queue_files);
PG_FUNCTION_INFO_V1(session_files_pick_ids);
PG_FUNCTION_INFO_V1(session_files_sort_ids);

/* Files of a session that are treated alike. */
typedef struct WaitingKey
{
	pg_uuid_t session_id;
	int retries; /* AGAIN: they are to be counted first */
} WaitingKey;

#define AGAIN (-1)
#define LEFT_OUT (-2)

typedef struct Waiting
{
	WaitingKey key; /* the hash key */
	pg_uuid_t *ids;
	int count;
	int room;
} Waiting;

/* What a statement made PENDING. */
typedef struct Collection
{
	Relation file_queue;
	Relation file_deletions; /* NULL as long as it is not needed */
	HTAB *waiting;           /* NULL as long as there is nothing, as the next two */
	HTAB *deleted;           /* bounds of what was deleted from sessions before */
	HTAB *removed;           /* bounds of what this statement removes */
	Deletions *last_deleted;
	bool is_writing;
	Caller caller; /* when is_writing */
} Collection;

/* The last transaction, of those of this backend, that has inserted files. */
static TransactionId inserter = InvalidTransactionId;

static OwnerQuery insert_batch = {
	.text = "INSERT INTO session_files.file_queue (session_id, due_at, file_ingestion_ids, retries)"
			" VALUES ($1, session_files.uuid7_time($3), $2, $4)",
	.arg_count = 4,
	.arg_types = {UUIDOID, UUIDARRAYOID, UUIDOID, INT4OID},
};

/* Fires this trigger again, which then queues them. $3: more than these. */
static OwnerQuery count_retry = {
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

/* Returns the bound of a session in a table of bounds, which is made if there is none. */
static Deletions *
find_bound(HTAB **bounds, const pg_uuid_t *session_id, bool *found)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(Deletions), .hcxt = CurrentMemoryContext};

	if (*bounds == NULL)
		*bounds = hash_create("session_files deletions", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return hash_search(*bounds, session_id, HASH_ENTER, found);
}

static Relation
open_deletions(Collection *collection)
{
	if (collection->file_deletions == NULL)
		collection->file_deletions = table_open(catalog_get()->file_deletions, RowExclusiveLock);
	return collection->file_deletions;
}

/* Returns the bound of what was deleted from a session. */
static Deletions *
deleted_before(Collection *collection, const pg_uuid_t *session_id)
{
	Deletions *deletions = collection->last_deleted;
	bool found;

	if (deletions != NULL && uuid7_compare(&deletions->session_id, session_id) == 0)
		return deletions;
	deletions = find_bound(&collection->deleted, session_id, &found);
	if (!found)
		*deletions = deletions_read(open_deletions(collection), session_id);
	collection->last_deleted = deletions;
	return deletions;
}

/* Becomes the owner of the tables, until end_collection. */
static void
begin_writing(Collection *collection)
{
	if (!collection->is_writing)
		collection->caller = owner_begin(collection->file_queue);
	collection->is_writing = true;
}

/* Writes files to the queue, in rows; or counts that they are PENDING again. */
static void
write_out(Collection *collection, Waiting *waiting)
{
	bool again = waiting->key.retries == AGAIN;
	int per_row = again ? BUFFER_FILES : Min((waiting->count + QUEUE_MIN_ROWS - 1) / QUEUE_MIN_ROWS, QUEUE_MAX_FILES);

	begin_writing(collection);
	qsort(waiting->ids, waiting->count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < waiting->count; i += per_row)
	{
		ArrayType *ids = queue_make_array(&waiting->ids[i], Min(per_row, waiting->count - i));
		Datum values[4] = {UUIDPGetDatum(&waiting->key.session_id), PointerGetDatum(ids),
		                   UUIDPGetDatum(&waiting->ids[i]), Int32GetDatum(waiting->key.retries)};

		if (again)
			values[2] = Int32GetDatum(deleted_before(collection, &waiting->key.session_id)->retries);
		owner_run(again ? &count_retry : &insert_batch, values);
		pfree(ids);
	}
	waiting->count = 0;
}

static HTAB *
create_waiting(void)
{
	HASHCTL control = {.keysize = sizeof(WaitingKey), .entrysize = sizeof(Waiting), .hcxt = CurrentMemoryContext};

	return hash_create("session_files queue", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
add_file(Collection *collection, const pg_uuid_t *session_id, int retries, const pg_uuid_t *id)
{
	WaitingKey key = {.session_id = *session_id, .retries = retries};
	Waiting *waiting;
	bool found;

	if (collection->waiting == NULL)
		collection->waiting = create_waiting();
	waiting = hash_search(collection->waiting, &key, HASH_ENTER, &found);
	if (!found)
	{
		waiting->count = 0;
		waiting->room = QUEUE_MIN_ROWS;
		waiting->ids = palloc(waiting->room * sizeof(pg_uuid_t));
	}
	/* Those that are to be counted wait for all that the statement removes. */
	else if (waiting->count == BUFFER_FILES && retries != AGAIN)
		write_out(collection, waiting);
	else if (waiting->count == waiting->room)
	{
		waiting->room = waiting->room < BUFFER_FILES ? Min(waiting->room * 10, BUFFER_FILES) : waiting->room * 2;
		waiting->ids = repalloc_huge(waiting->ids, waiting->room * sizeof(pg_uuid_t));
	}
	waiting->ids[waiting->count++] = *id;
}

/* Writes what is left, and has the sessions' workers woken; for files that are counted the trigger does that when it fires again. */
static void
end_collection(Collection *collection)
{
	HASH_SEQ_STATUS each;

	if (collection->removed != NULL)
	{
		Deletions *deletions;

		begin_writing(collection);
		hash_seq_init(&each, collection->removed);
		while ((deletions = hash_seq_search(&each)) != NULL)
			deletions_write(open_deletions(collection), deletions);
	}
	if (collection->waiting != NULL)
	{
		Waiting *waiting;

		hash_seq_init(&each, collection->waiting);
		while ((waiting = hash_seq_search(&each)) != NULL)
		{
			write_out(collection, waiting);
			if (waiting->key.retries != AGAIN)
				notice_work(&waiting->key.session_id);
		}
	}
	if (collection->is_writing)
		owner_end(collection->caller);
	table_close(collection->file_queue, NoLock);
	if (collection->file_deletions != NULL)
		table_close(collection->file_deletions, NoLock);
}

/* Positions a read pointer of our own at the first row of a transition table. */
static TupleTableSlot *
begin_rows(TupleDesc desc, Tuplestorestate *rows)
{
	tuplestore_select_read_pointer(rows, tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND));
	tuplestore_rescan(rows);
	return MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
}

/* Tells whether a row is a PENDING file. */
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

/* Tells whether an UPDATE has given a file another key, or fewer retries, as another one may have had. To look at the retries first reads the rows. */
static bool
is_another(TupleTableSlot *removed, TupleTableSlot *added)
{
	return retries_of(added) < retries_of(removed) ||
	       uuid7_compare(id_of(removed, Anum_files_session_id), id_of(added, Anum_files_session_id)) != 0 ||
	       uuid7_compare(id_of(removed, Anum_files_file_ingestion_id), id_of(added, Anum_files_file_ingestion_id)) != 0;
}

/* Tells whether a file may have been inserted under the key of one that was deleted; the row was read by is_pending. */
static bool
may_be_anew(Collection *collection, TupleTableSlot *added)
{
	const Deletions *deletions = deleted_before(collection, id_of(added, Anum_files_session_id));

	return deletions->retries != NO_RETRIES &&
	       uuid7_compare(id_of(added, Anum_files_file_ingestion_id), &deletions->up_to) <= 0;
}

/*
 * Notes that a file is not there any more, or not under this key. Where one statement both inserts and
 * deletes, this trigger may have fired for the INSERT first, which knew of no deletion then: a file that
 * this transaction has put in the place of the one that is removed is counted now.
 */
static void
remove_file(Collection *collection, TupleTableSlot *removed)
{
	Deletions *deletions;
	bool found;

	slot_getsomeattrs(removed, Anum_files_retries);
	deletions = find_bound(&collection->removed, id_of(removed, Anum_files_session_id), &found);
	if (!found)
		deletions_init(deletions, id_of(removed, Anum_files_session_id));
	deletions_extend(deletions, id_of(removed, Anum_files_file_ingestion_id), retries_of(removed));
	if (TransactionIdIsValid(inserter) && TransactionIdEquals(inserter, GetTopTransactionIdIfAny()))
		add_file(collection, id_of(removed, Anum_files_session_id), AGAIN,
		         id_of(removed, Anum_files_file_ingestion_id));
}

/*
 * Returns with how many retries a file is to be queued that an INSERT or an UPDATE has written; AGAIN;
 * or LEFT_OUT. A file that was PENDING before, as the same one, is left out, unless its retries were
 * counted, here or by whoever knows. removed is NULL for an INSERT.
 */
static int
find_retries(const Catalog *catalog, Collection *collection, TupleTableSlot *removed, TupleTableSlot *added)
{
	bool pending = is_pending(catalog, added);

	if (removed ? is_another(removed, added) : may_be_anew(collection, added))
		return AGAIN;
	if (!pending)
		return LEFT_OUT;
	/* Less than none: they are counted, and begin with none. */
	if (removed == NULL || retries_of(added) != retries_of(removed))
		return retries_of(added) < 0 ? AGAIN : retries_of(added);
	return is_pending(catalog, removed) ? LEFT_OUT : AGAIN;
}

/* Collects what an INSERT or an UPDATE made PENDING; an UPDATE has the rows in pairs. */
static void
collect(const Catalog *catalog, TriggerData *data, Collection *collection)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	TupleTableSlot *added = begin_rows(desc, data->tg_newtable);
	TupleTableSlot *removed = data->tg_oldtable ? begin_rows(desc, data->tg_oldtable) : NULL;

	while (tuplestore_gettupleslot(data->tg_newtable, true, false, added))
	{
		int retries;

		CHECK_FOR_INTERRUPTS();
		if (removed && !tuplestore_gettupleslot(data->tg_oldtable, true, false, removed))
			elog(ERROR, "transition tables differ in length");
		retries = find_retries(catalog, collection, removed, added);
		if (retries == AGAIN && removed && is_another(removed, added))
			remove_file(collection, removed);
		if (retries != LEFT_OUT)
			add_file(collection, id_of(added, Anum_files_session_id), retries,
			         id_of(added, Anum_files_file_ingestion_id));
	}
	ExecDropSingleTupleTableSlot(added);
	if (removed)
		ExecDropSingleTupleTableSlot(removed);
}

/* Collects what a DELETE removed. */
static void
collect_removed(TriggerData *data, Collection *collection)
{
	TupleTableSlot *removed = begin_rows(RelationGetDescr(data->tg_relation), data->tg_oldtable);

	while (tuplestore_gettupleslot(data->tg_oldtable, true, false, removed))
	{
		CHECK_FOR_INTERRUPTS();
		remove_file(collection, removed);
	}
	ExecDropSingleTupleTableSlot(removed);
}

/* SQL: session_files.queue_files(), trigger. */
Datum
session_files_queue_files(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = owner_trigger_data(fcinfo, catalog.files, catalog.files);
	Collection collection = {NULL};

	if (data->tg_newtable == NULL && data->tg_oldtable == NULL)
		return PointerGetDatum(NULL);
	collection.file_queue = table_open(catalog.file_queue, RowExclusiveLock);
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		inserter = GetTopTransactionIdIfAny();
	if (data->tg_newtable == NULL)
		collect_removed(data, &collection);
	else
		collect(&catalog, data, &collection);
	end_collection(&collection);
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
