/*
 * leaf.c
 *		The first entries of a range of a btree index, from its leaf pages.
 *
 * An index scan copies every entry that is left on a leaf page, some hundreds, each after a
 * comparison, to give out ten: that was up to half of a listing, and made its cost depend on where
 * in a page a cursor stands. This copies what is asked for, and compares only where the range ends
 * on a page.
 *
 * The rules are those of nbtree's README. Moving right follows the links as an index scan does.
 * Moving left is tried once: if the page to the left no longer is the neighbour, the caller's index
 * scan has to sort it out. Nothing can be cancelled as long as a page is locked, and one always is: so a
 * walk over pages that give nothing ends after some, and is left to the index scan, too. No lock or pin outlasts the call, as for an index scan under an MVCC
 * snapshot: a row that takes the place of a removed one is not visible to it.
 */
#include "compat.h"

#include "index/leaf.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/rel.h"

/* So many pages may give no entry. */
#define MAX_EMPTY_PAGES 16

typedef struct LeafReader
{
	Relation heap;
	Relation index;
	Snapshot snapshot;
	BTScanInsertData lower; /* the range lies between these two positions */
	BTScanInsertData upper;
	bool trusts_dead; /* entries that are marked as dead are dead to the snapshot too */
	int room;         /* for so many more entries */
	int pages;        /* to be read at most: one per entry, and some */
	LeafEntries *entries;
} LeafReader;

/* Adds a column's value to a position. */
static void
add_value(LeafReader *reader, BTScanInsert position, const ScanKeyData *key)
{
	FmgrInfo *compare = index_getprocinfo(reader->index, key->sk_attno, BTORDER_PROC);

	ScanKeyEntryInitializeWithInfo(&position->scankeys[position->keysz++], 0, key->sk_attno, InvalidStrategy,
	                               InvalidOid, reader->index->rd_indcollation[key->sk_attno - 1], compare,
	                               key->sk_argument);
}

/*
 * Sets a position: that of the equalities, narrowed by the keys with the strategy of this side. It
 * stands before the first entry that is no less than its values or, if past_equal, that is greater.
 */
static void
set_position(LeafReader *reader, BTScanInsert position, const ScanKeyData *keys, int key_count, StrategyNumber side)
{
	bool narrowed = false;

	memset(position, 0, offsetof(BTScanInsertData, scankeys));
	_bt_metaversion(reader->index, &position->heapkeyspace, &position->allequalimage);
	for (const ScanKeyData *key = keys; key < keys + key_count; key++)
	{
		if (key->sk_strategy != BTEqualStrategyNumber && key->sk_strategy != side)
			continue;
		narrowed = narrowed || key->sk_strategy == side;
		if (key->sk_flags & SK_ROW_HEADER)
		{
			ScanKey members = (ScanKey) DatumGetPointer(key->sk_argument);

			add_value(reader, position, &members[0]);
			add_value(reader, position, &members[1]);
		}
		else
			add_value(reader, position, key);
	}
	position->nextkey = (side == BTGreaterStrategyNumber) == narrowed;
}

/* Tells whether an entry comes before a position. */
static bool
is_before(LeafReader *reader, BTScanInsert position, Page page, OffsetNumber offset)
{
	return _bt_compare(reader->index, position, page, offset) >= (position->nextkey ? 0 : 1);
}

