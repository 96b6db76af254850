/*
 * catalog.c
 *		OIDs of the extension's own relations, functions and enum labels, cached for the backend's life.
 *
 * A listing takes some 10 us, and looking up twenty names would take a fifth of that. The cache becomes valid only when all names are
 * resolved and no invalidation arrived meanwhile. It is invalidated when one of the relations changes, or any type, schema, enum label
 * or function. An index may be missing: only what uses it fails, and until it is there, a change of any relation invalidates the cache.
 *
 * An OID is true until the next lock is taken, as that processes invalidations: catalog.h says what a caller has to do.
 */
#include "compat.h"

#include "catalog.h"

#include "access/genam.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define SCHEMA_NAME "session_files"

const char *const status_labels[STATUS_COUNT] = {"FAILED", "FINISHED", "PENDING"};

const char *const reason_labels[REASON_COUNT] = {"EMPTY_FILE",
                                                 "FAILED_TO_PARSE_META",
                                                 "FILE NAME TOO LONG. MAX LENGTH IS 800",
                                                 "FILE_ALREADY_EXISTS",
                                                 "FILE_NOT_FOUND",
                                                 "INGESTING_FILE_FAILED",
                                                 "SLOWDOWN",
                                                 "UNKNOWN_ERROR"};

static const char *const write_mode_labels[WRITE_MODE_COUNT] = {"FAIL", "KEEP", "OVERWRITE"};

/* In the order of the bits of Kind (grants.h). */
const char *const kind_labels[KIND_COUNT] = {"lister", "uploader", "worker", "watcher", "keeper"};

typedef enum RelationKind
{
	TABLE, /* or a sequence */
	INDEX
} RelationKind;

/* The relations by name, and where their OIDs go. */
static const struct
{
	const char *name;
	size_t offset;
	RelationKind kind;
} relations[] = {
	{"upload_sessions", offsetof(Catalog, upload_sessions), TABLE},
	{"upload_sessions_pkey", offsetof(Catalog, upload_sessions_pkey), INDEX},
	{"files", offsetof(Catalog, files), TABLE},
	{"files_generation_seq", offsetof(Catalog, files_generation_seq), TABLE},
	{"files_pkey", offsetof(Catalog, files_pkey), INDEX},
	{"files_status_idx", offsetof(Catalog, files_status_idx), INDEX},
	{"files_reason_idx", offsetof(Catalog, files_reason_idx), INDEX},
	{"files_name_idx", offsetof(Catalog, files_name_idx), INDEX},
	{"files_status_name_idx", offsetof(Catalog, files_status_name_idx), INDEX},
	{"file_counts", offsetof(Catalog, file_counts), TABLE},
	{"file_counts_pkey", offsetof(Catalog, file_counts_pkey), INDEX},
	{"file_queue", offsetof(Catalog, file_queue), TABLE},
	{"file_queue_due_idx", offsetof(Catalog, file_queue_due_idx), INDEX},
	{"file_queue_new_idx", offsetof(Catalog, file_queue_new_idx), INDEX},
	{"file_queue_returned_idx", offsetof(Catalog, file_queue_returned_idx), INDEX},
	{"file_queue_workspace_returned_idx", offsetof(Catalog, file_queue_workspace_returned_idx), INDEX},
	{"workspaces", offsetof(Catalog, workspaces), TABLE},
	{"workspaces_pkey", offsetof(Catalog, workspaces_pkey), INDEX},
	{"workspace_grants", offsetof(Catalog, workspace_grants), TABLE},
	{"workspace_grants_key", offsetof(Catalog, workspace_grants_key), INDEX},
};

