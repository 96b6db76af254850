/*
 * batch.c
 *		Forms batches from the queue rows that a claim takes: each batch becomes one lease row.
 *
 * The rows were already deleted from file_queue (claim.c). Their files are looked up here under the active snapshot: a file is taken if it
 * is PENDING and its generation is not greater than the row's; otherwise its place in the queue row is void. Rows with the same history are
 * joined, so that a hundred files that were registered one by one get one lease row, not a hundred. claim_files, in SQL, inserts the lease
 * rows.
 *
 * A lease row has the greatest generation of the rows that it joins. So no file in it may become PENDING again with a generation that is
 * greater than its own row's, but not than the lease row's: then both the lease and a new queue row would hold it. Such a generation was
 * drawn before the other row's, by a transaction that had already changed or deleted the file's row version (generation.c). So each
 * version is read under a dirty snapshot, too: after the statement's snapshot, which shows all the rows, was taken. If a transaction has
 * changed the version, or is changing it, the file's queue row is joined with no other, and keeps its generation. Else whatever makes the
 * file PENDING again draws a generation later than all these rows did.
 */
#include "compat.h"

#include "ingestion/batch.h"

#include "access/tableam.h"
#include "access/transam.h"
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
	Datum values[13];
	bool nulls[13] = {false};

	if (batch->rows == 0)
		return;
	values[0] = UUIDPGetDatum(&history->session_id);
	values[1] = Int64GetDatum(history->generation);
	values[2] = Int32GetDatum(history->attempt);
	values[3] = ObjectIdGetDatum(history->last_reason);
	nulls[3] = !history->has_reason;
	values[4] = BoolGetDatum(is_exhausted(history));
	make_file_arrays(batch, &values[5], &values[6]);
	values[7] = PointerGetDatum(batch->rest);
	values[8] = Int64GetDatum(batch->rest_generation);
	nulls[7] = nulls[8] = (batch->rest == NULL);
	values[9] = TimestampTzGetDatum(history->due_at);
	values[10] = TimestampTzGetDatum(history->claimed_at);
	nulls[10] = !history->was_claimed;
	values[11] = UUIDPGetDatum(&history->lease_token);
	values[12] = history->worker;
	nulls[11] = nulls[12] = !history->has_lease;
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
	history->generation = DatumGetInt64(slot_getattr(row, Anum_file_queue_generation, &isnull));
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
	return uuid7_compare(&a->session_id, &b->session_id) == 0 && a->attempt == b->attempt &&
	       a->has_reason == b->has_reason && (!a->has_reason || a->last_reason == b->last_reason);
}

/* Starts a new batch unless a row with this history and so many files fits into the current one. */
static void
make_room(Batch *batch, const History *history, int files)
{
	if (batch->rows > 0 && (batch->member_count + files > QUEUE_MAX_FILES || !may_share_row(&batch->history, history)))
		batch_return(batch);
	batch->members = batch->members ? repalloc(batch->members, (batch->member_count + files) * sizeof(BatchFile))
	                                : palloc(files * sizeof(BatchFile));
}

/* Returns whether a transaction has changed or deleted the row version of a file that was found, or is about to. */
static bool
is_changing(Batch *batch, IdLookup *lookup)
{
	return !table_tuple_fetch_row_version(batch->files, &lookup->slot->tts_tid, &batch->dirty, batch->version) ||
	       TransactionIdIsValid(batch->dirty.xmax);
}

/* Adds a file to the batch if it is PENDING and the row is not void for it. */
static bool
take_file(Batch *batch, const History *history, IdLookup *lookup, const pg_uuid_t *id, bool *changing)
{
	BatchFile *file = &batch->members[batch->member_count];
	bool isnull;

	if (!id_lookup_find(lookup, id) ||
	    DatumGetObjectId(slot_getattr(lookup->slot, Anum_files_ingestion_status, &isnull)) !=
	        batch->catalog->statuses[STATUS_PENDING] ||
	    DatumGetInt64(slot_getattr(lookup->slot, Anum_files_generation, &isnull)) > history->generation)
		return false;
	file->id = *id;
	file->name = DatumGetTextPCopy(slot_getattr(lookup->slot, Anum_files_name, &isnull));
	batch->member_count++;
	*changing = *changing || is_changing(batch, lookup);
	return true;
}

/* Makes the last members of the batch, of a row that is not added yet, one of their own. */
static void
separate_row(Batch *batch, int first)
{
	int count = batch->member_count - first;

	if (batch->rows == 0)
		return;
	batch->member_count = first;
	batch_return(batch);
	memmove(batch->members, &batch->members[first], count * sizeof(BatchFile));
	batch->member_count = count;
}

/* Adds a row, whose files were taken, to the batch. */
static void
add_row(Batch *batch, const History *history)
{
	int64 generation = batch->rows > 0 ? Max(batch->history.generation, history->generation) : history->generation;

	batch->history = *history;
	batch->history.generation = generation;
	batch->rows++;
}

/* Files without an attempt left do not count as taken. */
void
batch_take_row(Batch *batch, TupleTableSlot *row)
{
	History history;
	bool exhausted;
	bool changing = false;
	bool isnull;
	const pg_uuid_t *ids;
	int count;
	int i = 0;
	int first;
	IdLookup lookup;

	read_history(row, &history);
	exhausted = is_exhausted(&history);
	ids = queue_array_ids(DatumGetArrayTypeP(slot_getattr(row, Anum_file_queue_file_ingestion_ids, &isnull)), &count);
	make_room(batch, &history, count);
	first = batch->member_count;
	id_lookup_begin(&lookup, batch->files, batch->catalog->files_pkey, &history.session_id, &ids[count - 1]);
	while (i < count && (exhausted || batch->taken < batch->wanted))
		batch->taken += (take_file(batch, &history, &lookup, &ids[i++], &changing) && !exhausted);
	id_lookup_end(&lookup);
	if (changing)
		separate_row(batch, first);
	add_row(batch, &history);
	if (i < count)
	{
		batch->rest = queue_make_array(&ids[i], count - i);
		batch->rest_generation = history.generation;
	}
	if (changing || i < count)
		batch_return(batch);
}