/* Returns the first offset from low on that is not before a position; high if there is none below it. */
static OffsetNumber
find_position(LeafReader *reader, BTScanInsert position, Page page, OffsetNumber low, OffsetNumber high)
{
	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (is_before(reader, position, page, middle))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Finds the leaf page with a position and locks it; invalid if the index is empty. */
static Buffer
descend(LeafReader *reader, BTScanInsert position)
{
	Buffer buffer;
	BTStack stack = compat_bt_search(reader->index, reader->heap, position, &buffer, reader->snapshot);

	_bt_freestack(stack);
	if (!BufferIsValid(buffer))
	{
		/* There is no page whose lock would tell of a first entry. */
		PredicateLockRelation(reader->index, reader->snapshot);
		if (IsolationIsSerializable())
			_bt_freestack(compat_bt_search(reader->index, reader->heap, position, &buffer, reader->snapshot));
	}
	return buffer;
}

/* Adds what an index entry points to; false if there is no room for it. */
static bool
add_entry(LeafReader *reader, Page page, OffsetNumber offset, ScanDirection direction)
{
	LeafEntries *entries = reader->entries;
	ItemId item = PageGetItemId(page, offset);
	IndexTuple tuple = (IndexTuple) PageGetItem(page, item);
	bool posting = BTreeTupleIsPosting(tuple);
	int count = posting ? BTreeTupleGetNPosting(tuple) : 1;

	if (reader->trusts_dead && ItemIdIsDead(item))
		return true;
	if (count > reader->room)
		return false;
	for (int i = 0; i < count; i++)
		entries->tids[entries->count++] =
			posting ? *BTreeTupleGetPostingN(tuple, ScanDirectionIsForward(direction) ? i : count - 1 - i)
					: tuple->t_tid;
	reader->room -= count;
	return true;
}

/*
 * Reads a page from an offset to the right, as far as there is room; true if the range goes on
 * beyond the page. Looks for the range's end only among as many entries as there is room for.
 */
static bool
read_right(LeafReader *reader, Page page, OffsetNumber offset)
{
	OffsetNumber page_end = PageGetMaxOffsetNumber(page) + 1;
	OffsetNumber end = offset;
	OffsetNumber high = offset;

	while (end == high && high < page_end)
	{
		if (reader->room == 0)
			return false;
		high = Min(offset + reader->room, page_end);
		end = find_position(reader, &reader->upper, page, offset, high);
		for (; offset < end; offset++)
		{
			if (!add_entry(reader, page, offset, ForwardScanDirection))
				return false;
		}
	}
	reader->entries->complete = end < high || P_RIGHTMOST(compat_page_opaque(page));
	return !reader->entries->complete;
}

/* The same to the left. The offset is that behind the first entry to read. */
static bool
read_left(LeafReader *reader, Page page, OffsetNumber offset)
{
	OffsetNumber page_begin = P_FIRSTDATAKEY(compat_page_opaque(page));
	OffsetNumber begin = offset;
	OffsetNumber low = offset;

	while (begin == low && low > page_begin)
	{
		if (reader->room == 0)
			return false;
		low = offset - Min(offset - page_begin, reader->room);
		begin = find_position(reader, &reader->lower, page, low, offset);
		for (; offset > begin; offset--)
		{
			if (!add_entry(reader, page, offset - 1, BackwardScanDirection))
				return false;
		}
	}
	reader->entries->complete = begin > low || P_LEFTMOST(compat_page_opaque(page));
	return !reader->entries->complete;
}

/* Goes to the next page that is in use; invalid if there were too many. */
static Buffer
step_right(LeafReader *reader, Buffer buffer)
{
	BTPageOpaque opaque;

	do
	{
		if (reader->pages-- == 0)
		{
			_bt_relbuf(reader->index, buffer);
			return InvalidBuffer;
		}
		opaque = compat_page_opaque(BufferGetPage(buffer));
		buffer = _bt_relandgetbuf(reader->index, buffer, opaque->btpo_next, BT_READ);
		opaque = compat_page_opaque(BufferGetPage(buffer));
	} while (P_IGNORE(opaque) && !P_RIGHTMOST(opaque));
	return buffer;
}

/* Goes to the page to the left; invalid if it is no longer the neighbour, or there were too many. */
static Buffer
step_left(LeafReader *reader, Buffer buffer)
{
	BlockNumber block = BufferGetBlockNumber(buffer);
	BTPageOpaque opaque = compat_page_opaque(BufferGetPage(buffer));

	if (reader->pages-- == 0)
	{
		_bt_relbuf(reader->index, buffer);
		return InvalidBuffer;
	}
	/* Released before the other is locked: who splits a page locks from left to right. */
	buffer = _bt_relandgetbuf(reader->index, buffer, opaque->btpo_prev, BT_READ);
	opaque = compat_page_opaque(BufferGetPage(buffer));
	if (!P_IGNORE(opaque) && opaque->btpo_next == block)
		return buffer;
	_bt_relbuf(reader->index, buffer);
	return InvalidBuffer;
}

static void
read_pages_right(LeafReader *reader, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	OffsetNumber offset = P_FIRSTDATAKEY(compat_page_opaque(page));

	offset = find_position(reader, &reader->lower, page, offset, PageGetMaxOffsetNumber(page) + 1);
	PredicateLockPage(reader->index, BufferGetBlockNumber(buffer), reader->snapshot);
	while (read_right(reader, page, offset))
	{
		buffer = step_right(reader, buffer);
		if (!BufferIsValid(buffer))
			return;
		PredicateLockPage(reader->index, BufferGetBlockNumber(buffer), reader->snapshot);
		page = BufferGetPage(buffer);
		offset = P_FIRSTDATAKEY(compat_page_opaque(page));
	}
	_bt_relbuf(reader->index, buffer);
}

static void
read_pages_left(LeafReader *reader, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	OffsetNumber offset = P_FIRSTDATAKEY(compat_page_opaque(page));

	offset = find_position(reader, &reader->upper, page, offset, PageGetMaxOffsetNumber(page) + 1);
	PredicateLockPage(reader->index, BufferGetBlockNumber(buffer), reader->snapshot);
	while (read_left(reader, page, offset))
	{
		buffer = step_left(reader, buffer);
		if (!BufferIsValid(buffer))
			return;
		PredicateLockPage(reader->index, BufferGetBlockNumber(buffer), reader->snapshot);
		page = BufferGetPage(buffer);
		offset = PageGetMaxOffsetNumber(page) + 1;
	}
	_bt_relbuf(reader->index, buffer);
}

void
leaf_read(Relation heap, Relation index, const ScanKeyData *keys, int key_count, Snapshot snapshot,
          ScanDirection direction, int wanted, LeafEntries *entries)
{
	LeafReader reader;
	bool forward = ScanDirectionIsForward(direction);
	Buffer buffer;

	reader.heap = heap;
	reader.index = index;
	reader.snapshot = snapshot;
	reader.entries = entries;
	/* Room for some entries of row versions that are not visible. */
	reader.room = Min(wanted + wanted / 2 + 4, LEAF_MAX_TIDS);
	reader.pages = reader.room + MAX_EMPTY_PAGES;
	/* What is dead on a standby's primary need not be to a snapshot here. */
	reader.trusts_dead = !TransactionStartedDuringRecovery();
	set_position(&reader, &reader.lower, keys, key_count, BTGreaterStrategyNumber);
	set_position(&reader, &reader.upper, keys, key_count, BTLessStrategyNumber);
	entries->count = 0;
	entries->complete = false;

	pgstat_count_index_scan(index);
	buffer = descend(&reader, forward ? &reader.lower : &reader.upper);
	if (!BufferIsValid(buffer))
		entries->complete = true;
	else if (forward)
		read_pages_right(&reader, buffer);
	else
		read_pages_left(&reader, buffer);
}
