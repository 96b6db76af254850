/*
 * batch.c
 *		Forms the leases of a claim from the queue rows that it takes.
 *
 * The rows were already deleted from file_queue (queue_walk.c). Their files are looked up here under the active snapshot: a file is taken if
 * it is PENDING and its generation is not greater than the row's; otherwise its place in the queue row is void.
 *
 * Rows with the same history are joined, so that a hundred files that were registered one by one get one lease row, not a hundred. The
 * lease row has the greatest of their generations. That must not make it valid for a file that becomes PENDING again: what draws a
 * generation from now on draws a greater one, but a transaction that is not over may have drawn one before. So a row with a file that
 * another transaction is changing, or has changed since the snapshot, is joined with no other (is_changing).
 *
 * A file can kill its worker. When a lease ends without a report, no worker knows which file it was. So its files are claimed again in
 * smaller company: with other files of lost leases alone, and at most half as many. That such a lease was lost counts as an attempt of its
 * file only if it had one file. So the file that kills its workers is alone in the end, and it alone runs out of attempts.
 */
#include "compat.h"

#include "ingestion/batch.h"

#include "access/detoast.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "index/id_lookup.h"
#include "ingestion/locate.h"
#include "ingestion/queue.h"
#include "owner.h"
#include "settings.h"
#include "uuid7.h"

/* The reason of a file whose last attempt ended without a report. */
#define REASON_OF_LOSS "INGESTING_FILE_FAILED"

/* Size, type, location and metadata. */
#define DETAIL_COUNT (Anum_files_metadata - Anum_files_size + 1)

/* The columns of claimed_file before the details. */
#define LEASE_COLUMNS 7

/* A file's details as its row has them, which may be elsewhere (TOAST). */
typedef struct Details
{
	Datum values[DETAIL_COUNT];
	bool nulls[DETAIL_COUNT];
} Details;

typedef struct BatchFile
{
	pg_uuid_t id;
	text *name;
	Details *details; /* NULL if it has none */
} BatchFile;

/* Files with the same history, which get one lease row. */
typedef struct Batch
{
	QueueRow row;
	Oid write_mode;
	bool may_grow;
	BatchFile *files;
	int count;
} Batch;

/* Files of a queue row. */
typedef struct RowFiles
{
	QueueRow row;
	pg_uuid_t *ids;
	int count;
} RowFiles;

static OwnerQuery fail_unlocked = {
	.text = "UPDATE session_files.files AS f"
			" SET ingestion_status = 'FAILED', ingestion_status_reason = $3::session_files.ingestion_status_reason"
			" WHERE f.ctid = ANY (ARRAY(SELECT g.ctid FROM session_files.files AS g WHERE g.ctid = ANY ($1)"
			" AND (g.ingestion_status = 'PENDING') IS TRUE AND g.generation <= $2 FOR NO KEY UPDATE SKIP LOCKED))"
			" RETURNING f.file_ingestion_id",
	.arg_count = 3,
	.arg_types = {TIDARRAYOID, INT8OID, TEXTOID},
};

/* Returns how many files a claim can have that takes files of a lost lease: half as many as that had. */
static int
company_limit(int company)
{
	return Max(1, company / 2);
}

bool
batch_wants_row(Claim *claim)
{
	bool exists;
	bool isnull;
	bool is_lost;

	if (!claim_may_serve(claim, DatumGetUUIDP(slot_getattr(claim->row, Anum_file_queue_session_id, &isnull)), &exists))
		return false;
	if (claim->taken == 0)
		return true;
	(void) slot_getattr(claim->row, Anum_file_queue_lease_token, &isnull);
	is_lost = !isnull;
	return is_lost == claim->is_lost &&
	       (!is_lost ||
	        claim->taken < company_limit(DatumGetInt32(slot_getattr(claim->row, Anum_file_queue_company, &isnull))));
}

/* Returns the number of the attempt that begins with a claim of a row. A lost lease of several files was no attempt. */
static int
next_attempt(const QueueRow *row)
{
	return row->has_lease && row->company > 1 ? row->attempt : row->attempt + 1;
}

static RowFiles *
make_row_files(const QueueRow *row, pg_uuid_t *ids, int count)
{
	RowFiles *files = palloc(sizeof(RowFiles));

	files->row = *row;
	files->ids = ids;
	files->count = count;
	return files;
}

/* Returns whether another transaction is changing a file, or has changed it since the snapshot. */
static bool
is_changing(Relation files, ItemPointer tid, TupleTableSlot *slot)
{
	SnapshotData dirty;
	bool changed;

	InitDirtySnapshot(dirty);
	changed = !table_tuple_fetch_row_version(files, tid, &dirty, slot) || TransactionIdIsValid(dirty.xmax);
	ExecClearTuple(slot);
	return changed;
}

