/*
 * locate.c
 *		Where the files of a session are in their table, by id or by name.
 *
 * For the statements that register and finish files. The planner knows nothing of a session that is
 * newer than its statistics; it takes it for a row or two, and goes through a million files for each
 * batch, or for each file. A place found here costs one descent of the right index.
 */
#include "compat.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "access.h"
#include "catalog.h"
#include "index/id_lookup.h"
#include "index/name_key.h"
#include "index/scan.h"
#include "ingestion/queue.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_locate_ids);
PG_FUNCTION_INFO_V1(session_files_locate_names);

/* Opens the files for a caller who may read them. */
static Relation
open_files(void)
{
	Relation files = table_open(catalog_get()->files, AccessShareLock);
	AclResult acl = pg_class_aclcheck(RelationGetRelid(files), GetUserId(), ACL_SELECT);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, RelationGetRelationName(files));
	return files;
}

/*
 * Tells whether the caller may see a session. The statement that has called has policies of its own,
 * but what is not found must not differ from what may not be seen.
 */
static bool
may_see(const pg_uuid_t *session_id)
{
	Relation upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	const Catalog catalog = *catalog_get();
	Access access;
	bool may_see;

	access_begin(&access, &catalog, upload_sessions);
	may_see = access_may_see_id(&access, session_id);
	table_close(upload_sessions, NoLock);
	return may_see;
}

/* Adds the place of the session's visible file with a key, if there is one. */
static ArrayBuildState *
add_place(ArrayBuildState *places, Relation files, Oid index, Datum session_id, RegProcedure equals, Datum key)
{
	KeyScan scan;

	scan_init(&scan, files, index);
	scan_key_equal(&scan, 1, F_UUID_EQ, session_id);
	scan_key_equal(&scan, 2, equals, key);
	scan_begin(&scan, ForwardScanDirection, 1);
	if (scan_next(&scan))
		places = accumArrayResult(places, PointerGetDatum(&scan.slot->tts_tid), false, TIDOID, CurrentMemoryContext);
	scan_end(&scan);
	return places;
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

/* SQL: session_files.locate_ids(session_id uuid, file_ingestion_ids uuid[]) returns tid[]. */
Datum
session_files_locate_ids(PG_FUNCTION_ARGS)
{
	Relation files = open_files();
	const Catalog catalog = *catalog_get();
	int count;
	const pg_uuid_t *ids = queue_array_ids(PG_GETARG_ARRAYTYPE_P(1), &count);
	ItemPointerData *places = palloc(Max(count, 1) * sizeof(ItemPointerData));
	Datum *values = palloc(Max(count, 1) * sizeof(Datum));
	int found = 0;
	Seek seek;

	if (count > 0 && may_see(PG_GETARG_UUID_P(0)))
	{
		seek_begin(&seek, files, catalog.files_pkey, PG_GETARG_UUID_P(0), last_of(ids, count));
		for (int i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!seek_file(&seek, &ids[i]))
				continue;
			places[found] = seek.slot->tts_tid;
			values[found] = PointerGetDatum(&places[found]);
			found++;
		}
		seek_end(&seek);
	}
	table_close(files, NoLock);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, found, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
}

/* SQL: session_files.locate_names(session_id uuid, names text[]) returns tid[]. */
Datum
session_files_locate_names(PG_FUNCTION_ARGS)
{
	Relation files = open_files();
	const Catalog catalog = *catalog_get();
	ArrayBuildState *places = initArrayResult(TIDOID, CurrentMemoryContext, false);
	Datum *names;
	bool *nulls;
	int count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &count);
	if (!may_see(PG_GETARG_UUID_P(0)))
		count = 0;
	for (int i = 0; i < count; i++)
	{
		text *name;
		bytea *key;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		name = DatumGetTextPP(names[i]);
		key = name_key(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		places = add_place(places, files, catalog.files_name_idx, PG_GETARG_DATUM(0), F_BYTEAEQ, PointerGetDatum(key));
		pfree(key);
	}
	table_close(files, NoLock);
	PG_RETURN_DATUM(makeArrayResult(places, CurrentMemoryContext));
}
