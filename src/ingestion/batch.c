/*
 * batch.c
 *		What a claim takes, in bundles: each will be one lease row.
 *
 * Rows that were taken out of file_queue are read here, and their files looked up: those that are
 * PENDING, and were not made so anew, are taken. Rows with the same history go together, so that a
 * hundred files that were registered one by one get one lease row, not a hundred. The
 * lease rows are inserted by claim_files.
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

/* Tells whether files with this history were tried so often that they are not tried again. */
static bool
is_exhausted(const History *history)
{
	return history->attempt >= settings_max_attempts;
}

static int
compare_entries(const void *a, const void *b)
{
	return uuid7_compare(&((const Entry *) a)->id, &((const Entry *) b)->id);
}

/* Makes arrays of a bundle's files, in the order of creation. */
static void
make_file_arrays(Bundle *bundle, Datum *ids, Datum *names)
{
	int count = bundle->entry_count;
	pg_uuid_t *id_values = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	Datum *name_values = palloc(Max(count, 1) * sizeof(Datum));

	if (count > 1)
		qsort(bundle->entries, count, sizeof(Entry), compare_entries);
	for (int i = 0; i < count; i++)
	{
		id_values[i] = bundle->entries[i].id;
		name_values[i] = PointerGetDatum(bundle->entries[i].name);
	}
	*ids = PointerGetDatum(queue_make_array(id_values, count));
	*names = PointerGetDatum(construct_array(name_values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Returns the bundle as a row, if there is anything in it, and starts a new one. */
void
bundle_put(Bundle *bundle)
{
	History *history = &bundle->history;
	Datum values[12];
	bool nulls[12] = {false};

	if (bundle->rows == 0)
		return;
	values[0] = UUIDPGetDatum(&history->session_id);
	values[1] = Int32GetDatum(history->retries);
	values[2] = Int32GetDatum(history->attempt);
	values[3] = ObjectIdGetDatum(history->last_reason);
	nulls[3] = !history->has_reason;
	values[4] = BoolGetDatum(is_exhausted(history));
	make_file_arrays(bundle, &values[5], &values[6]);
	values[7] = PointerGetDatum(bundle->rest);
	nulls[7] = (bundle->rest == NULL);
	values[8] = TimestampTzGetDatum(history->due_at);
	values[9] = TimestampTzGetDatum(history->claimed_at);
	nulls[9] = !history->was_claimed;
	values[10] = UUIDPGetDatum(&history->lease_token);
	values[11] = history->worker;
	nulls[10] = nulls[11] = !history->has_lease;
	tuplestore_putvalues(bundle->result->setResult, bundle->result->setDesc, values, nulls);
	bundle->rows = 0;
	bundle->entry_count = 0;
	bundle->rest = NULL;
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

/* Tells whether files with these histories can go on under one lease row. */
static bool
may_share_row(const History *a, const History *b)
{
	return uuid7_compare(&a->session_id, &b->session_id) == 0 && a->retries == b->retries && a->attempt == b->attempt &&
	       a->has_reason == b->has_reason && (!a->has_reason || a->last_reason == b->last_reason);
}

/* Makes the bundle one that a row with this history and so many files goes into. */
static void
make_room(Bundle *bundle, const History *history, int files)
{
	if (bundle->rows > 0 &&
	    (bundle->entry_count + files > QUEUE_MAX_FILES || !may_share_row(&bundle->history, history)))
		bundle_put(bundle);
	bundle->history = *history;
	bundle->entries = bundle->entries ? repalloc(bundle->entries, (bundle->entry_count + files) * sizeof(Entry))
	                                  : palloc(files * sizeof(Entry));
	bundle->rows++;
}

/* Adds a file to the bundle if it is PENDING, and was not made so anew. */
static bool
take_file(Bundle *bundle, const History *history, Seek *seek, const pg_uuid_t *id)
{
	Entry *entry = &bundle->entries[bundle->entry_count];
	bool isnull;

	if (!seek_file(seek, id) ||
	    DatumGetObjectId(slot_getattr(seek->slot, Anum_files_ingestion_status, &isnull)) !=
	        bundle->catalog->statuses[STATUS_PENDING] ||
	    DatumGetInt32(slot_getattr(seek->slot, Anum_files_retries, &isnull)) != history->retries)
		return false;
	entry->id = *id;
	entry->name = DatumGetTextPCopy(slot_getattr(seek->slot, Anum_files_name, &isnull));
	bundle->entry_count++;
	return true;
}

/* Those that are exhausted do not count as taken. */
void
bundle_take_row(Bundle *bundle, TupleTableSlot *row)
{
	History history;
	bool exhausted;
	bool isnull;
	const pg_uuid_t *ids;
	int count;
	int i = 0;
	Seek seek;

	read_history(row, &history);
	exhausted = is_exhausted(&history);
	ids = queue_array_ids(DatumGetArrayTypeP(slot_getattr(row, Anum_file_queue_file_ingestion_ids, &isnull)), &count);
	make_room(bundle, &history, count);
	seek_begin(&seek, bundle->files, bundle->catalog->files_pkey, &history.session_id, &ids[count - 1]);
	while (i < count && (exhausted || bundle->taken < bundle->wanted))
		bundle->taken += (take_file(bundle, &history, &seek, &ids[i++]) && !exhausted);
	seek_end(&seek);
	if (i < count)
	{
		bundle->rest = queue_make_array(&ids[i], count - i);
		bundle_put(bundle);
	}
}
