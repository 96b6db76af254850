/*
 * access.c
 *		Which sessions the current user may see: those of the workspaces in workspace_grants.
 *
 * The policies of row level security on the tables call may_see_workspace and may_see_session;
 * rooms that read past the planner ask here. Whoever may see a session's row may see what the session
 * has: where an administrator has other policies on upload_sessions, a query under them decides.
 *
 * Answers are kept in the backend. Grants are looked up as of now, not as of the transaction's
 * snapshot, so an answer is everybody's; it is published only if nothing was reported meanwhile. A
 * trigger on workspace_grants reports a change of the table as one of its relcache entry: that
 * reaches every backend, also of a standby, when the change commits, and this one when it is made or
 * rolled back.
 */
#include "compat.h"

#include "access.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
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

#include "owner.h"
#include "scan.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_may_see_workspace);
PG_FUNCTION_INFO_V1(session_files_may_see_session);
PG_FUNCTION_INFO_V1(session_files_report_grants);
PG_FUNCTION_INFO_V1(session_files_grant_creator);

/* So many answers are kept; a new one takes the place of another with the same hash. */
#define ANSWERS 256

/* Whether a user was granted a workspace. */
typedef struct Answer
{
	Oid user; /* InvalidOid: none */
	uint32 hash;
	int len;
	char *name;
	bool granted;
} Answer;

static Answer answers[ANSWERS];
static MemoryContext names = NULL;
static bool answers_valid = false;

/* Counts what is reported, to notice a report that comes during a look-up. */
static uint64 reports = 0;

/* The table whose changes matter, as far as it is known. */
static Oid watched = InvalidOid;

static void
forget(void)
{
	answers_valid = false;
	reports++;
}

static void
on_relation_change(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(watched) || relid == watched)
		forget();
}

static void
on_role_change(Datum arg, int cacheid, uint32 hashvalue)
{
	forget();
}

void
access_init(void)
{
	names = AllocSetContextCreate(TopMemoryContext, "session_files access", ALLOCSET_DEFAULT_SIZES);
	CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, on_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_role_change, (Datum) 0);
	/* Who is a member of pg_database_owner. */
	CacheRegisterSyscacheCallback(DATABASEOID, on_role_change, (Datum) 0);
}

/* Tells whether a scan of the grants finds one of a role that a user has, and ends the scan. */
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

/* Tells whether a user has a role that was granted a workspace; NULL for every workspace. */
static bool
has_grant(Relation grants, Oid index, Oid user, text *workspace_name)
{
	ScanKeyData key;

	ScanKeyInit(&key, Anum_workspace_grants_workspace_name, BTEqualStrategyNumber, F_TEXTEQ,
	            PointerGetDatum(workspace_name));
	if (workspace_name == NULL)
		key.sk_flags = SK_ISNULL | SK_SEARCHNULL;
	/* Without a snapshot, it is one of now, also in a parallel query. */
	return finds_role(grants, systable_beginscan(grants, index, true, NULL, 1, &key), user);
}

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

/* Puts an answer into its place. */
static void
publish(Answer *place, Oid user, uint32 hash, Span workspace_name, bool granted)
{
	if (!answers_valid)
	{
		memset(answers, 0, sizeof(answers));
		MemoryContextReset(names);
		answers_valid = true;
	}
	if (OidIsValid(place->user))
		pfree(place->name);
	place->user = InvalidOid;
	place->name = MemoryContextAlloc(names, Max(workspace_name.len, 1));
	memcpy(place->name, workspace_name.bytes, workspace_name.len);
	place->len = workspace_name.len;
	place->hash = hash;
	place->granted = granted;
	place->user = user;
}

/* Tells whether the current user was granted a workspace, which need not exist. */
static bool
is_granted(const Catalog *catalog, Span workspace_name)
{
	Oid user = GetUserId();
	uint32 hash = hash_bytes((const unsigned char *) workspace_name.bytes, workspace_name.len) ^ user;
	Answer *answer = &answers[hash % ANSWERS];
	uint64 before;
	bool granted;

	/* In a long transaction, too, what was revoked is revoked. */
	AcceptInvalidationMessages();
	if (answers_valid && answer->user == user && answer->hash == hash && answer->len == workspace_name.len &&
	    memcmp(answer->name, workspace_name.bytes, workspace_name.len) == 0)
		return answer->granted;
	watched = catalog->workspace_grants;
	before = reports;
	granted = look_up(catalog, user, workspace_name);
	if (before == reports)
		publish(answer, user, hash, workspace_name, granted);
	return granted;
}

