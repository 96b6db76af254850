/*
 * counts.c
 *		Reads how many files a session has of each status, and the digest of its files.
 *
 * Sums up the session's slots, the rows of file_counts (count_changes.c). All of them are read under one snapshot, the active one: so
 * the sums are those of the files that the same snapshot shows.
 */
#include "compat.h"

#include "ingestion/counts.h"

#include "utils/fmgroids.h"

#include "index/scan.h"

void
counts_read(const Catalog *catalog, Relation file_counts, const pg_uuid_t *session_id, Counts *counts)
{
	KeyScan scan;

	memset(counts, 0, sizeof(Counts));
	scan_init(&scan, file_counts, catalog->file_counts_pkey);
	scan_key_equal(&scan, 1, F_UUID_EQ, UUIDPGetDatum(session_id));
	scan_begin(&scan, ForwardScanDirection, COUNTS_MAX_SLOTS);
	while (scan_next(&scan))
	{
		/* The last column first: the row is deformed up to it, for all of them. */
		counts->digest ^= (uint64) DatumGetInt64(scan_value(&scan, Anum_file_counts_digest));
		for (int status = 0; status < STATUS_COUNT; status++)
			counts->by_status[status] += DatumGetInt64(scan_value(&scan, Anum_file_counts_first_status + status));
		counts->slots++;
	}
	scan_end(&scan);
}
