/*
 * batch.c
 *		Forms batches from the queue rows that a claim takes: each batch becomes one lease row.
 *
 * The rows were already deleted from file_queue (claim.c). Their files are looked up here under the active snapshot: a file is taken if it
 * is PENDING and has the row's number of retries; otherwise its place in the queue row is void. Rows with the same history are joined, so
 * that a hundred files that were registered one by one get one lease row, not a hundred. claim_files, in SQL, inserts the lease rows.
 */
#include "compat.h"

#include "ingestion/batch.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "index/id_lookup.h"
#include "ingestion/queue.h"
#include "settings.h"
#include "uuid7.h"

/* Returns whether files with this history have had all their attempts. */
static bool
is_exhausted(const History *history)
{
	return history->attempt >= settings_max_attempts;
}

static int
compare_members(const void *a, const void *b)
{
	return uuid7_compare(&((const BatchFile *) a)->id, &((const BatchFile *) b)->id);
}

/* Makes arrays of a batch's ids and names, in the order of creation. */
static void
make_file_arrays(Batch *batch, Datum *ids, Datum *names)
{
	int count = batch->member_count;
	pg_uuid_t *id_values = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	Datum *name_values = palloc(Max(count, 1) * sizeof(Datum));

	if (count > 1)
		qsort(batch->members, count, sizeof(BatchFile), compare_members);
	for (int i = 0; i < count; i++)
	{
		id_values[i] = batch->members[i].id;
		name_values[i] = PointerGetDatum(batch->members[i].name);
	}
	*ids = PointerGetDatum(queue_make_array(id_values, count));
	*names = PointerGetDatum(construct_array(name_values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Adds the batch to the result as a row, if it has any queue row, and starts a new one. */
void
batch_return(Batch *batch)
{
	History *history = &batch->history;
	Datum values[12];
	bool nulls[12] = {false};

	if (batch->rows == 0)
		return;
	values[0] = UUIDPGetDatum(&history->session_id);
	values[1] = Int32GetDatum(history->retries);
	values[2] = Int32GetDatum(history->attempt);
	values[3] = ObjectIdGetDatum(history->last_reason);
	nulls[3] = !history->has_reason;
	values[4] = BoolGetDatum(is_exhausted(history));
	make_file_arrays(batch, &values[5], &values[6]);
	values[7] = PointerGetDatum(batch->rest);
	nulls[7] = (batch->rest == NULL);
	values[8] = TimestampTzGetDatum(history->due_at);
	values[9] = TimestampTzGetDatum(history->claimed_at);
	nulls[9] = !history->was_claimed;
	values[10] = UUIDPGetDatum(&history->lease_token);
	values[11] = history->worker;
	nulls[10] = nulls[11] = !history->has_lease;
	tuplestore_putvalues(batch->result->setResult, batch->result->setDesc, values, nulls);
	batch->rows = 0;
	batch->member_count = 0;
	batch->rest = NULL;
}

static void
read_history(TupleTableSlot *row, History *history)
{
	bool isnull;
	Datum token;

	slot_getallattrs(row);
	history->session_id = *DatumGetUUIDP(slot_getattr(row, Anum_file_queue_session_id, &isnull));
	history->retries = DatumGetInt32(slot_getattr(row, Anum_file_queue_retries, &isnull));
	history->attempt = DatumGetInt32(slot_getattr(row, Anum_file_queue_attempt, &isnull));
	history->due_at = DatumGetTimestampTz(slot_getattr(row, Anum_file_queue_due_at, &isnull));
	history->last_reason = DatumGetObjectId(slot_getattr(row, Anum_file_queue_last_reason, &isnull));
	history->has_reason = !isnull;
	history->claimed_at = DatumGetTimestampTz(slot_getattr(row, Anum_file_queue_claimed_at, &isnull));
	history->was_claimed = !isnull;
	token = slot_getattr(row, Anum_file_queue_lease_token, &isnull);
	history->has_lease = !isnull;
	if (history->has_lease)
	{
		history->lease_token = *DatumGetUUIDP(token);
		history->worker = datumCopy(slot_getattr(row, Anum_file_queue_worker, &isnull), false, -1);
	}
}

/* Returns whether files with these histories can share a lease row. */
static bool
may_share_row(const History *a, const History *b)
{
	return uuid7_compare(&a->session_id, &b->session_id) == 0 && a->retries == b->retries && a->attempt == b->attempt &&
	       a->has_reason == b->has_reason && (!a->has_reason || a->last_reason == b->last_reason);
}

/* Starts a new batch unless a row with this history and so many files fits into the current one. */
static void
make_room(Batch *batch, const History *history, int files)
{
	if (batch->rows > 0 && (batch->member_count + files > QUEUE_MAX_FILES || !may_share_row(&batch->history, history)))
		batch_return(batch);
	batch->history = *history;
	batch->members = batch->members ? repalloc(batch->members, (batch->member_count + files) * sizeof(BatchFile))
	                                : palloc(files * sizeof(BatchFile));
	batch->rows++;
}

/* Adds a file to the batch if it is PENDING and the row is not void for it. */
static bool
take_file(Batch *batch, const History *history, IdLookup *lookup, const pg_uuid_t *id)
{
	BatchFile *file = &batch->members[batch->member_count];
	bool isnull;

	if (!id_lookup_find(lookup, id) ||
	    DatumGetObjectId(slot_getattr(lookup->slot, Anum_files_ingestion_status, &isnull)) !=
	        batch->catalog->statuses[STATUS_PENDING] ||
	    DatumGetInt32(slot_getattr(lookup->slot, Anum_files_retries, &isnull)) != history->retries)
		return false;
	file->id = *id;
	file->name = DatumGetTextPCopy(slot_getattr(lookup->slot, Anum_files_name, &isnull));
	batch->member_count++;
	return true;
}

/* Files without an attempt left do not count as taken. */
void
batch_take_row(Batch *batch, TupleTableSlot *row)
{
	History history;
	bool exhausted;
	bool isnull;
	const pg_uuid_t *ids;
	int count;
	int i = 0;
	IdLookup lookup;

	read_history(row, &history);
	exhausted = is_exhausted(&history);
	ids = queue_array_ids(DatumGetArrayTypeP(slot_getattr(row, Anum_file_queue_file_ingestion_ids, &isnull)), &count);
	make_room(batch, &history, count);
	id_lookup_begin(&lookup, batch->files, batch->catalog->files_pkey, &history.session_id, &ids[count - 1]);
	while (i < count && (exhausted || batch->taken < batch->wanted))
		batch->taken += (take_file(batch, &history, &lookup, &ids[i++]) && !exhausted);
	id_lookup_end(&lookup);
	if (i < count)
	{
		batch->rest = queue_make_array(&ids[i], count - i);
		batch_return(batch);
	}
}
