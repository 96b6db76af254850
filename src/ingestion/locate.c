/*
 * locate.c
 *		Finds where the files of a session are in their table, by id or by name.
 *
 * For the statements that register and finish files. The planner's statistics do not have a session that is newer than they are: it
 * expects a row or two, and plans to read a million files for each batch, or for each file. A TID that is found here costs one descent of
 * the right index.
 *
 * A TID is true for the statement that calls, under its snapshot: the row may be updated before the statement locks it, so the statement
 * checks again what it looks for.
 */
#include "compat.h"

#include "ingestion/locate.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "index/id_lookup.h"
#include "index/name_key.h"
#include "index/scan.h"
#include "ingestion/queue.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_locate_ids);
PG_FUNCTION_INFO_V1(session_files_locate_names);

/* Adds the TID of the session's visible file with a key, if there is one. */
static ArrayBuildState *
add_tid(ArrayBuildState *tids, Relation files, Oid index, Datum session_id, RegProcedure equals, Datum key)
{
	KeyScan scan;

	scan_init(&scan, files, index);
	scan_key_equal(&scan, 1, F_UUID_EQ, session_id);
	scan_key_equal(&scan, 2, equals, key);
	scan_begin(&scan, ForwardScanDirection, 1);
	if (scan_next(&scan))
		tids = accumArrayResult(tids, PointerGetDatum(&scan.slot->tts_tid), false, TIDOID, CurrentMemoryContext);
	scan_end(&scan);
	return tids;
}

/* Returns the greatest of some ids, at least one. */
static const pg_uuid_t *
last_of(const pg_uuid_t *ids, int count)
{
	const pg_uuid_t *last = &ids[0];

	for (int i = 1; i < count; i++)
	{
		if (uuid7_compare(&ids[i], last) > 0)
			last = &ids[i];
	}
	return last;
}

bool
locate_is_pending(const Catalog *catalog, TupleTableSlot *file, int64 generation)
{
	bool isnull;

	return DatumGetObjectId(slot_getattr(file, Anum_files_ingestion_status, &isnull)) ==
	           catalog->statuses[STATUS_PENDING] &&
	       DatumGetInt64(slot_getattr(file, Anum_files_generation, &isnull)) <= generation;
}

ArrayType *
locate_pending(Relation files, const pg_uuid_t *session_id, const pg_uuid_t *ids, int *count, int64 generation,
               pg_uuid_t *pending)
{
	const Catalog catalog = *catalog_get();
	ItemPointerData *tids = palloc(Max(*count, 1) * sizeof(ItemPointerData));
	Datum *values = palloc(Max(*count, 1) * sizeof(Datum));
	int found = 0;
	IdLookup lookup;

	if (*count > 0)
	{
		id_lookup_begin(&lookup, files, catalog.files_pkey, session_id, &ids[*count - 1]);
		for (int i = 0; i < *count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!id_lookup_find(&lookup, &ids[i]) || !locate_is_pending(&catalog, lookup.slot, generation))
				continue;
			pending[found] = ids[i];
			tids[found] = lookup.slot->tts_tid;
			values[found] = PointerGetDatum(&tids[found]);
			found++;
		}
		id_lookup_end(&lookup);
	}
	*count = found;
	return construct_array(values, found, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
}

/* SQL: session_files._locate_ids(session_id uuid, file_ingestion_ids uuid[]) returns tid[]. */
Datum
session_files_locate_ids(PG_FUNCTION_ARGS)
{
	Relation files = table_open(catalog_get()->files, AccessShareLock);
	const Catalog catalog = *catalog_get();
	int count;
	const pg_uuid_t *ids = queue_array_ids(PG_GETARG_ARRAYTYPE_P(1), &count);
	ItemPointerData *tids = palloc(Max(count, 1) * sizeof(ItemPointerData));
	Datum *values = palloc(Max(count, 1) * sizeof(Datum));
	int found = 0;
	IdLookup lookup;

	if (count > 0)
	{
		id_lookup_begin(&lookup, files, catalog.files_pkey, PG_GETARG_UUID_P(0), last_of(ids, count));
		for (int i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!id_lookup_find(&lookup, &ids[i]))
				continue;
			tids[found] = lookup.slot->tts_tid;
			values[found] = PointerGetDatum(&tids[found]);
			found++;
		}
		id_lookup_end(&lookup);
	}
	table_close(files, NoLock);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, found, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
}

/* SQL: session_files._locate_names(session_id uuid, names text[]) returns tid[]. */
Datum
session_files_locate_names(PG_FUNCTION_ARGS)
{
	Relation files = table_open(catalog_get()->files, AccessShareLock);
	const Catalog catalog = *catalog_get();
	ArrayBuildState *tids = initArrayResult(TIDOID, CurrentMemoryContext, false);
	Datum *names;
	bool *nulls;
	int count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		text *name;
		bytea *key;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		name = DatumGetTextPP(names[i]);
		key = name_key(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		tids = add_tid(tids, files, catalog.files_name_idx, PG_GETARG_DATUM(0), F_BYTEAEQ, PointerGetDatum(key));
		pfree(key);
	}
	table_close(files, NoLock);
	PG_RETURN_DATUM(makeArrayResult(tids, CurrentMemoryContext));
}
