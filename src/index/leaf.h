/*
 * leaf.h
 *		The first entries of a range of a btree index, from its leaf pages.
 */
#ifndef SESSION_FILES_LEAF_H
#define SESSION_FILES_LEAF_H

#include "compat.h"

#include "access/sdir.h"
#include "access/skey.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* A page of a listing takes 101 entries at most. */
#define LEAF_MAX_TIDS 256

typedef struct LeafEntries
{
	ItemPointerData tids[LEAF_MAX_TIDS];
	int count;
	bool complete; /* the range has no more */
} LeafEntries;

/*
 * Reads the first entries, in a direction, of the range that scan keys select. Keys are as for
 * index_rescan: equalities on the first columns, then at most one "greater" and one "less" on what
 * follows; no nulls. Stops at about `wanted` entries, behind many pages that have none, or where it
 * would have to wait for a concurrent change of the index; then `complete` is false, and an index scan has to do the rest. Of a row,
 * there may be entries of versions that the snapshot does not see.
 */
extern void leaf_read(Relation heap, Relation index, const ScanKeyData *keys, int key_count, Snapshot snapshot,
                      ScanDirection direction, int wanted, LeafEntries *entries);

#endif
