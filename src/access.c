/*
 * access.c
 *		Which sessions the current user may see: those of the workspaces in workspace_grants.
 *
 * The row level security policies of the tables call may_see_workspace and may_see_session. Files that read past the planner call the
 * functions below instead. A user who may see a session's row may see all that belongs to the session. Where an administrator has put
 * other policies on upload_sessions, a query under those policies decides.
 *
 * Results are cached in the backend. Grants are read as of now (systable_beginscan without a snapshot), not under the transaction's
 * snapshot, so a result holds for every snapshot. It is cached only if no invalidation arrived while it was looked up. A trigger on
 * workspace_grants sends an invalidation of that table's relcache entry: it reaches all backends, also on a standby, when the change
 * commits, and this backend when the change is made or rolled back.
 *
 * It must not cache a result that depends on a snapshot; may_see_session keeps one per call site, with all that it depends on.
 */
#include "compat.h"

#include "access.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "index/scan.h"
#include "owner.h"
#include "trigger.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_may_see_workspace);
PG_FUNCTION_INFO_V1(session_files_may_see_session);
PG_FUNCTION_INFO_V1(session_files_report_grants);
PG_FUNCTION_INFO_V1(session_files_grant_creator);

/* How many results are cached. A new one replaces the one at the same place, by its hash. */
#define CACHE_SIZE 256

/* Whether a user was granted a workspace. */
typedef struct CachedGrant
{
	Oid user; /* InvalidOid: the place is free */
	uint32 hash;
	int len;
	char *name;
	bool granted;
} CachedGrant;

static CachedGrant cache[CACHE_SIZE];
static MemoryContext cache_names = NULL;
static bool cache_valid = false;

/* Counts invalidations, to see one that arrives during a look-up. */
static uint64 invalidations = 0;

/* The table workspace_grants; InvalidOid until the first look-up. */
static Oid watched = InvalidOid;

static void
invalidate(void)
{
	cache_valid = false;
	invalidations++;
}

static void
on_relation_change(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(watched) || relid == watched)
		invalidate();
}

static void
on_role_change(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate();
}

void
access_init(void)
{
	cache_names = AllocSetContextCreate(TopMemoryContext, "session_files access", ALLOCSET_DEFAULT_SIZES);
	CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, on_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_role_change, (Datum) 0);
	/* The owner of the database is a member of pg_database_owner. */
	CacheRegisterSyscacheCallback(DATABASEOID, on_role_change, (Datum) 0);
}

/* Returns whether a scan of the grants finds one of a role that a user has, and ends the scan. */
static bool
finds_role(Relation grants, SysScanDesc scan, Oid user)
{
	HeapTuple grant;
	bool found = false;

	while (!found && HeapTupleIsValid(grant = systable_getnext(scan)))
	{
		bool isnull;
		Datum role;

		CHECK_FOR_INTERRUPTS();
		role = heap_getattr(grant, Anum_workspace_grants_role, RelationGetDescr(grants), &isnull);
		found = has_privs_of_role(user, DatumGetObjectId(role));
	}
	systable_endscan(scan);
	return found;
}

/* Returns whether a user has a role that was granted a workspace; NULL for every workspace. */
static bool
has_grant(Relation grants, Oid index, Oid user, text *workspace_name)
{
	ScanKeyData key;

	ScanKeyInit(&key, Anum_workspace_grants_workspace_name, BTEqualStrategyNumber, F_TEXTEQ,
	            PointerGetDatum(workspace_name));
	if (workspace_name == NULL)
		key.sk_flags = SK_ISNULL | SK_SEARCHNULL;
	/* Without a snapshot, PostgreSQL takes a new one, also in a parallel query. */
	return finds_role(grants, systable_beginscan(grants, index, true, NULL, 1, &key), user);
}

/* Returns whether a user was granted a workspace, by its name or with every workspace, as of now. */
static bool
look_up(const Catalog *catalog, Oid user, Span workspace_name)
{
	Relation grants = table_open(catalog->workspace_grants, AccessShareLock);
	Relation key = catalog_open_index(catalog_get()->workspace_grants_key, AccessShareLock);
	Oid index = RelationGetRelid(key);
	bool granted = has_grant(grants, index, user, NULL);

	if (!granted && workspace_name.bytes != NULL)
	{
		text *name = cstring_to_text_with_len(workspace_name.bytes, workspace_name.len);

		granted = has_grant(grants, index, user, name);
		pfree(name);
	}
	index_close(key, AccessShareLock);
	table_close(grants, AccessShareLock);
	return granted;
}

