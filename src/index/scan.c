/*
 * scan.c
 *		A scan of one of the extension's indexes under the active snapshot.
 *
 * It does what the executor's index scan does, without the executor. It does not know what the indexes are for. Locks are kept until the
 * transaction ends, as the executor keeps them.
 *
 * The first index tuples are read from the leaf pages (leaf.c). Where these are not enough, as with many dead row versions, an index scan
 * starts at the beginning of the range and passes over the rows that were read already. That is right because both read under one
 * snapshot: the same rows are visible, in the same order.
 */
#include "compat.h"

#include "index/scan.h"

#include "access/itup.h"
#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"

/* How many dead index tuples are worth an index scan. */
#define MANY_DEAD 4

void
scan_init(KeyScan *scan, Relation heap, Oid index)
{
	scan->heap = heap;
	scan->index = catalog_open_index(index, AccessShareLock);
	scan->key_count = 0;
	scan->fetch = NULL;
	scan->desc = NULL;
	scan->slot = NULL;
	scan->has_row = false;
	scan->visibility_map = InvalidBuffer;
	scan->last_tuple = NULL;
	scan->dead_passed = scan->dead_seen = 0;
}

static ScanKey
next_key(KeyScan *scan)
{
	Assert(scan->key_count < SCAN_MAX_KEYS);
	return &scan->keys[scan->key_count++];
}

void
scan_key_equal(KeyScan *scan, AttrNumber column, RegProcedure proc, Datum value)
{
	ScanKeyInit(next_key(scan), column, BTEqualStrategyNumber, proc, value);
}

void
scan_key_beyond(KeyScan *scan, AttrNumber column, StrategyNumber strategy, RegProcedure proc, Datum value)
{
	ScanKeyInit(next_key(scan), column, strategy, proc, value);
}

void
scan_key_row_beyond(KeyScan *scan, AttrNumber column, StrategyNumber strategy, Datum label, Datum id)
{
	ScanKey members = scan->row_members[scan->key_count];
	ScanKey header = next_key(scan);

	/* As in ExecIndexBuildScanKeys: the members are compared by the three-way function. */
	ScanKeyEntryInitialize(&members[0], SK_ROW_MEMBER, column, strategy, InvalidOid, InvalidOid, F_ENUM_CMP, label);
	ScanKeyEntryInitialize(&members[1], SK_ROW_MEMBER | SK_ROW_END, (AttrNumber) (column + 1), strategy, InvalidOid,
	                       InvalidOid, F_UUID_CMP, id);
	MemSet(header, 0, sizeof(ScanKeyData));
	header->sk_flags = SK_ROW_HEADER;
	header->sk_attno = column;
	header->sk_strategy = strategy;
	header->sk_argument = PointerGetDatum(members);
}

/* Starts an index scan of the whole range. */
static void
begin_index_scan(KeyScan *scan)
{
	scan->desc = compat_index_beginscan(scan->heap, scan->index, GetActiveSnapshot(), scan->key_count);
	scan->desc->xs_want_itup = true;
	index_rescan(scan->desc, scan->keys, scan->key_count, NULL, 0);
}

void
scan_begin(KeyScan *scan, ScanDirection direction, int wanted)
{
	scan->direction = direction;
	scan->keeps_tuples = (wanted == 0);
	scan->slot = table_slot_create(scan->heap, NULL);
	if (scan->keeps_tuples)
	{
		begin_index_scan(scan);
		return;
	}
	scan->first.compares = false;
	leaf_read(scan->heap, scan->index, scan->keys, scan->key_count, GetActiveSnapshot(), direction, wanted,
	          &scan->first);
	scan->first_next = 0;
	scan->rows_read = 0;
	scan->fetch = table_index_fetch_begin(scan->heap);
}

/* Returns whether one of the first TIDs is alone in its index tuple: then that can be marked when its row is dead. */
static bool
is_alone(const LeafTids *first, int i)
{
	return !first->same_key[i] && (i + 1 == first->count || !first->same_key[i + 1]);
}

/* Goes to the next row of the first index tuples; false at their end. */
static bool
next_of_first(KeyScan *scan)
{
	Snapshot snapshot = GetActiveSnapshot();
	bool found = scan->has_row;

	while (scan->first_next < scan->first.count)
	{
		int i = scan->first_next++;
		ItemPointerData tid = scan->first.tids[i];
		bool again = false;
		bool dead = false;

		/* Another version of the row that was found. */
		if (found && scan->first.same_key[i])
			continue;
		found = table_index_fetch_tuple(scan->fetch, &tid, snapshot, scan->slot, &again, &dead);
		if (found)
		{
			pgstat_count_heap_fetch(scan->index);
			scan->rows_read++;
			scan->dead_passed = scan->dead_seen;
			return true;
		}
		if (dead && is_alone(&scan->first, i))
			scan->dead_seen++;
	}
	return false;
}

