/*
 * access.c
 *		What the current user may see and do: by grants (grants.c), and by policies of row level security.
 *
 * Functions run as the tables' owner (as_owner.c), or read past the planner. So they ask here first, as the caller, and once: what is
 * revoked while they run counts for the next call. The policies on the tables, which plain SQL has, ask the same by may_see_workspace and
 * may_see_session. Where an administrator has put other policies on upload_sessions, a query under those policies decides besides, which
 * needs the privilege SELECT. Other policies on files, or on workspaces, cannot be applied: a role that has them is refused.
 *
 * A session's workspace is read as of now, as grants are, so that a function cannot act by what has changed. A listing and a policy read
 * it under their snapshot.
 *
 * It must not cache a result that depends on a snapshot; may_see_session keeps one per call site, with all that it depends on.
 */
#include "compat.h"

#include "access.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "index/scan.h"
#include "owner.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_may_see_workspace);
PG_FUNCTION_INFO_V1(session_files_may_see_session);

/* Returns whether a policy is the extension's own: may_see_...(column), for all commands and all roles. */
static bool
is_own_policy(const Catalog *catalog, Relation table, const RowSecurityPolicy *policy)
{
	bool has_sessions = (RelationGetRelid(table) == catalog->files);
	const FuncExpr *call = (const FuncExpr *) policy->qual;
	AttrNumber column = has_sessions                                          ? Anum_files_session_id
	                    : RelationGetRelid(table) == catalog->upload_sessions ? Anum_upload_sessions_workspace_name
	                                                                          : Anum_workspaces_name;

	return policy->permissive && policy->polcmd == '*' && *(Oid *) ARR_DATA_PTR(policy->roles) == ACL_ID_PUBLIC &&
	       call != NULL && IsA(call, FuncExpr) &&
	       call->funcid == (has_sessions ? catalog->may_see_session : catalog->may_see_workspace) &&
	       IsA(linitial(call->args), Var) && ((const Var *) linitial(call->args))->varattno == column;
}

/* Returns whether a policy is for the current user. */
static bool
is_for_user(const RowSecurityPolicy *policy)
{
	const Oid *roles = (const Oid *) ARR_DATA_PTR(policy->roles);

	for (int i = 0; i < ARR_DIMS(policy->roles)[0]; i++)
	{
		if (roles[i] == ACL_ID_PUBLIC || has_privs_of_role(GetUserId(), roles[i]))
			return true;
	}
	return false;
}

/* Returns whether the extension's own policy of a table applies to the current user, and no other; or none does, as they are disabled. */
static bool
has_no_other_policy(const Catalog *catalog, Relation table)
{
	bool found = false;
	ListCell *cell;

	if (!table->rd_rel->relrowsecurity)
		return true;
	foreach (cell, table->rd_rsdesc ? table->rd_rsdesc->policies : NIL)
	{
		const RowSecurityPolicy *policy = lfirst(cell);

		if (is_own_policy(catalog, table, policy))
			found = true;
		else if (is_for_user(policy))
			return false;
	}
	return found;
}

void
access_begin(Access *access, const Catalog *catalog, Relation upload_sessions, int kinds)
{
	access->catalog = catalog;
	access->upload_sessions = upload_sessions;
	access->kinds = kinds;
	if (grants_is_exempt(catalog))
		access->rule = ACCESS_ALL;
	else
		access->rule = has_no_other_policy(catalog, upload_sessions) ? ACCESS_BY_GRANTS : ACCESS_BY_QUERY;
}

bool
access_covers(const Access *access, Relation table)
{
	return access->rule == ACCESS_ALL || has_no_other_policy(access->catalog, table);
}

