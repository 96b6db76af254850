/*
 * id_lookup.c
 *		Finds files of a session by their ids, one after the other.
 *
 * It is for batches. The index tuples of a hundred files that were registered together mostly stand side by side: to walk over them takes
 * a tenth of the time of a hundred descents of the index. Where they do not, the walk ends after a few index tuples, and the next file is
 * found by a descent.
 *
 * Rows are those that the active snapshot of id_lookup_begin sees.
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

/* How many index tuples are walked over before a descent. */
#define MAX_PASSED 10

#define KEY_COUNT 3
#define LOWER_BOUND 1 /* among the keys */

void
id_lookup_begin(IdLookup *lookup, Relation files, Oid pkey, const pg_uuid_t *session_id, const pg_uuid_t *last_id)
{
	lookup->index = catalog_open_index(pkey, AccessShareLock);
	lookup->slot = table_slot_create(files, NULL);
	lookup->at_tuple = false;
	lookup->has_last_wanted = false;
	ScanKeyInit(&lookup->keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session_id));
	ScanKeyInit(&lookup->keys[2], 2, BTLessEqualStrategyNumber, F_UUID_LE, UUIDPGetDatum(last_id));
	lookup->desc = compat_index_beginscan(files, lookup->index, GetActiveSnapshot(), KEY_COUNT);
	lookup->desc->xs_want_itup = true;
}

/* Goes to the next index tuple, if there is one. */
static void
go_on(IdLookup *lookup)
{
	CHECK_FOR_INTERRUPTS();
	lookup->at_tuple = index_getnext_tid(lookup->desc, ForwardScanDirection) != NULL;
	if (lookup->at_tuple)
	{
		bool isnull;
		Datum id = index_getattr(lookup->desc->xs_itup, 2, lookup->desc->xs_itupdesc, &isnull);

		Assert(!isnull);
		lookup->tuple_id = *DatumGetUUIDP(id);
	}
}

/* Goes to the first index tuple whose id is not less than an id. */
static void
descend(IdLookup *lookup, const pg_uuid_t *id)
{
	ScanKeyInit(&lookup->keys[LOWER_BOUND], 2, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(id));
	index_rescan(lookup->desc, lookup->keys, KEY_COUNT, NULL, 0);
	go_on(lookup);
}

bool
id_lookup_find(IdLookup *lookup, const pg_uuid_t *id)
{
	bool is_ahead = lookup->has_last_wanted && uuid7_compare(id, &lookup->last_wanted) > 0;

	lookup->last_wanted = *id;
	lookup->has_last_wanted = true;
	if (!is_ahead)
		descend(lookup, &lookup->last_wanted);
	for (int passed = 0; lookup->at_tuple && uuid7_compare(&lookup->tuple_id, id) < 0; passed++)
	{
		if (passed < MAX_PASSED)
			go_on(lookup);
		else
			descend(lookup, &lookup->last_wanted);
	}
	/* A file has an index tuple per row version. */
	while (lookup->at_tuple && uuid7_compare(&lookup->tuple_id, id) == 0)
	{
		if (index_fetch_heap(lookup->desc, lookup->slot))
			return true;
		go_on(lookup);
	}
	return false;
}

void
id_lookup_end(IdLookup *lookup)
{
	index_endscan(lookup->desc);
	ExecDropSingleTupleTableSlot(lookup->slot);
	index_close(lookup->index, NoLock);
}
