/*
 * owner.h
 *		Statements that triggers run as the owner of the extension's tables.
 */
#ifndef SESSION_FILES_OWNER_H
#define SESSION_FILES_OWNER_H

#include "compat.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#define OWNER_MAX_ARGS 8

/* A statement; its plan is made when first used and kept for the backend's life. */
typedef struct OwnerQuery
{
	const char *text;
	int arg_count;
	Oid arg_types[OWNER_MAX_ARGS];
	SPIPlanPtr plan;
} OwnerQuery;

/* What to go back to. */
typedef struct Caller
{
	Oid user;
	int context;
	int guc_level;
} Caller;

/*
 * Has plans made that go by indexes, until AtEOXact_GUC(true, what this returns). Without JIT: a plan
 * that cannot but read a table, as for an administrator's policy or trigger, costs what JIT would look at.
 */
extern int owner_prefer_indexes(void);

/*
 * Connects to SPI as the owner of a table, with plans kept to indexes: they are made when the table
 * is small and used when it is large. An error undoes all of it at the end of the transaction.
 */
extern Caller owner_begin(Relation table);
extern void owner_end(Caller caller);

/* Runs a statement between the two; returns how many rows it processed. No argument is null. */
extern uint64 owner_run(OwnerQuery *query, Datum *values);

/* The same under a snapshot. */
extern uint64 owner_run_under(OwnerQuery *query, Datum *values, Snapshot snapshot);

/*
 * Returns a trigger's data. Raises 39P01 if the function was not called as an AFTER trigger, for
 * statements, of one of the tables.
 */
extern TriggerData *owner_trigger_data(FunctionCallInfo fcinfo, Oid table, Oid other_table);

/* Tells, between the two, whether a session is there, that is, was not deleted by a statement whose cascade this is. */
extern bool owner_finds_session(const pg_uuid_t *session_id);

#endif
