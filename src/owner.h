/*
 * owner.h
 *		What runs as the owner of the extension's tables.
 */
#ifndef SESSION_FILES_OWNER_H
#define SESSION_FILES_OWNER_H

#include "compat.h"

#include "executor/spi.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#define OWNER_MAX_ARGS 12

/* A statement; its plan is made when first used and kept for the backend's life. */
typedef struct OwnerQuery
{
	const char *text;
	int arg_count;
	Oid arg_types[OWNER_MAX_ARGS];
	SPIPlanPtr plan;
} OwnerQuery;

/* The caller's user and settings, to return to. */
typedef struct Caller
{
	Oid user;
	int context;
	int guc_level;
} Caller;

/*
 * Makes the planner prefer indexes until AtEOXact_GUC(true, result). JIT is off: where an administrator's policy or trigger forces a plan
 * to read a whole table, enable_seqscan = off makes its cost so high that JIT would compile it, which takes longer than the plan.
 */
extern int owner_prefer_indexes(void);

/*
 * Becomes the owner of the tables, with a search_path of pg_catalog. Plans prefer indexes, as they are made when a table is small and used
 * when it is large. After an error, the end of the (sub)transaction restores user and settings.
 */
extern Caller owner_switch(Oid owner);
extern void owner_switch_back(Caller caller);

/* The same for the owner of a table, with a connection to SPI. */
extern Caller owner_begin(Relation table);
extern void owner_end(Caller caller);

/* Runs a statement, between owner_begin and owner_end. Returns how many rows it processed. No argument is null. */
extern uint64 owner_run(OwnerQuery *query, Datum *values);

/* As owner_run, with arguments that are null: for each 'n', or else ' '. */
extern uint64 owner_run_nulls(OwnerQuery *query, Datum *values, const char *nulls);

/* As owner_run, under a snapshot. */
extern uint64 owner_run_under(OwnerQuery *query, Datum *values, Snapshot snapshot);

/* Makes a snapshot active that shows what ran before, until PopActiveSnapshot: what the next statement would see. */
extern void owner_push_snapshot(void);

/* Returns, between owner_begin and owner_end, whether a session exists: the current cascade may be that of its deletion. */
extern bool owner_finds_session(const pg_uuid_t *session_id);

#endif