/* Caches a result. */
static void
publish(CachedGrant *place, Oid user, uint32 hash, Span workspace_name, bool granted)
{
	if (!cache_valid)
	{
		memset(cache, 0, sizeof(cache));
		MemoryContextReset(cache_names);
		cache_valid = true;
	}
	if (OidIsValid(place->user))
		pfree(place->name);
	place->user = InvalidOid;
	place->name = MemoryContextAlloc(cache_names, Max(workspace_name.len, 1));
	memcpy(place->name, workspace_name.bytes, workspace_name.len);
	place->len = workspace_name.len;
	place->hash = hash;
	place->granted = granted;
	place->user = user;
}

/* Returns whether the current user was granted a workspace, which need not exist. */
static bool
is_granted(const Catalog *catalog, Span workspace_name)
{
	Oid user = GetUserId();
	uint32 hash = hash_bytes((const unsigned char *) workspace_name.bytes, workspace_name.len) ^ user;
	CachedGrant *place = &cache[hash % CACHE_SIZE];
	uint64 before;
	bool granted;

	/* A long transaction, too, has to see that a grant was revoked. */
	AcceptInvalidationMessages();
	if (cache_valid && place->user == user && place->hash == hash && place->len == workspace_name.len &&
	    memcmp(place->name, workspace_name.bytes, workspace_name.len) == 0)
		return place->granted;
	watched = catalog->workspace_grants;
	before = invalidations;
	granted = look_up(catalog, user, workspace_name);
	if (before == invalidations)
		publish(place, user, hash, workspace_name, granted);
	return granted;
}

/* Returns whether a policy is the extension's own: may_see_...(column), for all commands and all roles. */
static bool
is_own_policy(const Access *access, Relation table, const RowSecurityPolicy *policy)
{
	bool has_workspace = (table == access->upload_sessions);
	const FuncExpr *call = (const FuncExpr *) policy->qual;

	return policy->permissive && policy->polcmd == '*' && *(Oid *) ARR_DATA_PTR(policy->roles) == ACL_ID_PUBLIC &&
	       call != NULL && IsA(call, FuncExpr) &&
	       call->funcid == (has_workspace ? access->catalog->may_see_workspace : access->catalog->may_see_session) &&
	       IsA(linitial(call->args), Var) &&
	       ((const Var *) linitial(call->args))->varattno ==
	           (has_workspace ? Anum_upload_sessions_workspace_name : Anum_files_session_id);
}

/* Returns whether a table has the extension's own policy and no other. */
static bool
has_own_policy_alone(const Access *access, Relation table)
{
	List *policies = table->rd_rsdesc ? table->rd_rsdesc->policies : NIL;

	return list_length(policies) == 1 && is_own_policy(access, table, linitial(policies));
}

/* Returns whether row level security applies to the current user on a table. */
static bool
is_restricted(Oid table)
{
	return check_enable_rls(table, InvalidOid, true) == RLS_ENABLED;
}

void
access_begin(Access *access, const Catalog *catalog, Relation upload_sessions)
{
	access->catalog = catalog;
	access->upload_sessions = upload_sessions;
	if (!upload_sessions->rd_rel->relrowsecurity || !is_restricted(RelationGetRelid(upload_sessions)))
		access->rule = ACCESS_ALL;
	else
		access->rule = has_own_policy_alone(access, upload_sessions) ? ACCESS_BY_GRANTS : ACCESS_BY_QUERY;
}

bool
access_covers(const Access *access, Relation table)
{
	return !table->rd_rel->relrowsecurity || has_own_policy_alone(access, table) ||
	       !is_restricted(RelationGetRelid(table));
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

bool
access_may_see(const Access *access, const pg_uuid_t *session_id, Span workspace_name)
{
	switch (access->rule)
	{
		case ACCESS_ALL:
			return true;
		case ACCESS_BY_GRANTS:
			return is_granted(access->catalog, workspace_name);
		case ACCESS_BY_QUERY:
			return may_query(session_id);
	}
	return false;
}

bool
access_has_grants(const Access *access)
{
	Relation grants;
	bool found;

	if (access->rule != ACCESS_BY_GRANTS)
		return true;
	grants = table_open(access->catalog->workspace_grants, AccessShareLock);
	found = finds_role(grants, systable_beginscan(grants, InvalidOid, false, NULL, 0, NULL), GetUserId());
	table_close(grants, AccessShareLock);
	return found;
}

/* Finds a session under the active snapshot. Returns whether it exists, and in *may_see whether the user may see it. */
static bool
find_session(const Access *access, const pg_uuid_t *session_id, bool *may_see)
{
	KeyScan scan;
	bool found;

	found = scan_find(&scan, access->upload_sessions, access->catalog->upload_sessions_pkey, session_id);
	*may_see = false;
	if (found)
	{
		text *name = DatumGetTextPP(scan_value(&scan, Anum_upload_sessions_workspace_name));

		*may_see = access_may_see(access, session_id, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)});
	}
	scan_end(&scan);
	return found;
}

