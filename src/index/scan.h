/*
 * scan.h
 *		A scan of one of the extension's indexes under the active snapshot.
 */
#ifndef SESSION_FILES_SCAN_H
#define SESSION_FILES_SCAN_H

#include "compat.h"

#include "access/relscan.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "storage/buf.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "index/leaf.h"

#define SCAN_MAX_KEYS 4

typedef struct KeyScan
{
	Relation heap;
	Relation index;
	ScanKeyData keys[SCAN_MAX_KEYS];
	int key_count;
	ScanKeyData row_members[SCAN_MAX_KEYS][2]; /* of keys that compare rows */
	ScanDirection direction;
	bool keeps_tuples;    /* an index scan keeps its current index tuple: for scan_skip and scan_index_value */
	TupleTableSlot *slot; /* the current row, when has_row */
	bool has_row;
	/* The first index tuples, unless keeps_tuples. */
	LeafTids first;
	int first_next;
	IndexFetchTableData *fetch;
	int rows_read;
	int dead_passed; /* dead index tuples before the last row that was read */
	int dead_seen;   /* and with those after it */
	/* The index scan: for the rest, or, with keeps_tuples, for all. */
	IndexScanDesc desc;
	Buffer visibility_map;
	IndexTuple last_tuple; /* the index tuple of its last row, and its page */
	BlockNumber last_page;
} KeyScan;

/* Prepares a scan of an open table by one of its indexes, and opens the index. */
extern void scan_init(KeyScan *scan, Relation heap, Oid index);

/*
 * Prepares and starts a scan for the row with an id, the first column of the index, and goes to the row; false if there is none.
 * scan_end has to follow in either case.
 */
extern bool scan_find(KeyScan *scan, Relation heap, Oid index, const pg_uuid_t *id);

/* Adds the condition "index column = value". proc is the type's equality. */
extern void scan_key_equal(KeyScan *scan, AttrNumber column, RegProcedure proc, Datum value);

/* Adds "index column > value", or <, by the strategy. proc is the type's operator. */
extern void scan_key_beyond(KeyScan *scan, AttrNumber column, StrategyNumber strategy, RegProcedure proc, Datum value);

/* Adds "(column, column + 1) > (label, id)", or <, for an enum label and a UUID. */
extern void scan_key_row_beyond(KeyScan *scan, AttrNumber column, StrategyNumber strategy, Datum label, Datum id);

/* Starts the scan for about so many rows. 0: for any number, with keeps_tuples. */
extern void scan_begin(KeyScan *scan, ScanDirection direction, int wanted);

/* Goes to the next row; false at the end. */
extern bool scan_next(KeyScan *scan);

/*
 * Goes to the next index tuple of a visible row; false at the end. With keeps_tuples the row is read, and has_row set, only where the
 * visibility map does not say that it is visible.
 */
extern bool scan_skip(KeyScan *scan);

/* Reads the row of the current index tuple, after scan_skip. */
extern void scan_read_row(KeyScan *scan);

/* Returns a column of the current row; it must not be null. */
extern Datum scan_value(KeyScan *scan, int column);

/* Returns a column of the current index tuple; it must not be null. */
extern Datum scan_index_value(KeyScan *scan, int column);

/* Ends the scan and closes the index. Safe for one that was only prepared. */
extern void scan_end(KeyScan *scan);

#endif