/* Returns whether a query under all policies finds a session. */
static bool
may_query(const pg_uuid_t *session_id)
{
	static SPIPlanPtr plan = NULL;
	Datum value = UUIDPGetDatum(session_id);
	int guc_level;
	bool found;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* As in owner.c: the plan is made when the table is small, and used when it is large. */
	guc_level = owner_prefer_indexes();
	if (plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare("SELECT FROM session_files.upload_sessions AS s"
		                               " WHERE s.session_id OPERATOR(pg_catalog.=) $1",
		                               1, (Oid[]){UUIDOID});

		if (fresh == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(fresh);
		plan = fresh;
	}
	if (SPI_execute_plan(plan, &value, NULL, true, 1) < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(SPI_result));
	found = SPI_processed > 0;
	AtEOXact_GUC(true, guc_level);
	SPI_finish();
	return found;
}

/* Returns the kinds that the user has for a session that exists, of a workspace. */
static int
find_kinds(const Access *access, const pg_uuid_t *session_id, Span workspace_name)
{
	int kinds;

	if (access->rule == ACCESS_ALL)
		return KIND_ANY;
	kinds = grants_kinds(access->catalog, workspace_name);
	if (kinds != 0 && access->rule == ACCESS_BY_QUERY && !may_query(session_id))
		return 0;
	return kinds;
}

bool
access_may_see(const Access *access, const pg_uuid_t *session_id, Span workspace_name)
{
	return (find_kinds(access, session_id, workspace_name) & access->kinds) != 0;
}

/* Finds the kinds that the user has for a session. Returns whether the active snapshot shows the session. */
static bool
find_session(const Access *access, const pg_uuid_t *session_id, int *kinds)
{
	KeyScan scan;
	bool found;

	found = scan_find(&scan, access->upload_sessions, access->catalog->upload_sessions_pkey, session_id);
	*kinds = 0;
	if (found)
	{
		text *name = DatumGetTextPP(scan_value(&scan, Anum_upload_sessions_workspace_name));

		*kinds = find_kinds(access, session_id, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)});
	}
	scan_end(&scan);
	return found;
}

/* The same as of now, with what the current command has added. */
static bool
find_session_now(const Access *access, const pg_uuid_t *session_id, int *kinds)
{
	bool found;

	PushCopiedSnapshot(GetCatalogSnapshot(RelationGetRelid(access->upload_sessions)));
	GetActiveSnapshot()->curcid = GetCurrentCommandId(false) + 1;
	found = find_session(access, session_id, kinds);
	PopActiveSnapshot();
	return found;
}

/* Returns kinds by their names, with a text between them. */
static char *
name_kinds(int kinds, const char *separator)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < KIND_COUNT; i++)
	{
		if (kinds & (1 << i))
			appendStringInfo(&names, "%s%s", names.len > 0 ? separator : "", kind_labels[i]);
	}
	return names.data;
}

/* Raises 42501: the user has some kinds, and needs others. */
static void
raise_kinds(int held, int needed, const char *for_what)
{
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
	                errmsg("role \"%s\" needs a grant as %s for %s", GetUserNameFromId(GetUserId(), false),
	                       name_kinds(needed, " or "), for_what),
	                held ? errdetail("It has a grant as %s.", name_kinds(held, ", ")) : 0,
	                errhint("Grants are made with session_files.grant_workspace().")));
}

/* Raises 42501 if an administrator gave a table policies. */
static void
require_own_policy(const Catalog *catalog, Oid oid)
{
	Relation table = table_open(oid, AccessShareLock);

	if (!has_no_other_policy(catalog, table))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		     errmsg(
				 "functions can apply no other policy of row level security on table \"%s\" than the extension's own",
				 RelationGetRelationName(table))));
	table_close(table, NoLock);
}

void
access_require_session(const pg_uuid_t *session_id, int kinds)
{
	Relation upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	const Catalog catalog = *catalog_get();
	char id[UUID_TEXT_LEN + 1] = "";
	Access access;
	int held;

	access_begin(&access, &catalog, upload_sessions, kinds);
	if (access.rule != ACCESS_ALL)
		require_own_policy(&catalog, catalog.files);
	(void) find_session_now(&access, session_id, &held);
	table_close(upload_sessions, NoLock);
	if (held & kinds)
		return;
	uuid7_format(session_id, id);
	if (held == 0)
		ereport(ERROR,
		        (errcode(ERRCODE_NO_DATA_FOUND), errmsg("there is no session \"%s\"", id), errhint(NOT_GRANTED_HINT)));
	raise_kinds(held, kinds, psprintf("session \"%s\"", id));
}

void
access_require_workspace(const text *workspace_name, int kinds)
{
	const Catalog catalog = *catalog_get();
	Span name = workspace_name == NULL ? (Span){NULL, 0}
	                                   : (Span){VARDATA_ANY(workspace_name), VARSIZE_ANY_EXHDR(workspace_name)};
	int held;

	if (grants_is_exempt(&catalog))
		return;
	require_own_policy(&catalog, catalog.workspaces);
	held = grants_kinds(&catalog, name);
	if (held & kinds)
		return;
	if (name.bytes == NULL)
		raise_kinds(held, kinds, "all workspaces");
	if (held == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND), errmsg("there is no workspace \"%.*s\"", name.len, name.bytes),
		     errhint(
				 "Create it with session_files.create_workspace(). If it is there, it was not granted to the role, which session_files.grant_workspace() does.")));
	raise_kinds(held, kinds, psprintf("workspace \"%.*s\"", name.len, name.bytes));
}

