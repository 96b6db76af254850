/*
 * grants.c
 *		What the current user was granted, by the table workspace_grants: kinds, by workspace.
 *
 * A grant to a role holds for a user who has the privileges of that role. A look-up reads the grants of the user's roles alone, by an
 * index, so its cost does not grow with what other roles were granted.
 *
 * Results are cached in the backend. Grants are read as of now (systable_beginscan without a snapshot), not under the transaction's
 * snapshot, so a result holds for every snapshot. It is cached only if no invalidation arrived while it was looked up. A trigger on
 * workspace_grants sends an invalidation of that table's relcache entry: it reaches all backends, also on a standby, when the change
 * commits, and this backend when the change is made or rolled back.
 *
 * It must not ask for any user but GetUserId(): where a superuser maintains another role's table, that is the table's owner, while the
 * session's user is the superuser.
 */
#include "compat.h"

#include "grants.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "trigger.h"

PG_FUNCTION_INFO_V1(session_files_report_grants);

/* How many results are cached. A new one replaces the one at the same place, by its hash. */
#define CACHE_SIZE 256

/* The kinds that a user was granted for a workspace. */
typedef struct CachedKinds
{
	Oid user; /* InvalidOid: the place is free */
	uint32 hash;
	int len;
	char *name;
	int kinds;
} CachedKinds;

/* What is known of the user who asked last, each for itself; InvalidOid: nothing. */
typedef struct LastUser
{
	Oid exempt_user;
	bool exempt;
	Oid list_user;
	int list_kinds;
	List *list;
	bool all;
} LastUser;

static CachedKinds cache[CACHE_SIZE];
static LastUser last;
static MemoryContext cache_memory = NULL;
static bool cache_valid = false;

/* Counts invalidations, to see one that arrives during a look-up. */
static uint64 invalidations = 0;

/* workspace_grants, and the table whose owner is exempt; InvalidOid until the first look-up. */
static Oid watched_grants = InvalidOid;
static Oid watched_table = InvalidOid;

static void
invalidate(void)
{
	cache_valid = false;
	invalidations++;
}

static void
on_relation_change(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(watched_grants) || relid == watched_grants || relid == watched_table)
		invalidate();
}

static void
on_role_change(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate();
}

void
grants_init(void)
{
	cache_memory = AllocSetContextCreate(TopMemoryContext, "session_files grants", ALLOCSET_DEFAULT_SIZES);
	CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, on_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_role_change, (Datum) 0);
	/* The owner of the database is a member of pg_database_owner. */
	CacheRegisterSyscacheCallback(DATABASEOID, on_role_change, (Datum) 0);
}

uint64
grants_version(void)
{
	return invalidations;
}

/* Begins a look-up. Returns what end_look_up takes. */
static uint64
begin_look_up(const Catalog *catalog)
{
	watched_grants = catalog->workspace_grants;
	watched_table = catalog->upload_sessions;
	return invalidations;
}

/* Returns whether the result of a look-up may be cached, and makes the cache valid. */
static bool
end_look_up(uint64 begun)
{
	if (begun != invalidations)
		return false;
	if (!cache_valid)
	{
		memset(cache, 0, sizeof(cache));
		memset(&last, 0, sizeof(last));
		MemoryContextReset(cache_memory);
		cache_valid = true;
	}
	return true;
}

bool
grants_is_exempt(const Catalog *catalog)
{
	Oid user = GetUserId();
	uint64 begun;
	bool exempt;

	/* A long transaction, too, has to see what changed. */
	AcceptInvalidationMessages();
	if (cache_valid && last.exempt_user == user)
		return last.exempt;
	begun = begin_look_up(catalog);
	exempt = has_bypassrls_privilege(user) || compat_class_ownercheck(catalog->upload_sessions, user);
	if (end_look_up(begun))
	{
		last.exempt_user = user;
		last.exempt = exempt;
	}
	return exempt;
}

/* Adds the roles that a role is a member of, whether it inherits from them or not. */
static List *
add_memberships(List *roles, Oid role)
{
	CatCList *memberships = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(role));

	for (int i = 0; i < memberships->n_members; i++)
	{
		Form_pg_auth_members membership = (Form_pg_auth_members) GETSTRUCT(&memberships->members[i]->tuple);

		roles = list_append_unique_oid(roles, membership->roleid);
	}
	ReleaseSysCacheList(memberships);
	return roles;
}

