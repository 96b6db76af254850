/*
 * trigger.h
 *		What the extension's trigger functions have in common.
 */
#ifndef SESSION_FILES_TRIGGER_H
#define SESSION_FILES_TRIGGER_H

#include "compat.h"

#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"

/* When a trigger fires: AFTER, FOR EACH ROW or FOR EACH STATEMENT, or BEFORE, FOR EACH ROW. */
typedef enum TriggerLevel
{
	TRIGGER_ROWS = 1,
	TRIGGER_STATEMENTS = 2,
	TRIGGER_ROWS_OR_STATEMENTS = 3,
	TRIGGER_BEFORE_ROWS = 4
} TriggerLevel;

/*
 * Returns the data of the trigger that calls a function. Raises 39P01 unless it is a trigger of one of these levels on one of the tables. other_table may be InvalidOid.
 */
extern TriggerData *trigger_data(FunctionCallInfo fcinfo, TriggerLevel levels, Oid table, Oid other_table);

/* Moves to the start of a transition table of the trigger; returns a slot for tuplestore_gettupleslot. */
extern TupleTableSlot *trigger_begin_rows(const TriggerData *data, Tuplestorestate *rows);

#endif
