/*
 * owner.c
 *		What runs as the owner of the extension's tables: statements, by SPI, and functions (as_owner.c).
 *
 * The triggers write tables on which no role has any right: file_counts and file_queue. So they change to the owner of the
 * tables, and back. What may call a function is checked before, as the caller (access.c).
 *
 * They run under a fixed search_path, so operators need no schema, and a plan is not made again for each caller's. What a statement is
 * for is written where it is defined.
 */
#include "compat.h"

#include "owner.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define SEARCH_PATH "pg_catalog, pg_temp"

static OwnerQuery find_session = {
	.text = "SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = $1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

/*
 * Prepares a statement. Its plan is generic: to make it again for the values of each call takes longer than a small statement, and may be
 * wrong, too, as nothing is known of a session that is newer than the statistics. So a condition that is not to choose the index is written
 * as (...) IS TRUE.
 */
static SPIPlanPtr
prepare(const OwnerQuery *query)
{
	SPIPlanPtr plan =
		SPI_prepare_cursor(query->text, query->arg_count, (Oid *) query->arg_types, CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

/* Runs a statement under a snapshot, or, for InvalidSnapshot, under a new one. nulls is as for SPI. */
static uint64
run(OwnerQuery *query, Datum *values, const char *nulls, Snapshot snapshot)
{
	if (query->plan == NULL)
		query->plan = prepare(query);
	if (SPI_execute_snapshot(query->plan, values, nulls, snapshot, InvalidSnapshot, false, true, 0) < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(SPI_result));
	return SPI_processed;
}

uint64
owner_run_under(OwnerQuery *query, Datum *values, Snapshot snapshot)
{
	return run(query, values, NULL, snapshot);
}

uint64
owner_run_nulls(OwnerQuery *query, Datum *values, const char *nulls)
{
	return run(query, values, nulls, InvalidSnapshot);
}

uint64
owner_run(OwnerQuery *query, Datum *values)
{
	return run(query, values, NULL, InvalidSnapshot);
}

bool
owner_finds_session(const pg_uuid_t *session_id)
{
	Datum value = UUIDPGetDatum(session_id);

	return owner_run(&find_session, &value) > 0;
}

void
owner_push_snapshot(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

int
owner_prefer_indexes(void)
{
	int guc_level = NewGUCNestLevel();

	/* To set what is set already costs more than a small statement: triggers run within functions. */
	if (enable_seqscan)
		set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (jit_enabled)
		set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return guc_level;
}

Caller
owner_switch(Oid owner)
{
	Caller caller;

	GetUserIdAndSecContext(&caller.user, &caller.context);
	SetUserIdAndSecContext(owner, caller.context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	caller.guc_level = owner_prefer_indexes();
	if (strcmp(namespace_search_path, SEARCH_PATH) != 0)
		set_config_option("search_path", SEARCH_PATH, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return caller;
}

void
owner_switch_back(Caller caller)
{
	AtEOXact_GUC(true, caller.guc_level);
	SetUserIdAndSecContext(caller.user, caller.context);
}

Caller
owner_begin(Relation table)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	return owner_switch(table->rd_rel->relowner);
}

void
owner_end(Caller caller)
{
	owner_switch_back(caller);
	SPI_finish();
}
