/*
 * derive_columns.c
 *		The trigger that sets what follows from the other columns of a file's row, before it is written.
 *
 * A new file whose name is too long is FAILED: that is a fact to report, not an error.
 *
 * A generation is a number from a sequence, which no other file has or had. A file gets one when it is inserted, when it becomes PENDING
 * again, and when it is PENDING and gets another key. Then queue rows and leases of a smaller generation are void for it. No other UPDATE
 * changes it: what a statement sets is undone. That an UPDATE draws the number here, and not sooner, is what claims rely on (batch.c). The
 * file is locked then. And the row version that was PENDING under this key before was updated or deleted before this trigger fired: by this
 * transaction, or by one that has committed.
 *
 * A FINISHED file that is not superseded has a hash of its name. If it was not FINISHED before, the write mode of its session applies
 * (write_mode.c). Not on INSERT: a dump has the files as they are.
 *
 * NOT NULL constraints are checked only after this trigger.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog.h"
#include "ingestion/write_mode.h"
#include "trigger.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_derive_columns);

#define MAX_NAME_CHARACTERS 800

/* The columns that the trigger sets or reads are the first of the table. */
#define LAST_COLUMN Anum_files_superseded_by

/* A row that is about to be written. */
typedef struct NewRow
{
	const TriggerData *data;
	Catalog catalog;
	TupleTableSlot *old; /* NULL for an INSERT */
	TupleTableSlot *row;
	int count; /* of the columns that change */
	int columns[LAST_COLUMN];
	Datum values[LAST_COLUMN];
	bool nulls[LAST_COLUMN];
} NewRow;

static Datum
value_of(const TupleTableSlot *row, int column)
{
	return row->tts_values[column - 1];
}

static bool
is_null(const TupleTableSlot *row, int column)
{
	return row->tts_isnull[column - 1];
}

static bool
has_status(const NewRow *new, const TupleTableSlot *row, IngestionStatus status)
{
	return !is_null(row, Anum_files_ingestion_status) &&
	       DatumGetObjectId(value_of(row, Anum_files_ingestion_status)) == new->catalog.statuses[status];
}

static void
set(NewRow *new, int column, Datum value)
{
	new->columns[new->count] = column;
	new->nulls[new->count] = false;
	new->values[new->count++] = value;
}

static void
set_null(NewRow *new, int column)
{
	if (is_null(new->row, column))
		return;
	set(new, column, (Datum) 0);
	new->nulls[new->count - 1] = true;
}

static void
set_failed(NewRow *new, int reason)
{
	set(new, Anum_files_ingestion_status, ObjectIdGetDatum(new->catalog.statuses[STATUS_FAILED]));
	set(new, Anum_files_ingestion_status_reason, ObjectIdGetDatum(new->catalog.reasons[reason]));
}

static bool
is_too_long(Datum name)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(name);

	return VARSIZE_ANY_EXHDR(text) > MAX_NAME_CHARACTERS &&
	       pg_mbstrlen_with_len(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text)) > MAX_NAME_CHARACTERS;
}

/* Returns whether an UPDATE gives a file another id or session. */
static bool
moves(const NewRow *new, int column)
{
	return is_null(new->row, column) ||
	       uuid7_compare(DatumGetUUIDP(value_of(new->old, column)), DatumGetUUIDP(value_of(new->row, column))) != 0;
}

/* Returns whether an UPDATE makes a file PENDING, or gives a PENDING one another key. */
static bool
becomes_pending(const NewRow *new)
{
	return has_status(new, new->row, STATUS_PENDING) &&
	       (!has_status(new, new->old, STATUS_PENDING) || moves(new, Anum_files_session_id) ||
	        moves(new, Anum_files_file_ingestion_id));
}

static void
derive_generation(NewRow *new)
{
	Datum before = value_of(new->old, Anum_files_generation);

	if (becomes_pending(new))
		set(new, Anum_files_generation, Int64GetDatum(nextval_internal(new->catalog.files_generation_seq, false)));
	else if (is_null(new->row, Anum_files_generation) ||
	         DatumGetInt64(value_of(new->row, Anum_files_generation)) != DatumGetInt64(before))
		set(new, Anum_files_generation, before);
}

/* Sets the hash of a name that the workspace has from now on. */
static void
derive_name_hash(NewRow *new, FmgrInfo *function, bool is_finishing)
{
	FinishedFile file = {.session_id = DatumGetUUIDP(value_of(new->row, Anum_files_session_id)),
	                     .id = DatumGetUUIDP(value_of(new->row, Anum_files_file_ingestion_id)),
	                     .name = DatumGetTextPP(value_of(new->row, Anum_files_name))};

	write_mode_hash(&file, function);
	if (is_finishing && !write_mode_apply(&file, new->data->tg_relation))
	{
		set_failed(new, REASON_ALREADY_EXISTS);
		set_null(new, Anum_files_name_hash);
	}
	else if (is_null(new->row, Anum_files_name_hash) ||
	         DatumGetInt64(value_of(new->row, Anum_files_name_hash)) != file.name_hash)
		set(new, Anum_files_name_hash, Int64GetDatum(file.name_hash));
}

/* Sets what depends on whether the workspace has a file. */
static void
derive_from_status(NewRow *new, FmgrInfo *function)
{
	bool is_finished = has_status(new, new->row, STATUS_FINISHED);
	bool is_finishing = is_finished && new->old != NULL && !has_status(new, new->old, STATUS_FINISHED);

	if (is_finishing)
		set_null(new, Anum_files_superseded_by);
	if (is_finished && (is_finishing || is_null(new->row, Anum_files_superseded_by)))
		derive_name_hash(new, function, is_finishing);
	else
		set_null(new, Anum_files_name_hash);
}

static bool
has_nulls(const TupleTableSlot *row)
{
	return is_null(row, Anum_files_session_id) || is_null(row, Anum_files_file_ingestion_id) ||
	       is_null(row, Anum_files_name);
}

/* SQL: session_files._derive_columns(), trigger. */
Datum
session_files_derive_columns(PG_FUNCTION_ARGS)
{
	NewRow new = {.catalog = *catalog_get()};
	TriggerData *data = trigger_data(fcinfo, TRIGGER_BEFORE_ROWS, new.catalog.files, InvalidOid);
	bool is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple row = is_update ? data->tg_newtuple : data->tg_trigtuple;

	new.data = data;
	new.row = is_update ? data->tg_newslot : data->tg_trigslot;
	slot_getsomeattrs(new.row, LAST_COLUMN);
	if (is_update)
	{
		new.old = data->tg_trigslot;
		slot_getsomeattrs(new.old, LAST_COLUMN);
		derive_generation(&new);
	}
	if (!is_update && !is_null(new.row, Anum_files_name) && is_too_long(value_of(new.row, Anum_files_name)))
		set_failed(&new, REASON_NAME_TOO_LONG);
	else if (!has_nulls(new.row))
		derive_from_status(&new, fcinfo->flinfo);
	if (new.count > 0)
		row = heap_modify_tuple_by_cols(row, RelationGetDescr(data->tg_relation), new.count, new.columns, new.values,
		                                new.nulls);
	return PointerGetDatum(row);
}