/* Copies the details of the file in a slot. Returns NULL if it has none. */
static Details *
copy_details(TupleTableSlot *file)
{
	Details *details = NULL;

	slot_getsomeattrs(file, Anum_files_metadata);
	for (int i = 0; i < DETAIL_COUNT; i++)
	{
		int column = Anum_files_size - 1 + i;
		Form_pg_attribute type = TupleDescAttr(file->tts_tupleDescriptor, column);

		if (file->tts_isnull[column])
			continue;
		if (details == NULL)
		{
			details = palloc(sizeof(Details));
			memset(details->nulls, true, sizeof(details->nulls));
		}
		details->values[i] = datumCopy(file->tts_values[column], type->attbyval, type->attlen);
		details->nulls[i] = false;
	}
	return details;
}

/* Adds the file that was looked up to a batch if the row is not void for it. */
static bool
take_file(Claim *claim, Batch *batch, TupleTableSlot *file, const pg_uuid_t *id, TupleTableSlot *scratch)
{
	bool isnull;
	BatchFile *taken = &batch->files[batch->count];

	if (!locate_is_pending(&claim->catalog, file, batch->row.generation))
		return false;
	taken->id = *id;
	taken->name = DatumGetTextPCopy(slot_getattr(file, Anum_files_name, &isnull));
	taken->details = copy_details(file);
	if (batch->may_grow && is_changing(claim->files, &file->tts_tid, scratch))
		batch->may_grow = false;
	batch->count++;
	return true;
}

/* Takes files of a row until there are enough; returns how many of its places were read. */
static int
take_files(Claim *claim, Batch *batch, const pg_uuid_t *ids, int count, int wanted)
{
	TupleTableSlot *scratch = table_slot_create(claim->files, NULL);
	IdLookup lookup;
	int i = 0;

	batch->files = palloc(count * sizeof(BatchFile));
	id_lookup_begin(&lookup, claim->files, claim->catalog.files_pkey, &batch->row.session_id, &ids[count - 1]);
	for (; i < count && claim->taken < wanted; i++)
	{
		if (id_lookup_find(&lookup, &ids[i]) && take_file(claim, batch, lookup.slot, &ids[i], scratch))
			claim->taken++;
	}
	id_lookup_end(&lookup);
	ExecDropSingleTupleTableSlot(scratch);
	return i;
}

/* Returns whether two batches can have one lease row. */
static bool
may_join(const Batch *a, const Batch *b)
{
	return a->may_grow && b->may_grow && a->count + b->count <= QUEUE_MAX_FILES &&
	       uuid7_compare(&a->row.session_id, &b->row.session_id) == 0 && a->row.attempt == b->row.attempt &&
	       a->row.last_reason == b->row.last_reason;
}

/* Adds a batch to the last one, or to the list. */
static void
add_batch(Claim *claim, Batch *batch)
{
	Batch *last = claim->leases == NIL ? NULL : llast(claim->leases);

	if (last == NULL || !may_join(last, batch))
	{
		claim->leases = lappend(claim->leases, batch);
		return;
	}
	last->files = repalloc(last->files, (last->count + batch->count) * sizeof(BatchFile));
	memcpy(&last->files[last->count], batch->files, batch->count * sizeof(BatchFile));
	last->count += batch->count;
	last->row.generation = Max(last->row.generation, batch->row.generation);
}

void
batch_take_row(Claim *claim)
{
	Batch *batch = palloc0(sizeof(Batch));
	QueueRow row;
	int count;
	pg_uuid_t *ids = queue_read(&claim->catalog, claim->row, &row, &count);
	int wanted = row.has_lease ? Min(claim->wanted, company_limit(row.company)) : claim->wanted;
	int read;

	if (next_attempt(&row) > settings_max_attempts)
	{
		claim->exhausted = lappend(claim->exhausted, make_row_files(&row, ids, count));
		return;
	}
	batch->row = row;
	batch->write_mode = claim->write_mode;
	batch->row.attempt = next_attempt(&row);
	batch->may_grow = true;
	read = take_files(claim, batch, ids, count, wanted);
	if (read < count)
		claim->returned = lappend(claim->returned, make_row_files(&row, &ids[read], count - read));
	if (batch->count == 0)
		return;
	claim->is_lost = row.has_lease;
	claim->wanted = wanted;
	add_batch(claim, batch);
}

