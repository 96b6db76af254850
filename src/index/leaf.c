/*
 * leaf.c
 *		The first index tuples of a range of a btree index, from its leaf pages.
 *
 * An index scan copies all index tuples of a leaf page that are in range, some hundreds, and compares each, to return ten. That took up
 * to half of a listing, and made its cost depend on where in a page a cursor stands. This file copies only as many as are wanted, and
 * compares only to find where the range ends on a page.
 *
 * It has no truth of its own: it returns TIDs, whose rows the caller checks under its MVCC snapshot. README.md has the rules for reading
 * leaf pages, and how they compare with nbtree's.
 */
#include "compat.h"

#include "index/leaf.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/rel.h"

/* How many pages without a match are read at most. */
#define MAX_EMPTY_PAGES 16

typedef struct LeafReader
{
	Relation heap;
	Relation index;
	Snapshot snapshot;
	BTScanInsertData lower; /* the range lies between these two positions */
	BTScanInsertData upper;
	bool trusts_dead; /* LP_DEAD holds for the snapshot too */
	int room;         /* how many more index tuples are wanted */
	int pages;        /* how many more pages may be read */
	IndexTuple last;  /* of this page, the one that was added last; NULL at its start */
	LeafTids *found;
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
 * Makes a position from the equalities and from the keys with the strategy of this side. It is before the first index tuple that is
 * not less than its values or, with nextkey, before the first that is greater.
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

/* Returns whether an index tuple is before a position. */
static bool
is_before(LeafReader *reader, BTScanInsert position, Page page, OffsetNumber offset)
{
	return _bt_compare(reader->index, position, page, offset) >= (position->nextkey ? 0 : 1);
}

/* Returns the first offset, from low to high - 1, that is not before a position, or high. */
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

/* Finds and locks the leaf page that a position is on. Invalid if the index is empty. */
static Buffer
descend(LeafReader *reader, BTScanInsert position)
{
	Buffer buffer;
	BTStack stack = compat_bt_search(reader->index, reader->heap, position, &buffer, reader->snapshot);

	_bt_freestack(stack);
	if (!BufferIsValid(buffer))
	{
		/* No page can have a predicate lock that would conflict with the first insertion: so the relation gets one. */
		PredicateLockRelation(reader->index, reader->snapshot);
		if (IsolationIsSerializable())
			_bt_freestack(compat_bt_search(reader->index, reader->heap, position, &buffer, reader->snapshot));
	}
	return buffer;
}

/* Returns whether an index tuple has the key of the one that was added before, by its bytes. A posting list follows its key. */
static bool
has_last_key(const LeafReader *reader, IndexTuple tuple)
{
	IndexTuple last = reader->last;
	Size size = BTreeTupleIsPosting(tuple) ? BTreeTupleGetPostingOffset(tuple) : IndexTupleSize(tuple);

	return last != NULL &&
	       size == (BTreeTupleIsPosting(last) ? BTreeTupleGetPostingOffset(last) : IndexTupleSize(last)) &&
	       memcmp(tuple + 1, last + 1, size - sizeof(IndexTupleData)) == 0;
}

/* Adds the TIDs of an index tuple, the greatest first; false if they do not fit. */
static bool
add_tuple(LeafReader *reader, Page page, OffsetNumber offset)
{
	LeafTids *found = reader->found;
	ItemId item = PageGetItemId(page, offset);
	IndexTuple tuple = (IndexTuple) PageGetItem(page, item);
	bool posting = BTreeTupleIsPosting(tuple);
	int count = posting ? BTreeTupleGetNPosting(tuple) : 1;

	if (reader->trusts_dead && ItemIdIsDead(item))
		return true;
	if (count > LEAF_MAX_TIDS - found->count)
		return false;
	for (int i = 0; i < count; i++)
	{
		found->same_key[found->count] = i > 0 || (found->compares && has_last_key(reader, tuple));
		found->tids[found->count++] = posting ? *BTreeTupleGetPostingN(tuple, count - 1 - i) : tuple->t_tid;
	}
	reader->last = tuple;
	reader->room--;
	return true;
}

/*
 * Reads a page from an offset to the right, as far as there is room. Returns true if the range may go on beyond the page. Looks for the
 * end of the range only among as many index tuples as there is room for.
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
			if (!add_tuple(reader, page, offset))
				return false;
		}
	}
	reader->found->complete = end < high || P_RIGHTMOST(compat_page_opaque(page));
	return !reader->found->complete;
}

/* As read_right, to the left. The offset is one more than that of the first index tuple to read. */
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
			if (!add_tuple(reader, page, offset - 1))
				return false;
		}
	}
	reader->found->complete = begin > low || P_LEFTMOST(compat_page_opaque(page));
	return !reader->found->complete;
}

/* Goes to the next page to the right that is in use; invalid if too many were read. */
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
		reader->last = NULL;
	} while (P_IGNORE(opaque) && !P_RIGHTMOST(opaque));
	return buffer;
}

/* Goes to the page to the left; invalid if it is not the neighbour any more, or too many were read. */
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
	/* This page is released before the other is locked: a page split locks from left to right. */
	buffer = _bt_relandgetbuf(reader->index, buffer, opaque->btpo_prev, BT_READ);
	opaque = compat_page_opaque(BufferGetPage(buffer));
	reader->last = NULL;
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
          ScanDirection direction, int wanted, LeafTids *found)
{
	LeafReader reader;
	bool forward = ScanDirectionIsForward(direction);
	Buffer buffer;

	reader.heap = heap;
	reader.index = index;
	reader.snapshot = snapshot;
	reader.found = found;
	reader.last = NULL;
	/* Some more than wanted, as row versions may be invisible. */
	reader.room = Min(wanted + wanted / 2 + 4, LEAF_MAX_TIDS);
	reader.pages = reader.room + MAX_EMPTY_PAGES;
	/* On a standby, LP_DEAD came from the primary, and a snapshot here may still see the row. */
	reader.trusts_dead = !TransactionStartedDuringRecovery();
	set_position(&reader, &reader.lower, keys, key_count, BTGreaterStrategyNumber);
	set_position(&reader, &reader.upper, keys, key_count, BTLessStrategyNumber);
	found->count = 0;
	found->complete = false;

	pgstat_count_index_scan(index);
	buffer = descend(&reader, forward ? &reader.lower : &reader.upper);
	if (!BufferIsValid(buffer))
		found->complete = true;
	else if (forward)
		read_pages_right(&reader, buffer);
	else
		read_pages_left(&reader, buffer);
}