/* The columns that are known by their position (catalog.h), and their types. */
static const struct
{
	size_t relation; /* the offset of its OID */
	const char *name;
	AttrNumber position;
	Oid type; /* 0: one of the extension's own; of a domain, what it is of */
} columns[] = {
	{offsetof(Catalog, upload_sessions), "session_id", Anum_upload_sessions_session_id, UUIDOID},
	{offsetof(Catalog, upload_sessions), "workspace_name", Anum_upload_sessions_workspace_name, TEXTOID},
	{offsetof(Catalog, upload_sessions), "status", Anum_upload_sessions_status, 0},
	{offsetof(Catalog, upload_sessions), "write_mode", Anum_upload_sessions_write_mode, 0},
	{offsetof(Catalog, upload_sessions), "expires_at", Anum_upload_sessions_expires_at, TIMESTAMPTZOID},
	{offsetof(Catalog, upload_sessions), "priority", Anum_upload_sessions_priority, INT2OID},
	{offsetof(Catalog, files), "session_id", Anum_files_session_id, UUIDOID},
	{offsetof(Catalog, files), "file_ingestion_id", Anum_files_file_ingestion_id, UUIDOID},
	{offsetof(Catalog, files), "ingestion_status", Anum_files_ingestion_status, 0},
	{offsetof(Catalog, files), "ingestion_status_reason", Anum_files_ingestion_status_reason, 0},
	{offsetof(Catalog, files), "name", Anum_files_name, TEXTOID},
	{offsetof(Catalog, files), "generation", Anum_files_generation, INT8OID},
	{offsetof(Catalog, files), "name_hash", Anum_files_name_hash, INT8OID},
	{offsetof(Catalog, files), "superseded_by", Anum_files_superseded_by, UUIDOID},
	{offsetof(Catalog, files), "error", Anum_files_error, TEXTOID},
	{offsetof(Catalog, files), "size", Anum_files_size, INT8OID},
	{offsetof(Catalog, files), "type", Anum_files_type, TEXTOID},
	{offsetof(Catalog, files), "location", Anum_files_location, TEXTOID},
	{offsetof(Catalog, files), "metadata", Anum_files_metadata, JSONBOID},
	{offsetof(Catalog, file_counts), "session_id", Anum_file_counts_session_id, UUIDOID},
	{offsetof(Catalog, file_counts), "slot", Anum_file_counts_slot, INT8OID},
	{offsetof(Catalog, file_counts), "failed", Anum_file_counts_first_status + STATUS_FAILED, INT8OID},
	{offsetof(Catalog, file_counts), "finished", Anum_file_counts_first_status + STATUS_FINISHED, INT8OID},
	{offsetof(Catalog, file_counts), "pending", Anum_file_counts_first_status + STATUS_PENDING, INT8OID},
	{offsetof(Catalog, file_counts), "digest", Anum_file_counts_digest, INT8OID},
	{offsetof(Catalog, workspaces), "name", Anum_workspaces_name, TEXTOID},
	{offsetof(Catalog, workspaces), "workspace_id", Anum_workspaces_workspace_id, UUIDOID},
	{offsetof(Catalog, workspace_grants), "role", Anum_workspace_grants_role, REGROLEOID},
	{offsetof(Catalog, workspace_grants), "workspace_name", Anum_workspace_grants_workspace_name, TEXTOID},
	{offsetof(Catalog, workspace_grants), "kind", Anum_workspace_grants_kind, 0},
	{offsetof(Catalog, file_queue), "row_id", Anum_file_queue_row_id, INT8OID},
	{offsetof(Catalog, file_queue), "session_id", Anum_file_queue_session_id, UUIDOID},
	{offsetof(Catalog, file_queue), "workspace_name", Anum_file_queue_workspace_name, TEXTOID},
	{offsetof(Catalog, file_queue), "priority", Anum_file_queue_priority, INT2OID},
	{offsetof(Catalog, file_queue), "due_at", Anum_file_queue_due_at, TIMESTAMPTZOID},
	{offsetof(Catalog, file_queue), "file_ingestion_ids", Anum_file_queue_file_ingestion_ids, UUIDARRAYOID},
	{offsetof(Catalog, file_queue), "generation", Anum_file_queue_generation, INT8OID},
	{offsetof(Catalog, file_queue), "attempt", Anum_file_queue_attempt, INT4OID},
	{offsetof(Catalog, file_queue), "claimed_at", Anum_file_queue_claimed_at, TIMESTAMPTZOID},
	{offsetof(Catalog, file_queue), "last_reason", Anum_file_queue_last_reason, 0},
	{offsetof(Catalog, file_queue), "lease_token", Anum_file_queue_lease_token, UUIDOID},
	{offsetof(Catalog, file_queue), "worker", Anum_file_queue_worker, TEXTOID},
	{offsetof(Catalog, file_queue), "company", Anum_file_queue_company, INT4OID},
};

