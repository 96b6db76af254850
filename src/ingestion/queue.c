/*
 * queue.c
 *		Rows of file_queue: how they are read and written; arrays of ids, as they have them.
 *
 * A queue row holds files of one session with one history: how often they were claimed, and which worker has them until when. It is only a
 * hint where to look: it is void for a file that is not PENDING, or whose generation is greater than the row's. Rows are written here alone,
 * as the owner of the tables: for the trigger that fills the queue (enqueue.c), claims (claim.c) and those who end a lease (settle.c).
 *
 * A row repeats its session's workspace and priority, for the indexes of claims. enqueue.c keeps them up to date.
 */
#include "compat.h"

#include "ingestion/queue.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "index/scan.h"
#include "owner.h"
#include "uuid7.h"

#define INSERT_ARGS 12

static OwnerQuery insert_row = {
	.text = "INSERT INTO session_files.file_queue (session_id, workspace_name, priority, due_at, file_ingestion_ids,"
			" generation, attempt, claimed_at, last_reason, lease_token, worker, company)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::session_files.ingestion_status_reason, $10, $11, $12)",
	.arg_count = INSERT_ARGS,
	.arg_types = {UUIDOID, TEXTOID, INT2OID, TIMESTAMPTZOID, UUIDARRAYOID, INT8OID, INT4OID, TIMESTAMPTZOID, TEXTOID,
                  UUIDOID, TEXTOID, INT4OID},
};

bool
queue_read_session(const Catalog *catalog, const pg_uuid_t *session_id, QueueRow *row, bool *is_open)
{
	Relation upload_sessions = table_open(catalog->upload_sessions, AccessShareLock);
	KeyScan scan;
	bool found;

	memset(row, 0, sizeof(QueueRow));
	row->session_id = *session_id;
	row->last_reason = REASON_NONE;
	/* The session can be newer than the transaction's snapshot. */
	PushActiveSnapshot(GetLatestSnapshot());
	found = scan_find(&scan, upload_sessions, catalog->upload_sessions_pkey, session_id);
	if (found)
	{
		row->workspace_name = DatumGetTextPCopy(scan_value(&scan, Anum_upload_sessions_workspace_name));
		row->priority = DatumGetInt16(scan_value(&scan, Anum_upload_sessions_priority));
		*is_open = DatumGetObjectId(scan_value(&scan, Anum_upload_sessions_status)) == catalog->session_open;
	}
	scan_end(&scan);
	PopActiveSnapshot();
	table_close(upload_sessions, NoLock);
	return found;
}

/* Reads the columns of a row that is, or was, under a lease. */
static void
read_lease(const Catalog *catalog, TupleTableSlot *slot, QueueRow *row)
{
	bool isnull;
	Datum reason = slot_getattr(slot, Anum_file_queue_last_reason, &isnull);
	Datum token;

	row->last_reason = isnull ? REASON_NONE : catalog_reason(catalog, DatumGetObjectId(reason));
	row->claimed_at = DatumGetTimestampTz(slot_getattr(slot, Anum_file_queue_claimed_at, &isnull));
	row->was_claimed = !isnull;
	token = slot_getattr(slot, Anum_file_queue_lease_token, &isnull);
	row->has_lease = !isnull;
	if (!row->has_lease)
		return;
	row->lease_token = *DatumGetUUIDP(token);
	row->worker = DatumGetTextPCopy(slot_getattr(slot, Anum_file_queue_worker, &isnull));
	row->company = DatumGetInt32(slot_getattr(slot, Anum_file_queue_company, &isnull));
}

pg_uuid_t *
queue_read(const Catalog *catalog, TupleTableSlot *slot, QueueRow *row, int *count)
{
	bool isnull;
	const pg_uuid_t *ids;
	pg_uuid_t *copy;

	memset(row, 0, sizeof(QueueRow));
	row->session_id = *DatumGetUUIDP(slot_getattr(slot, Anum_file_queue_session_id, &isnull));
	row->workspace_name = DatumGetTextPCopy(slot_getattr(slot, Anum_file_queue_workspace_name, &isnull));
	row->priority = DatumGetInt16(slot_getattr(slot, Anum_file_queue_priority, &isnull));
	row->due_at = DatumGetTimestampTz(slot_getattr(slot, Anum_file_queue_due_at, &isnull));
	row->generation = DatumGetInt64(slot_getattr(slot, Anum_file_queue_generation, &isnull));
	row->attempt = DatumGetInt32(slot_getattr(slot, Anum_file_queue_attempt, &isnull));
	read_lease(catalog, slot, row);
	ids = queue_array_ids(DatumGetArrayTypeP(slot_getattr(slot, Anum_file_queue_file_ingestion_ids, &isnull)), count);
	copy = palloc(Max(*count, 1) * sizeof(pg_uuid_t));
	memcpy(copy, ids, *count * sizeof(pg_uuid_t));
	return copy;
}

void
queue_insert(const QueueRow *row, const pg_uuid_t *ids, int count)
{
	ArrayType *array = queue_make_array(ids, count);
	Datum values[INSERT_ARGS] = {UUIDPGetDatum(&row->session_id),
	                             PointerGetDatum(row->workspace_name),
	                             Int16GetDatum(row->priority),
	                             TimestampTzGetDatum(row->due_at),
	                             PointerGetDatum(array),
	                             Int64GetDatum(row->generation),
	                             Int32GetDatum(row->attempt),
	                             TimestampTzGetDatum(row->claimed_at),
	                             (Datum) 0,
	                             UUIDPGetDatum(&row->lease_token),
	                             PointerGetDatum(row->worker),
	                             Int32GetDatum(row->company)};
	char nulls[INSERT_ARGS + 1] = "            ";

	if (!row->was_claimed)
		nulls[7] = 'n';
	if (row->last_reason == REASON_NONE)
		nulls[8] = 'n';
	else
		values[8] = PointerGetDatum(cstring_to_text(reason_labels[row->last_reason]));
	if (!row->has_lease)
		nulls[9] = nulls[10] = nulls[11] = 'n';
	owner_run_nulls(&insert_row, values, nulls);
	pfree(array);
}

void
queue_insert_rows(const QueueRow *row, const pg_uuid_t *ids, int count, int per_row)
{
	for (int i = 0; i < count; i += per_row)
	{
		QueueRow part = *row;

		/* What was never claimed is in the order of its creation. */
		if (!part.was_claimed)
			part.due_at = uuid7_read_time(&ids[i]);
		queue_insert(&part, &ids[i], Min(per_row, count - i));
	}
}

const pg_uuid_t *
queue_array_ids(ArrayType *array, int *count)
{
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
		                errmsg("session_id, file_ingestion_ids and each of them must not be null")));
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (const pg_uuid_t *) ARR_DATA_PTR(array);
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

static int
compare_ids(const void *a, const void *b)
{
	return uuid7_compare(a, b);
}

int
queue_sort_ids(pg_uuid_t *ids, int count)
{
	int sorted = 0;

	qsort(ids, count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || compare_ids(&ids[i], &ids[sorted - 1]) != 0)
			ids[sorted++] = ids[i];
	}
	return sorted;
}

int
queue_pick_ids(const pg_uuid_t *ids, int count, const pg_uuid_t *given, int given_count, bool present,
               pg_uuid_t *picked)
{
	int picked_count = 0;

	for (int i = 0; i < count; i++)
	{
		if ((bsearch(&ids[i], given, given_count, sizeof(pg_uuid_t), compare_ids) != NULL) == present)
			picked[picked_count++] = ids[i];
	}
	return picked_count;
}