/* Like access_may_see, for a session that may not exist: returns false then, unless the user may see all sessions. */
static bool
may_see_id(const Access *access, const pg_uuid_t *session_id)
{
	bool may_see;

	if (access->rule == ACCESS_ALL)
		return true;
	if (find_session(access, session_id, &may_see))
		return may_see;
	/* A file's session may be newer than the snapshot, or added by the current command: the foreign key of files allows both. */
	PushCopiedSnapshot(GetCatalogSnapshot(RelationGetRelid(access->upload_sessions)));
	GetActiveSnapshot()->curcid = GetCurrentCommandId(false) + 1;
	(void) find_session(access, session_id, &may_see);
	PopActiveSnapshot();
	return may_see;
}

Relation
access_open_table(Oid oid, AclMode mode)
{
	Relation table = table_open(oid, mode == ACL_SELECT ? AccessShareLock : RowExclusiveLock);
	AclResult acl = pg_class_aclmask(oid, GetUserId(), mode, ACLMASK_ALL) == mode ? ACLCHECK_OK : ACLCHECK_NO_PRIV;

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, RelationGetRelationName(table));
	return table;
}

/* SQL: session_files.may_see_workspace(workspace_name text) returns boolean. NULL stands for every workspace. */
Datum
session_files_may_see_workspace(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	text *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);

	if (!is_restricted(catalog.upload_sessions))
		PG_RETURN_BOOL(true);
	if (name == NULL)
		PG_RETURN_BOOL(look_up(&catalog, GetUserId(), (Span){NULL, 0}));
	PG_RETURN_BOOL(is_granted(&catalog, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)}));
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
	Oid user;
	uint64 invalidations;
	TransactionId xmax;
	uint32 running;
	int32 running_children;
	CommandId command;
} LastCheck;

bool
access_may_see_session(const pg_uuid_t *session_id)
{
	Relation upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	const Catalog catalog = *catalog_get();
	Access access;
	bool may_see;

	access_begin(&access, &catalog, upload_sessions);
	may_see = may_see_id(&access, session_id);
	table_close(upload_sessions, NoLock);
	return may_see;
}

/* SQL: session_files.may_see_session(session_id uuid) returns boolean. */
Datum
session_files_may_see_session(PG_FUNCTION_ARGS)
{
	Snapshot snapshot = GetActiveSnapshot();
	LastCheck now = {.known = true,
	                 .session_id = *PG_GETARG_UUID_P(0),
	                 .user = GetUserId(),
	                 .invalidations = invalidations,
	                 .xmax = snapshot->xmax,
	                 .running = snapshot->xcnt,
	                 .running_children = snapshot->subxcnt,
	                 .command = snapshot->curcid};
	LastCheck *last = fcinfo->flinfo->fn_extra;

	if (last == NULL)
		last = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(LastCheck));
	if (last->known && uuid7_compare(&last->session_id, &now.session_id) == 0 && last->user == now.user &&
	    last->invalidations == now.invalidations && last->xmax == now.xmax && last->running == now.running &&
	    last->running_children == now.running_children && last->command == now.command)
		PG_RETURN_BOOL(last->may_see);
	now.may_see = access_may_see_session(&now.session_id);
	*last = now;
	PG_RETURN_BOOL(last->may_see);
}

/* SQL: session_files.report_grants(), trigger. */
Datum
session_files_report_grants(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, TRIGGER_ROWS_OR_STATEMENTS, catalog_get()->workspace_grants, InvalidOid);

	CacheInvalidateRelcache(data->tg_relation);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}

static OwnerQuery grant_role = {
	.text = "INSERT INTO session_files.workspace_grants (role, workspace_name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
	.arg_count = 2,
	.arg_types = {REGROLEOID, TEXTOID},
};

/* SQL: session_files.grant_creator(), trigger. */
Datum
session_files_grant_creator(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	TriggerData *data = trigger_data(fcinfo, TRIGGER_ROWS, catalog.workspaces, InvalidOid);
	bool isnull;
	Datum values[2];
	text *name;
	Caller caller;

	if (!is_restricted(catalog.workspaces))
		return PointerGetDatum(NULL);
	values[0] = ObjectIdGetDatum(GetUserId());
	values[1] = heap_getattr(data->tg_trigtuple, Anum_workspaces_name, RelationGetDescr(data->tg_relation), &isnull);
	name = DatumGetTextPP(values[1]);
	if (is_granted(&catalog, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)}))
		return PointerGetDatum(NULL);
	caller = owner_begin(data->tg_relation);
	owner_run(&grant_role, values);
	owner_end(caller);
	return PointerGetDatum(NULL);
}