#define RELATION_OID(catalog, i) (*(Oid *) ((char *) (catalog) + relations[i].offset))

/* Takes the place of the OID of a missing index, and says which index it is. No relation of an extension has so small an OID. */
#define MISSING(i) ((Oid) ((i) + 1))
#define IS_MISSING(oid) ((oid) <= lengthof(relations))

static Catalog cache;
static bool cache_valid = false;
static bool index_missing = false;

/* Counts invalidations, to see one that arrives while names are resolved. */
static uint64 invalidations = 0;

static void
invalidate(void)
{
	cache_valid = false;
	invalidations++;
}

static void
on_relation_change(Datum arg, Oid relid)
{
	if (!cache_valid || index_missing || !OidIsValid(relid))
	{
		invalidate();
		return;
	}
	for (int i = 0; i < lengthof(relations); i++)
	{
		if (RELATION_OID(&cache, i) == relid)
		{
			invalidate();
			return;
		}
	}
}

static void
on_syscache_change(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate();
}

void
catalog_init(void)
{
	CacheRegisterRelcacheCallback(on_relation_change, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, on_syscache_change, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, on_syscache_change, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, on_syscache_change, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, on_syscache_change, (Datum) 0);
}

/* Raises the error for an object of the extension that does not exist. */
static void
report_missing(const char *kind, const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
	                errmsg("%s \"%s.%s\" of the extension session_files does not exist", kind, SCHEMA_NAME, name),
	                errhint("Undo what was renamed or dropped, or create the extension again.")));
}

/* Checks that the tables have their columns at the positions where this library reads them: an ALTER TABLE may have changed that. */
static void
check_columns(const Catalog *catalog)
{
	for (int i = 0; i < lengthof(columns); i++)
	{
		Oid relation = *(const Oid *) ((const char *) catalog + columns[i].relation);
		AttrNumber position = get_attnum(relation, columns[i].name);

		if (position == columns[i].position &&
		    (!OidIsValid(columns[i].type) || getBaseType(get_atttype(relation, position)) == columns[i].type))
			continue;
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("the library session_files does not know the table \"%s.%s\" as it is", SCHEMA_NAME,
		                       get_rel_name(relation)),
		                errdetail("It expects the column \"%s\" at position %d.", columns[i].name, columns[i].position),
		                errhint("Undo what was altered, or create the extension again.")));
	}
}

static void
resolve_labels(Oid schema, const char *type_name, const char *const *labels, int count, Oid *oids)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, PointerGetDatum(type_name), ObjectIdGetDatum(schema));

	if (!OidIsValid(type))
		report_missing("type", type_name);
	for (int i = 0; i < count; i++)
	{
		oids[i] = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid, ObjectIdGetDatum(type), CStringGetDatum(labels[i]));
		if (!OidIsValid(oids[i]))
			report_missing("enum label", labels[i]);
	}
}

static Oid
resolve_function(Oid schema, const char *name, const Oid *types, int count)
{
	oidvector *arguments = buildoidvector(types, count);
	Oid oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name), PointerGetDatum(arguments),
	                          ObjectIdGetDatum(schema));

	if (!OidIsValid(oid))
		report_missing("function", name);
	pfree(arguments);
	return oid;
}

/* Resolves the relations. Returns whether an index is missing. */
static bool
resolve_relations(Oid schema, Catalog *catalog)
{
	bool missing = false;

	StaticAssertStmt(lengthof(relations) < FirstNormalObjectId, "MISSING() must not be the OID of an index");
	for (int i = 0; i < lengthof(relations); i++)
	{
		Oid oid = OidIsValid(schema) ? get_relname_relid(relations[i].name, schema) : InvalidOid;

		if (!OidIsValid(oid))
		{
			if (relations[i].kind == TABLE)
				report_missing("relation", relations[i].name);
			oid = MISSING(i);
			missing = true;
		}
		RELATION_OID(catalog, i) = oid;
	}
	return missing;
}