/* Returns the roles whose privileges a user has. */
static List *
list_roles(Oid user)
{
	List *reached = lappend_oid(list_make1_oid(user), ROLE_PG_DATABASE_OWNER);
	List *roles = NIL;
	ListCell *cell;

	/* The list grows while it is walked. */
	foreach (cell, reached)
	{
		Oid role = lfirst_oid(cell);

		reached = add_memberships(reached, role);
		if (has_privs_of_role(user, role))
			roles = lappend_oid(roles, role);
	}
	list_free(reached);
	return roles;
}

/* The table and the index by which it is read. */
typedef struct Grants
{
	const Catalog *catalog;
	Relation table;
	Relation key;
} Grants;

static void
open_grants(Grants *grants, const Catalog *catalog)
{
	grants->catalog = catalog;
	grants->table = table_open(catalog->workspace_grants, AccessShareLock);
	grants->key = catalog_open_index(catalog_get()->workspace_grants_key, AccessShareLock);
}

static void
close_grants(Grants *grants)
{
	index_close(grants->key, AccessShareLock);
	table_close(grants->table, AccessShareLock);
}

/* Starts a scan of a role's grants: by_name those of one workspace or, for NULL, of all workspaces at once. */
static SysScanDesc
begin_scan(const Grants *grants, Oid role, bool by_name, text *workspace_name)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], Anum_workspace_grants_role, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	ScanKeyInit(&keys[1], Anum_workspace_grants_workspace_name, BTEqualStrategyNumber, F_TEXTEQ,
	            PointerGetDatum(workspace_name));
	if (workspace_name == NULL)
		keys[1].sk_flags = SK_ISNULL | SK_SEARCHNULL;
	/* Without a snapshot, PostgreSQL takes a new one, also in a parallel query. */
	return systable_beginscan(grants->table, RelationGetRelid(grants->key), true, NULL, by_name ? 2 : 1, keys);
}

/* Returns a grant's kind, and its workspace: NULL for all of them. */
static int
read_grant(const Grants *grants, HeapTuple grant, text **workspace_name)
{
	TupleDesc desc = RelationGetDescr(grants->table);
	bool isnull;
	Datum kind = heap_getattr(grant, Anum_workspace_grants_kind, desc, &isnull);
	Datum name = heap_getattr(grant, Anum_workspace_grants_workspace_name, desc, &isnull);

	*workspace_name = isnull ? NULL : DatumGetTextPP(name);
	return 1 << catalog_kind(grants->catalog, DatumGetObjectId(kind));
}

/* Returns the kinds that a role itself was granted for a workspace or, for NULL, for all at once. */
static int
read_kinds(const Grants *grants, Oid role, text *workspace_name)
{
	SysScanDesc scan = begin_scan(grants, role, true, workspace_name);
	HeapTuple grant;
	int kinds = 0;

	while (HeapTupleIsValid(grant = systable_getnext(scan)))
		kinds |= read_grant(grants, grant, &workspace_name);
	systable_endscan(scan);
	return kinds;
}

/* Returns the kinds that a user was granted for a workspace, as of now. */
static int
look_up_kinds(const Catalog *catalog, Oid user, Span workspace_name)
{
	text *name = workspace_name.bytes ? cstring_to_text_with_len(workspace_name.bytes, workspace_name.len) : NULL;
	List *roles = list_roles(user);
	int kinds = 0;
	Grants grants;
	ListCell *cell;

	open_grants(&grants, catalog);
	foreach (cell, roles)
	{
		CHECK_FOR_INTERRUPTS();
		kinds |= read_kinds(&grants, lfirst_oid(cell), NULL);
		if (name != NULL)
			kinds |= read_kinds(&grants, lfirst_oid(cell), name);
	}
	close_grants(&grants);
	list_free(roles);
	if (name != NULL)
		pfree(name);
	return kinds;
}

static void
publish(CachedKinds *place, Oid user, uint32 hash, Span workspace_name, int kinds)
{
	if (OidIsValid(place->user))
		pfree(place->name);
	place->user = InvalidOid;
	place->name = MemoryContextAlloc(cache_memory, Max(workspace_name.len, 1));
	memcpy(place->name, workspace_name.bytes, workspace_name.len);
	place->len = workspace_name.len;
	place->hash = hash;
	place->kinds = kinds;
	place->user = user;
}

