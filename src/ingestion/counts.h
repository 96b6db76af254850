/*
 * counts.h
 *		How many files a session has of each status, and a digest of what they are.
 */
#ifndef SESSION_FILES_COUNTS_H
#define SESSION_FILES_COUNTS_H

#include "compat.h"

#include "access/relscan.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "catalog.h"

/* With more slots than this, a writer merges those that are free. */
#define COUNTS_MAX_SLOTS 32

typedef struct Counts
{
	int64 by_status[STATUS_COUNT];
	uint64 digest; /* equal for equal files, as digest.c says */
	int slots;     /* rows that were summed up */
	bool marked;   /* one of them is a mark (notify.c) */
} Counts;

/* Sums up a session's counts as the active snapshot sees them; file_counts is open. */
extern void counts_read(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id, Counts *counts);

/* A walk over the slots of a session: of each, the row version that a snapshot shows. */
typedef struct SlotWalk
{
	TupleTableSlot *row; /* the current one */
	int64 number;        /* its slot, if there was any yet */
	bool has_number;
	int passed; /* index tuples of older versions of it, so far */
	Relation index;
	IndexScanDesc scan;
	ScanKeyData keys[2];
} SlotWalk;

/*
 * Starts a walk over the slots before a number, in descending order; marks come last. The snapshot need not be an MVCC snapshot.
 */
extern void counts_begin_walk(SlotWalk *walk, const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id,
                              Snapshot snapshot, int64 end);

/* Goes to the next slot; false at the end. */
extern bool counts_walk(SlotWalk *walk);

extern void counts_end_walk(SlotWalk *walk);

#endif