/* Resolves all names. Returns whether an index is missing. */
static bool
resolve(Catalog *catalog)
{
	Oid schema = get_namespace_oid(SCHEMA_NAME, true);
	bool missing = resolve_relations(schema, catalog);

	check_columns(catalog);
	catalog->schema = schema;
	catalog->handle_request =
		resolve_function(schema, "handle_request", (Oid[]){TEXTOID, TEXTOID, JSONOID, BYTEAOID}, 4);
	catalog->may_see_workspace = resolve_function(schema, "_may_see_workspace", (Oid[]){TEXTOID}, 1);
	catalog->may_see_session = resolve_function(schema, "_may_see_session", (Oid[]){UUIDOID}, 1);
	resolve_labels(schema, "session_status", (const char *const[]){"OPEN"}, 1, &catalog->session_open);
	resolve_labels(schema, "ingestion_status", status_labels, STATUS_COUNT, catalog->statuses);
	resolve_labels(schema, "ingestion_status_reason", reason_labels, REASON_COUNT, catalog->reasons);
	resolve_labels(schema, "grant_kind", kind_labels, KIND_COUNT, catalog->kinds);
	resolve_labels(schema, "write_mode", write_mode_labels, WRITE_MODE_COUNT, catalog->write_modes);
	return missing;
}

bool
catalog_exists(void)
{
	Oid schema = get_namespace_oid(SCHEMA_NAME, true);

	if (cache_valid)
		return true;
	for (int i = 0; i < lengthof(relations); i++)
	{
		if (!OidIsValid(schema) ||
		    (relations[i].kind == TABLE && !OidIsValid(get_relname_relid(relations[i].name, schema))))
			return false;
	}
	return true;
}

const Catalog *
catalog_get(void)
{
	/* With debug_discard_caches invalidations never end, hence the limit. */
	for (int attempt = 0; !cache_valid && attempt < CATALOG_ATTEMPTS; attempt++)
	{
		uint64 before = invalidations;
		Catalog fresh;

		index_missing = resolve(&fresh);
		cache = fresh;
		cache_valid = (before == invalidations);
	}
	return &cache;
}

/*
 * Returns whether an index is complete. REINDEX CONCURRENTLY puts a new index in the place of an old one. The old one then has another
 * name and is not valid, but it is still maintained for transactions that locked its table before.
 */
static bool
is_complete(Relation index)
{
	const FormData_pg_index *form = index->rd_index;

	if (form->indisvalid)
		return true;
	for (int i = 0; i < lengthof(relations); i++)
	{
		if (strcmp(relations[i].name, RelationGetRelationName(index)) == 0)
			return false;
	}
	return form->indisready && form->indislive;
}

Relation
catalog_open_index(Oid oid, LOCKMODE mode)
{
	Relation index;

	if (IS_MISSING(oid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("index \"%s.%s\" of the extension session_files does not exist", SCHEMA_NAME,
		                       relations[oid - MISSING(0)].name),
		                errhint("Create it again, by its statement in the extension's install script.")));
	index = index_open(oid, mode);
	if (!is_complete(index))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("index \"%s.%s\" of the extension session_files is not valid", SCHEMA_NAME,
		                       RelationGetRelationName(index)),
		                errhint("Unless it is being created, use REINDEX INDEX %s.%s.", SCHEMA_NAME,
		                        RelationGetRelationName(index))));
	return index;
}

bool
catalog_is_current(void)
{
	return cache_valid;
}

bool
catalog_may_handle_requests(void)
{
	Catalog catalog = *catalog_get();

	return compat_namespace_aclcheck(catalog.schema, GetUserId(), ACL_USAGE) == ACLCHECK_OK &&
	       compat_proc_aclcheck(catalog.handle_request, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK;
}

/* Returns the number of a label of one of the extension's enums. */
static int
find_label(const char *type_name, const Oid *labels, int count, Oid label)
{
	for (int i = 0; i < count; i++)
	{
		if (labels[i] == label)
			return i;
	}
	elog(ERROR, "unknown label %u of type %s", label, type_name);
}

int
catalog_status(const Catalog *catalog, Oid label)
{
	return find_label("ingestion_status", catalog->statuses, STATUS_COUNT, label);
}

int
catalog_reason(const Catalog *catalog, Oid label)
{
	return find_label("ingestion_status_reason", catalog->reasons, REASON_COUNT, label);
}

int
catalog_kind(const Catalog *catalog, Oid label)
{
	return find_label("grant_kind", catalog->kinds, KIND_COUNT, label);
}
