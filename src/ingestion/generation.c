/*
 * generation.c
 *		The trigger that gives a file a new generation when it becomes PENDING.
 *
 * A generation is a number from a sequence, which no other file has or had. A file gets one when it is inserted, when it becomes PENDING
 * again, and when it is PENDING and gets another key. Then queue rows and leases of a smaller generation are void for it. No other UPDATE
 * changes it: what a statement sets is undone.
 *
 * That an UPDATE draws the number here, and not sooner, is what claims rely on (batch.c). The file is locked then. And the row version that
 * was PENDING under this key before was updated or deleted before this trigger fired: by this transaction, or by one that has committed.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"

#include "catalog.h"
#include "trigger.h"

PG_FUNCTION_INFO_V1(session_files_set_generation);

/* Returns a column, or 0 for NULL: NOT NULL constraints are checked only after this trigger. */
static Datum
value_of(const TriggerData *data, HeapTuple row, int column)
{
	bool isnull;

	return heap_getattr(row, column, RelationGetDescr(data->tg_relation), &isnull);
}

static bool
differs(const TriggerData *data, int column)
{
	Datum new_value = value_of(data, data->tg_newtuple, column);

	return new_value == (Datum) 0 ||
	       DatumGetBool(DirectFunctionCall2(uuid_ne, value_of(data, data->tg_trigtuple, column), new_value));
}

/* Returns whether an UPDATE makes a file PENDING, or gives a PENDING one another key. */
static bool
becomes_pending(const TriggerData *data, Oid pending)
{
	return DatumGetObjectId(value_of(data, data->tg_newtuple, Anum_files_ingestion_status)) == pending &&
	       (DatumGetObjectId(value_of(data, data->tg_trigtuple, Anum_files_ingestion_status)) != pending ||
	        differs(data, Anum_files_session_id) || differs(data, Anum_files_file_ingestion_id));
}

/* SQL: session_files._set_generation(), trigger. */
Datum
session_files_set_generation(PG_FUNCTION_ARGS)
{
	const Catalog *catalog = catalog_get();
	TriggerData *data = trigger_data(fcinfo, TRIGGER_BEFORE_ROWS, catalog->files, InvalidOid);
	int column = Anum_files_generation;
	bool isnull = false;
	Datum generation;

	if (becomes_pending(data, catalog->statuses[STATUS_PENDING]))
		generation = Int64GetDatum(nextval_internal(catalog->files_generation_seq, false));
	else
		generation = value_of(data, data->tg_trigtuple, column);
	return PointerGetDatum(heap_modify_tuple_by_cols(data->tg_newtuple, RelationGetDescr(data->tg_relation), 1, &column,
	                                                 &generation, &isnull));
}
