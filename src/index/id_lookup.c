/*
 * id_lookup.c
 *		Finds files of a session by id, one after the other.
 *
 * For batches. A descent of the index for each of a hundred ids takes ten times as long as a walk over
 * the hundred entries, which mostly stand side by side, as their files were registered together.
 * Where they do not, the walk gives up after a few entries and descends.
 */
#include "compat.h"

#include "index/id_lookup.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "uuid7.h"

/* So many entries are walked over before another descent. */
#define MAX_PASSED 10

#define KEY_COUNT 3
#define LOWER_BOUND 1 /* among the keys */

void
seek_begin(Seek *seek, Relation files, Oid pkey, const pg_uuid_t *session_id, const pg_uuid_t *last_id)
{
	seek->index = catalog_open_index(pkey, AccessShareLock);
	seek->slot = table_slot_create(files, NULL);
	seek->at_entry = false;
	seek->has_sought = false;
	ScanKeyInit(&seek->keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session_id));
	ScanKeyInit(&seek->keys[2], 2, BTLessEqualStrategyNumber, F_UUID_LE, UUIDPGetDatum(last_id));
	seek->desc = compat_index_beginscan(files, seek->index, GetActiveSnapshot(), KEY_COUNT);
	seek->desc->xs_want_itup = true;
}

/* Goes to the next entry, if there is one. */
static void
go_on(Seek *seek)
{
	CHECK_FOR_INTERRUPTS();
	seek->at_entry = index_getnext_tid(seek->desc, ForwardScanDirection) != NULL;
	if (seek->at_entry)
	{
		bool isnull;
		Datum id = index_getattr(seek->desc->xs_itup, 2, seek->desc->xs_itupdesc, &isnull);

		Assert(!isnull);
		seek->entry_id = *DatumGetUUIDP(id);
	}
}

/* Goes to the first entry that does not come before an id. */
static void
descend(Seek *seek, const pg_uuid_t *id)
{
	ScanKeyInit(&seek->keys[LOWER_BOUND], 2, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(id));
	index_rescan(seek->desc, seek->keys, KEY_COUNT, NULL, 0);
	go_on(seek);
}

bool
seek_file(Seek *seek, const pg_uuid_t *id)
{
	bool is_ahead = seek->has_sought && uuid7_compare(id, &seek->sought) > 0;

	seek->sought = *id;
	seek->has_sought = true;
	if (!is_ahead)
		descend(seek, &seek->sought);
	for (int passed = 0; seek->at_entry && uuid7_compare(&seek->entry_id, id) < 0; passed++)
	{
		if (passed < MAX_PASSED)
			go_on(seek);
		else
			descend(seek, &seek->sought);
	}
	/* A file has an entry per version. */
	while (seek->at_entry && uuid7_compare(&seek->entry_id, id) == 0)
	{
		if (index_fetch_heap(seek->desc, seek->slot))
			return true;
		go_on(seek);
	}
	return false;
}

void
seek_end(Seek *seek)
{
	index_endscan(seek->desc);
	ExecDropSingleTupleTableSlot(seek->slot);
	index_close(seek->index, NoLock);
}
