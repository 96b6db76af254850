/*
 * leaf.h
 *		The first index tuples of a range of a btree index, from its leaf pages.
 */
#ifndef SESSION_FILES_LEAF_H
#define SESSION_FILES_LEAF_H

#include "compat.h"

#include "access/sdir.h"
#include "access/skey.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* A page of a listing needs 101 at most. */
#define LEAF_MAX_TIDS 256

typedef struct LeafTids
{
	ItemPointerData tids[LEAF_MAX_TIDS];
	bool same_key[LEAF_MAX_TIDS]; /* as the TID before; it may be missing between index tuples */
	bool compares;                /* index tuples too, not only the TIDs of one; set by the caller */
	int count;
	bool complete; /* the range has no more index tuples */
} LeafTids;

/*
 * Reads the TIDs of the first index tuples, in a direction, of the range that scan keys select. Keys are as for index_rescan: equalities
 * on the first columns, then at most one "greater" and one "less" on the next column or columns; no nulls.
 *
 * TIDs with the same key are of versions of one row, as all of the extension's indexes have a key that identifies the row. Within an index
 * tuple the greatest comes first, which mostly is the newest.
 *
 * Stops after about `wanted` TIDs, after many pages without a match, or where a concurrent change of the index is in the way. Then
 * `complete` is false, and an index scan has to read the rest. Some TIDs may point to row versions that the snapshot does not see.
 */
extern void leaf_read(Relation heap, Relation index, const ScanKeyData *keys, int key_count, Snapshot snapshot,
                      ScanDirection direction, int wanted, LeafTids *found);

#endif
