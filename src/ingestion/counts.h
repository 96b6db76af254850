/*
 * counts.h
 *		How many files a session has of each status, and a digest of what they are.
 */
#ifndef SESSION_FILES_COUNTS_H
#define SESSION_FILES_COUNTS_H

#include "compat.h"

#include "catalog.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

/* With more slots than this, a writer merges those that are free. */
#define COUNTS_MAX_SLOTS 32

typedef struct Counts
{
	int64 by_status[STATUS_COUNT];
	uint64 digest; /* equal for equal files, as digest.c says */
	int slots;     /* rows that were summed up */
} Counts;

/* Sums up a session's counts as the active snapshot sees them; file_counts is open. */
extern void counts_read(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id, Counts *counts);

#endif