/* Returns whether the visibility map says that all rows on the heap page of an index tuple are visible to all transactions. */
static bool
all_visible(KeyScan *scan, ItemPointer tid)
{
	BlockNumber block = ItemPointerGetBlockNumber(tid);

	if (!VM_ALL_VISIBLE(scan->heap, block, &scan->visibility_map))
		return false;
	PredicateLockPage(scan->heap, block, scan->desc->xs_snapshot);
	return true;
}

/* Returns whether the current TID is in the same index tuple as the last row: then it is of another version of that row. */
static bool
is_of_last_row(const KeyScan *scan)
{
	return scan->desc->xs_itup == scan->last_tuple &&
	       ((BTScanOpaque) scan->desc->opaque)->currPos.currPage == scan->last_page;
}

/* Goes to the next row of the index scan; false at the end. Reads it only if needed, or if the visibility map does not vouch for it. */
static bool
next_of_index_scan(KeyScan *scan, bool need_row)
{
	ItemPointer tid;

	while ((tid = index_getnext_tid(scan->desc, scan->direction)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_of_last_row(scan))
			continue;
		scan->has_row = false;
		if (!need_row && all_visible(scan, tid))
			break;
		scan->has_row = index_fetch_heap(scan->desc, scan->slot);
		if (scan->has_row)
			break;
	}
	if (tid == NULL)
		return false;
	scan->last_tuple = scan->desc->xs_itup;
	scan->last_page = ((BTScanOpaque) scan->desc->opaque)->currPos.currPage;
	return true;
}

/* Starts an index scan, and passes over the rows that were read by the first index tuples. */
static void
pass_over_first(KeyScan *scan)
{
	begin_index_scan(scan);
	for (int i = 0; i < scan->rows_read; i++)
	{
		if (!next_of_index_scan(scan, true))
			elog(ERROR, "row read before is not in index \"%s\"", RelationGetRelationName(scan->index));
	}
}

bool
scan_next(KeyScan *scan)
{
	CHECK_FOR_INTERRUPTS();
	if (scan->desc == NULL)
	{
		scan->has_row = next_of_first(scan);
		if (scan->has_row || scan->first.complete)
			return scan->has_row;
		pass_over_first(scan);
	}
	return next_of_index_scan(scan, true);
}

bool
scan_find(KeyScan *scan, Relation heap, Oid index, const pg_uuid_t *id)
{
	scan_init(scan, heap, index);
	scan_key_equal(scan, 1, F_UUID_EQ, UUIDPGetDatum(id));
	scan_begin(scan, ForwardScanDirection, 1);
	return scan_next(scan);
}

bool
scan_skip(KeyScan *scan)
{
	return scan->keeps_tuples ? next_of_index_scan(scan, false) : scan_next(scan);
}

void
scan_read_row(KeyScan *scan)
{
	if (!scan->has_row && !index_fetch_heap(scan->desc, scan->slot))
		elog(ERROR, "row on an all-visible page is not visible");
	scan->has_row = true;
}

Datum
scan_value(KeyScan *scan, int column)
{
	bool isnull;
	Datum value = slot_getattr(scan->slot, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of \"%s\"", column, RelationGetRelationName(scan->heap));
	return value;
}

Datum
scan_index_value(KeyScan *scan, int column)
{
	bool isnull;
	Datum value = index_getattr(scan->desc->xs_itup, column, scan->desc->xs_itupdesc, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of \"%s\"", column, RelationGetRelationName(scan->index));
	return value;
}

void
scan_end(KeyScan *scan)
{
	/* An index scan marks dead index tuples, which are not visited again. On a standby it does not. */
	if (scan->dead_passed >= MANY_DEAD && scan->desc == NULL && !TransactionStartedDuringRecovery())
		pass_over_first(scan);
	if (scan->fetch != NULL)
		table_index_fetch_end(scan->fetch);
	if (scan->desc != NULL)
		index_endscan(scan->desc);
	if (scan->slot != NULL)
		ExecDropSingleTupleTableSlot(scan->slot);
	if (BufferIsValid(scan->visibility_map))
		ReleaseBuffer(scan->visibility_map);
	index_close(scan->index, NoLock);
}
