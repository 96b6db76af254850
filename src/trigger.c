/*
 * trigger.c
 *		What the extension's trigger functions have in common: how they were called, and the rows of a statement.
 */
#include "compat.h"

#include "trigger.h"

#include "executor/executor.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

static TriggerLevel
level_of(const TriggerData *data)
{
	if (TRIGGER_FIRED_AFTER(data->tg_event))
		return TRIGGER_FIRED_FOR_ROW(data->tg_event) ? TRIGGER_ROWS : TRIGGER_STATEMENTS;
	return TRIGGER_BEFORE_ROWS;
}

TriggerData *
trigger_data(FunctionCallInfo fcinfo, TriggerLevel levels, Oid table, Oid other_table)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || (levels & level_of(data)) == 0 ||
	    (RelationGetRelid(data->tg_relation) != table && RelationGetRelid(data->tg_relation) != other_table))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		                errmsg("function is only for the triggers of the extension session_files")));
	return data;
}

TupleTableSlot *
trigger_begin_rows(const TriggerData *data, Tuplestorestate *rows)
{
	/* A read pointer of its own: other triggers may read the same rows. */
	tuplestore_select_read_pointer(rows, tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND));
	tuplestore_rescan(rows);
	return MakeSingleTupleTableSlot(RelationGetDescr(data->tg_relation), &TTSOpsMinimalTuple);
}