int
grants_kinds(const Catalog *catalog, Span workspace_name)
{
	Oid user = GetUserId();
	uint32 hash;
	CachedKinds *place;
	uint64 begun;
	int kinds;

	AcceptInvalidationMessages();
	if (workspace_name.bytes == NULL)
		return look_up_kinds(catalog, user, workspace_name);
	hash = hash_bytes((const unsigned char *) workspace_name.bytes, workspace_name.len) ^ user;
	place = &cache[hash % CACHE_SIZE];
	if (cache_valid && place->user == user && place->hash == hash && place->len == workspace_name.len &&
	    memcmp(place->name, workspace_name.bytes, workspace_name.len) == 0)
		return place->kinds;
	begun = begin_look_up(catalog);
	kinds = look_up_kinds(catalog, user, workspace_name);
	if (end_look_up(begun))
		publish(place, user, hash, workspace_name, kinds);
	return kinds;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	const text *name = lfirst(a);
	const text *other = lfirst(b);
	int len = VARSIZE_ANY_EXHDR(name);
	int other_len = VARSIZE_ANY_EXHDR(other);
	int order = memcmp(VARDATA_ANY(name), VARDATA_ANY(other), Min(len, other_len));

	return order != 0 ? order : len - other_len;
}

/* Adds the workspaces for which a role itself was granted one of the kinds. */
static List *
add_workspaces(List *list, const Grants *grants, Oid role, int kinds, bool *all)
{
	SysScanDesc scan = begin_scan(grants, role, false, NULL);
	HeapTuple grant;

	while (HeapTupleIsValid(grant = systable_getnext(scan)))
	{
		text *name;

		CHECK_FOR_INTERRUPTS();
		if ((read_grant(grants, grant, &name) & kinds) == 0)
			continue;
		if (name == NULL)
			*all = true;
		else
			list = lappend(list, DatumGetTextPCopy(PointerGetDatum(name)));
	}
	systable_endscan(scan);
	return list;
}

/* Returns the names without those that equal the one before, as copies. */
static List *
copy_list(const List *names)
{
	List *copy = NIL;
	const ListCell *cell;

	foreach (cell, names)
	{
		const text *name = lfirst(cell);
		text *kept;

		if (copy != NIL && compare_names(cell, list_last_cell(copy)) == 0)
			continue;
		kept = palloc(VARSIZE_ANY(name));
		memcpy(kept, name, VARSIZE_ANY(name));
		copy = lappend(copy, kept);
	}
	return copy;
}

/* Finds the workspaces for which a user was granted one of the kinds, as of now. */
static List *
look_up_workspaces(const Catalog *catalog, Oid user, int kinds, bool *all)
{
	List *roles = list_roles(user);
	List *list = NIL;
	Grants grants;
	ListCell *cell;

	*all = false;
	open_grants(&grants, catalog);
	foreach (cell, roles)
		list = add_workspaces(list, &grants, lfirst_oid(cell), kinds, all);
	close_grants(&grants);
	list_free(roles);
	if (*all)
		return NIL;
	list_sort(list, compare_names);
	return list;
}

List *
grants_workspaces(const Catalog *catalog, int kinds, bool *all)
{
	Oid user = GetUserId();
	uint64 begun;
	List *list;

	AcceptInvalidationMessages();
	if (cache_valid && last.list_user == user && last.list_kinds == kinds)
	{
		*all = last.all;
		return copy_list(last.list);
	}
	begun = begin_look_up(catalog);
	list = look_up_workspaces(catalog, user, kinds, all);
	if (end_look_up(begun))
	{
		MemoryContext caller = MemoryContextSwitchTo(cache_memory);

		last.list_user = InvalidOid;
		list_free_deep(last.list);
		last.list = copy_list(list);
		last.list_user = user;
		last.list_kinds = kinds;
		last.all = *all;
		MemoryContextSwitchTo(caller);
	}
	return copy_list(list);
}

/* SQL: session_files._report_grants(), trigger. */
Datum
session_files_report_grants(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, TRIGGER_ROWS_OR_STATEMENTS, catalog_get()->workspace_grants, InvalidOid);

	CacheInvalidateRelcache(data->tg_relation);
	return PointerGetDatum(NULL); /* not SQL null: what statement triggers return is ignored */
}