bool
access_require_some(int kinds)
{
	bool all;

	if (access_workspaces(kinds, &all) != NIL || all)
		return true;
	if (access_workspaces(KIND_ANY, &all) != NIL || all)
		raise_kinds(0, kinds, "a workspace");
	return false;
}

void
access_require_exempt(const char *function_name)
{
	const Catalog catalog = *catalog_get();

	if (!grants_is_exempt(&catalog))
		ereport(ERROR,
		        (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for function %s", function_name),
		         errhint("It is for superusers, the owner of the extension's tables, and roles with BYPASSRLS.")));
}

List *
access_workspaces(int kinds, bool *all)
{
	const Catalog catalog = *catalog_get();

	*all = grants_is_exempt(&catalog);
	return *all ? NIL : grants_workspaces(&catalog, kinds, all);
}

/* Returns whether the user has one of the kinds for a session: false for one that does not exist, unless the user needs no grant. */
static bool
may_see_session(const pg_uuid_t *session_id, int kinds)
{
	Relation upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	const Catalog catalog = *catalog_get();
	Access access;
	int held = KIND_ANY;

	access_begin(&access, &catalog, upload_sessions, kinds);
	/* A file's session may be newer than the snapshot, or added by the current command: the foreign key of files allows both. */
	if (access.rule != ACCESS_ALL && !find_session(&access, session_id, &held))
		(void) find_session_now(&access, session_id, &held);
	table_close(upload_sessions, NoLock);
	return (held & kinds) != 0;
}

/* SQL: session_files._may_see_workspace(workspace_name text) returns boolean. */
Datum
session_files_may_see_workspace(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	text *name = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(grants_is_exempt(&catalog) ||
	               grants_kinds(&catalog, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)}) != 0);
}

/*
 * The last result at a call site of a statement, and all that it can depend on. Two snapshots of a backend show the same if they have the
 * same xmax and as many running transactions before it.
 */
typedef struct LastCheck
{
	bool known;
	bool may_see;
	pg_uuid_t session_id;
	int kinds;
	Oid user;
	uint64 grants;
	TransactionId xmax;
	uint32 running;
	int32 running_children;
	CommandId command;
} LastCheck;

/* Reads an argument of type grant_kind[]; without it, any kind will do. */
static int
kinds_argument(FunctionCallInfo fcinfo, int number)
{
	ArrayType *array;
	int kinds = 0;

	if (PG_NARGS() <= number)
		return KIND_ANY;
	array = PG_GETARG_ARRAYTYPE_P(number);
	if (ARR_HASNULL(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("no kind may be null")));
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)); i++)
		kinds |= 1 << catalog_kind(catalog_get(), ((const Oid *) ARR_DATA_PTR(array))[i]);
	return kinds;
}

/* SQL: session_files._may_see_session(session_id uuid), session_files._has_kind(session_id uuid, kinds session_files.grant_kind[]) return boolean. */
Datum
session_files_may_see_session(PG_FUNCTION_ARGS)
{
	Snapshot snapshot = GetActiveSnapshot();
	LastCheck now = {.known = true,
	                 .session_id = *PG_GETARG_UUID_P(0),
	                 .kinds = kinds_argument(fcinfo, 1),
	                 .user = GetUserId(),
	                 .grants = grants_version(),
	                 .xmax = snapshot->xmax,
	                 .running = snapshot->xcnt,
	                 .running_children = snapshot->subxcnt,
	                 .command = snapshot->curcid};
	LastCheck *last = fcinfo->flinfo->fn_extra;

	if (last == NULL)
		last = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(LastCheck));
	if (last->known && uuid7_compare(&last->session_id, &now.session_id) == 0 && last->kinds == now.kinds &&
	    last->user == now.user && last->grants == now.grants && last->xmax == now.xmax &&
	    last->running == now.running && last->running_children == now.running_children && last->command == now.command)
		PG_RETURN_BOOL(last->may_see);
	now.may_see = may_see_session(&now.session_id, now.kinds);
	*last = now;
	PG_RETURN_BOOL(last->may_see);
}