/* Makes files without an attempt left FAILED. Those that another transaction has locked are left as they were, for a later claim. */
static void
fail_exhausted(Claim *claim, RowFiles *files)
{
	const QueueRow *row = &files->row;
	pg_uuid_t *pending = palloc(files->count * sizeof(pg_uuid_t));
	pg_uuid_t *failed = palloc(files->count * sizeof(pg_uuid_t));
	int count = files->count;
	ArrayType *tids = locate_pending(claim->files, &row->session_id, files->ids, &count, row->generation, pending);
	Datum values[3] = {PointerGetDatum(tids), Int64GetDatum(row->generation),
	                   PointerGetDatum(cstring_to_text(
						   row->last_reason == REASON_NONE ? REASON_OF_LOSS : reason_labels[row->last_reason]))};
	int failed_count = 0;
	bool isnull;

	if (count == 0)
		return;
	owner_run(&fail_unlocked, values);
	for (; failed_count < SPI_processed; failed_count++)
		failed[failed_count] =
			*DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[failed_count], SPI_tuptable->tupdesc, 1, &isnull));
	failed_count = queue_sort_ids(failed, failed_count);
	count = queue_pick_ids(pending, count, failed, failed_count, false, pending);
	if (count > 0)
		queue_insert(row, pending, count);
}

static int
compare_files(const void *a, const void *b)
{
	return uuid7_compare(&((const BatchFile *) a)->id, &((const BatchFile *) b)->id);
}

/* Writes a lease row. */
static void
write_lease(const Claim *claim, Batch *batch, const Lease *lease)
{
	QueueRow *row = &batch->row;
	pg_uuid_t *ids = palloc(batch->count * sizeof(pg_uuid_t));

	qsort(batch->files, batch->count, sizeof(BatchFile), compare_files);
	for (int i = 0; i < batch->count; i++)
		ids[i] = batch->files[i].id;
	row->due_at = lease->expires_at;
	row->was_claimed = row->has_lease = true;
	row->claimed_at = claim->now;
	row->lease_token = lease->token;
	row->worker = lease->worker;
	row->company = claim->taken;
	queue_insert(row, ids, batch->count);
}

/*
 * Gives the details of a file for its row of the result. What is elsewhere is fetched here: not before, as that of all files may not fit into
 * memory; not later, as the file can be gone when the result is read.
 */
static void
fetch_details(const Details *details, TupleDesc claimed_file, Datum *values, bool *nulls)
{
	for (int i = 0; i < DETAIL_COUNT; i++)
	{
		nulls[i] = details->nulls[i];
		if (nulls[i])
			continue;
		values[i] = details->values[i];
		if (TupleDescAttr(claimed_file, LEASE_COLUMNS + i)->attlen == -1)
			values[i] = PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(values[i])));
	}
}

/* Adds the files of a lease row to the result, a row of type claimed_file each. */
static void
return_files(const Batch *batch, ReturnSetInfo *result)
{
	const QueueRow *row = &batch->row;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "files of a claim", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);

	for (int i = 0; i < batch->count; i++)
	{
		const BatchFile *file = &batch->files[i];
		Datum values[LEASE_COLUMNS + DETAIL_COUNT] = {
			UUIDPGetDatum(&row->session_id),    UUIDPGetDatum(&file->id),         PointerGetDatum(file->name),
			Int32GetDatum(row->attempt),        UUIDPGetDatum(&row->lease_token), TimestampTzGetDatum(row->due_at),
			ObjectIdGetDatum(batch->write_mode)};
		bool nulls[LEASE_COLUMNS + DETAIL_COUNT] = {false};

		if (file->details == NULL)
			memset(&nulls[LEASE_COLUMNS], true, DETAIL_COUNT * sizeof(bool));
		else
			fetch_details(file->details, result->setDesc, &values[LEASE_COLUMNS], &nulls[LEASE_COLUMNS]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

void
batch_write(Claim *claim, const Lease *lease, ReturnSetInfo *result)
{
	Caller caller;
	ListCell *cell;

	if (claim->rows == 0)
		return;
	caller = owner_begin(claim->file_queue);
	foreach (cell, claim->exhausted)
		fail_exhausted(claim, lfirst(cell));
	/* In rows of the size of this claim: the next worker may want as many. A lease that has run out still holds them. */
	foreach (cell, claim->returned)
	{
		RowFiles *files = lfirst(cell);

		queue_insert_rows(&files->row, files->ids, files->count, Min(lease->max_files, QUEUE_MAX_FILES));
	}
	foreach (cell, claim->leases)
	{
		write_lease(claim, lfirst(cell), lease);
		return_files(lfirst(cell), result);
	}
	owner_end(caller);
}
