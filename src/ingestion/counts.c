/*
 * counts.c
 *		Reads how many files a session has of each status, and the digest of its files.
 *
 * Sums up the session's slots, the rows of file_counts (count_changes.c). All of them are read under one snapshot, the active one: so
 * the sums are those of the files that the same snapshot shows.
 *
 * A slot has an index tuple per heap page on which it had a version, and versions pile up as long as any transaction's snapshot is older.
 * But a snapshot shows one version of a slot at most, for most snapshots the newest, and that mostly has the greatest TID. So slots are
 * read backward, from the greatest TID of each, and all other index tuples of a slot are passed over once a version was found. An old
 * snapshot's own reads take longer. The order is for speed alone: whatever it is, the version that the snapshot shows is found.
 */
#include "compat.h"

#include "ingestion/counts.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "index/leaf.h"

/* How many slots are read at a time. */
#define SLOTS_AT_ONCE 8

/* How many index tuples a walk passes over before a descent. */
#define MAX_PASSED 10

static inline int64
value_of(TupleTableSlot *row, int column)
{
	bool isnull;

	return DatumGetInt64(slot_getattr(row, column, &isnull));
}

static void
add_slot(Counts *counts, TupleTableSlot *row)
{
	/* The last column first: the row is deformed up to it, for all of them. */
	counts->digest ^= (uint64) value_of(row, Anum_file_counts_digest);
	for (int status = 0; status < STATUS_COUNT; status++)
		counts->by_status[status] += value_of(row, Anum_file_counts_first_status + status);
	counts->marked |= value_of(row, Anum_file_counts_slot) < 0;
	counts->slots++;
}

/* How far the reading of a session's slots has come. */
typedef struct Reader
{
	Relation file_counts;
	Relation index;
	const pg_uuid_t *session_id;
	TupleTableSlot *row;
	int64 end; /* slots before it are left, if any */
	Counts *counts;
} Reader;

/* Reads the index tuples before the end, some at most. */
static void
read_tuples(const Reader *reader, LeafTids *tids)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(reader->session_id));
	ScanKeyInit(&keys[1], 2, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(reader->end));
	tids->compares = true;
	leaf_read(reader->file_counts, reader->index, keys, reader->end == PG_INT64_MAX ? 1 : 2, GetActiveSnapshot(),
	          BackwardScanDirection, SLOTS_AT_ONCE, tids);
}

/* Sums up some slots, and moves the end. Returns whether there was one. */
static bool
read_slots(Reader *reader, LeafTids *tids)
{
	IndexFetchTableData *fetch = table_index_fetch_begin(reader->file_counts);
	bool found = false;
	bool any = false;

	for (int i = 0; i < tids->count; i++)
	{
		bool again = false;

		if (found && tids->same_key[i])
			continue;
		found = table_index_fetch_tuple(fetch, &tids->tids[i], GetActiveSnapshot(), reader->row, &again, NULL);
		if (!found)
			continue;
		add_slot(reader->counts, reader->row);
		reader->end = value_of(reader->row, Anum_file_counts_slot);
		any = true;
	}
	table_index_fetch_end(fetch);
	return any;
}

/* Sums up the slots that are left, by a walk. */
static void
walk_slots(const Catalog *catalog, const Reader *reader)
{
	SlotWalk walk;

	counts_begin_walk(&walk, catalog, reader->file_counts, reader->session_id, GetActiveSnapshot(), reader->end);
	while (counts_walk(&walk))
		add_slot(reader->counts, walk.row);
	counts_end_walk(&walk);
}

void
counts_read(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id, Counts *counts)
{
	Reader reader = {.file_counts = file_counts, .session_id = session_id, .end = PG_INT64_MAX, .counts = counts};
	LeafTids tids;

	reader.index = catalog_open_index(catalog->file_counts_pkey, AccessShareLock);
	reader.row = table_slot_create(file_counts, NULL);
	memset(counts, 0, sizeof(Counts));
	do
		read_tuples(&reader, &tids);
	while (read_slots(&reader, &tids) && !tids.complete);
	if (!tids.complete)
		walk_slots(catalog, &reader);
	ExecDropSingleTupleTableSlot(reader.row);
	index_close(reader.index, NoLock);
}

/* Starts the scan at the slots before a number. */
static void
descend(SlotWalk *walk, int64 end)
{
	ScanKeyInit(&walk->keys[1], 2, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(end));
	index_rescan(walk->scan, walk->keys, lengthof(walk->keys), NULL, 0);
}

void
counts_begin_walk(SlotWalk *walk, const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id,
                  Snapshot snapshot, int64 end)
{
	walk->index = catalog_open_index(catalog->file_counts_pkey, AccessShareLock);
	walk->row = table_slot_create(file_counts, NULL);
	walk->scan = compat_index_beginscan(file_counts, walk->index, snapshot, lengthof(walk->keys));
	walk->scan->xs_want_itup = true;
	walk->has_number = false;
	ScanKeyInit(&walk->keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session_id));
	descend(walk, end);
}

bool
counts_walk(SlotWalk *walk)
{
	bool isnull;

	while (index_getnext_tid(walk->scan, BackwardScanDirection) != NULL)
	{
		int64 number = DatumGetInt64(index_getattr(walk->scan->xs_itup, 2, walk->scan->xs_itupdesc, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (walk->has_number && number == walk->number)
		{
			if (++walk->passed > MAX_PASSED)
				descend(walk, number);
		}
		else if (index_fetch_heap(walk->scan, walk->row))
		{
			walk->has_number = true;
			walk->number = number;
			walk->passed = 0;
			return true;
		}
	}
	return false;
}

void
counts_end_walk(SlotWalk *walk)
{
	index_endscan(walk->scan);
	ExecDropSingleTupleTableSlot(walk->row);
	index_close(walk->index, NoLock);
}