/* Tells whether a policy is the extension's own: for all commands and roles, may_see_...(column). */
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

/* Tells whether the extension's own policy is on a table, and no other. */
static bool
has_own_policy_alone(const Access *access, Relation table)
{
	List *policies = table->rd_rsdesc ? table->rd_rsdesc->policies : NIL;

	return list_length(policies) == 1 && is_own_policy(access, table, linitial(policies));
}

/* Tells whether row level security applies to the current user on a table. */
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

/* Asks with a query, under all policies, whether a session can be seen. */
static bool
may_query(const pg_uuid_t *session_id)
{
	static SPIPlanPtr plan = NULL;
	Datum value = UUIDPGetDatum(session_id);
	int guc_level;
	bool found;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* As in owner.c: the plan outlives what the planner knows of the table. */
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

/* Finds a session under the active snapshot; tells whether it is there, and whether it may be seen. */
static bool
find_session(const Access *access, const pg_uuid_t *session_id, bool *may_see)
{
	KeyScan scan;
	bool found;

	scan_init(&scan, access->upload_sessions, access->catalog->upload_sessions_pkey);
	scan_key_equal(&scan, 1, F_UUID_EQ, UUIDPGetDatum(session_id));
	scan_begin(&scan, ForwardScanDirection, 1);
	found = scan_next(&scan);
	*may_see = false;
	if (found)
	{
		text *name = DatumGetTextPP(scan_value(&scan, Anum_upload_sessions_workspace_name));

		*may_see = access_may_see(access, session_id, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)});
	}
	scan_end(&scan);
	return found;
}

bool
access_may_see_id(const Access *access, const pg_uuid_t *session_id)
{
	bool may_see;

	if (access->rule == ACCESS_ALL)
		return true;
	if (find_session(access, session_id, &may_see))
		return may_see;
	/* The foreign key of files allows a session that is newer than the snapshot, or that this very command adds. */
	PushCopiedSnapshot(GetCatalogSnapshot(RelationGetRelid(access->upload_sessions)));
	GetActiveSnapshot()->curcid = GetCurrentCommandId(false) + 1;
	(void) find_session(access, session_id, &may_see);
	PopActiveSnapshot();
	return may_see;
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
 * The last answer of a call's site in a statement, and all that it may depend on. Of two snapshots of
 * a backend with the same end and as many running transactions before it, both show the same.
 */
typedef struct LastAnswer
{
	bool known;
	bool may_see;
	pg_uuid_t session_id;
	Oid user;
	uint64 reports;
	TransactionId xmax;
	uint32 running;
	int32 running_children;
	CommandId command;
} LastAnswer;

/* Asks whether the current user may see a session. */
static bool
ask(const pg_uuid_t *session_id)
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

/* SQL: session_files.may_see_session(session_id uuid) returns boolean. */
Datum
session_files_may_see_session(PG_FUNCTION_ARGS)
{
	Snapshot snapshot = GetActiveSnapshot();
	LastAnswer now = {.known = true,
	                  .session_id = *PG_GETARG_UUID_P(0),
	                  .user = GetUserId(),
	                  .reports = reports,
	                  .xmax = snapshot->xmax,
	                  .running = snapshot->xcnt,
	                  .running_children = snapshot->subxcnt,
	                  .command = snapshot->curcid};
	LastAnswer *last = fcinfo->flinfo->fn_extra;

	if (last == NULL)
		last = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(LastAnswer));
	if (last->known && uuid7_compare(&last->session_id, &now.session_id) == 0 && last->user == now.user &&
	    last->reports == now.reports && last->xmax == now.xmax && last->running == now.running &&
	    last->running_children == now.running_children && last->command == now.command)
		PG_RETURN_BOOL(last->may_see);
	now.may_see = ask(&now.session_id);
	*last = now;
	PG_RETURN_BOOL(last->may_see);
}

/* Returns the trigger's data, having checked that it is one of the extension's, of a table; by rows, if need be. */
static TriggerData *
check_trigger(FunctionCallInfo fcinfo, Oid table, bool needs_row)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
	    (needs_row && !TRIGGER_FIRED_FOR_ROW(data->tg_event)) || RelationGetRelid(data->tg_relation) != table)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		                errmsg("function is only for the triggers of the extension session_files")));
	return data;
}

/* SQL: session_files.report_grants(), trigger. */
Datum
session_files_report_grants(PG_FUNCTION_ARGS)
{
	TriggerData *data = check_trigger(fcinfo, catalog_get()->workspace_grants, false);

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
	TriggerData *data = check_trigger(fcinfo, catalog.workspaces, true);
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
