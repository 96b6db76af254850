/*
 * write_mode.c
 *		What the write mode of a session says when a file is finished whose name the workspace has finished before.
 *
 * KEEP keeps both. FAIL makes the file FAILED instead, with FILE_ALREADY_EXISTS. OVERWRITE supersedes the others: superseded_by of each has
 * the id of this file. A trigger does it (derive_columns.c), so it holds for plain SQL, too.
 *
 * Each FINISHED file that is not superseded has a hash of its name, seeded by the id of its workspace, so that one index finds the others, whatever the number of
 * sessions. A workspace can be renamed: its id stays. A session that moves to another workspace gets new hashes (enqueue.c), but
 * not for files that are finished at the same moment without a lease: check() finds these, and repair() mends them.
 *
 * Of two transactions that finish files of one name at the same time, neither would see the other's. So FAIL and OVERWRITE take an
 * advisory lock of the workspace, until the transaction ends, and then look under a new snapshot (GetLatestSnapshot). KEEP takes none, and
 * need not: to the other it is as if it came later.
 */
#include "compat.h"

#include "ingestion/write_mode.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "index/scan.h"
#include "owner.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_name_hash);

/* Keeps these advisory locks apart from those of notify.c. */
#define LOCK_FIELD 8

/* What others are: files that the workspace has, with the same name. $1 is the hash, $2 the name, $3 the workspace's id. */
#define OTHERS                                                                                       \
	"f.name_hash = $1 AND f.name = $2"                                                               \
	" AND EXISTS (SELECT FROM session_files.upload_sessions AS s JOIN session_files.workspaces AS w" \
	" ON w.name = s.workspace_name WHERE s.session_id = f.session_id AND w.workspace_id = $3)"

static OwnerQuery find_others = {
	.text = "SELECT FROM session_files.files AS f WHERE " OTHERS " LIMIT 1",
	.arg_count = 3,
	.arg_types = {INT8OID, TEXTOID, UUIDOID},
};

static OwnerQuery supersede_others = {
	.text = "UPDATE session_files.files AS f SET superseded_by = $4 WHERE " OTHERS,
	.arg_count = 4,
	.arg_types = {INT8OID, TEXTOID, UUIDOID, UUIDOID},
};

/* A workspace that is renamed, from $2 to $3, keeps its id, and none has the old name any more. */
static OwnerQuery hash_again = {
	.text =
		"UPDATE session_files.files AS f SET name_hash = NULL WHERE f.session_id = $1 AND f.ingestion_status = 'FINISHED'"
		" AND $2 <> $3 AND EXISTS (SELECT FROM session_files.workspaces AS w WHERE w.name = $2)",
	.arg_count = 3,
	.arg_types = {UUIDOID, TEXTOID, TEXTOID},
};

/* The session whose file a statement finished last. It lives as long as the statement. */
struct NamedSession
{
	bool exists;
	pg_uuid_t id;
	Oid write_mode;
	pg_uuid_t workspace_id;
	bool is_locked;
};

static int64
hash_name(const pg_uuid_t *workspace_id, text *name)
{
	uint64 seed = hash_bytes_extended(workspace_id->data, UUID_LEN, 0);

	return (int64) hash_bytes_extended((unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), seed);
}

/* Reads the id of a workspace. */
static void
read_workspace_id(Datum name, pg_uuid_t *id)
{
	Relation workspaces = table_open(catalog_get()->workspaces, AccessShareLock);
	KeyScan scan;

	scan_init(&scan, workspaces, catalog_get()->workspaces_pkey);
	scan_key_equal(&scan, 1, F_TEXTEQ, name);
	scan_begin(&scan, ForwardScanDirection, 1);
	if (scan_next(&scan))
		*id = *DatumGetUUIDP(scan_value(&scan, Anum_workspaces_workspace_id));
	scan_end(&scan);
	table_close(workspaces, NoLock);
}

/* Reads write mode and workspace of a session, as of now. If there is none, the foreign key of the file will say so. */
static void
read_session(NamedSession *session, const pg_uuid_t *id)
{
	Relation upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	KeyScan scan;

	PushActiveSnapshot(GetLatestSnapshot());
	memset(session, 0, sizeof(NamedSession));
	session->id = *id;
	session->exists = scan_find(&scan, upload_sessions, catalog_get()->upload_sessions_pkey, id);
	if (session->exists)
	{
		session->write_mode = DatumGetObjectId(scan_value(&scan, Anum_upload_sessions_write_mode));
		read_workspace_id(scan_value(&scan, Anum_upload_sessions_workspace_name), &session->workspace_id);
	}
	scan_end(&scan);
	PopActiveSnapshot();
	table_close(upload_sessions, NoLock);
}

/* Returns the session of a file: the one of the statement's last file, if it is the same. */
static NamedSession *
session_of(FmgrInfo *function, const pg_uuid_t *id)
{
	NamedSession *session = function->fn_extra;

	if (session == NULL)
		session = function->fn_extra = MemoryContextAllocZero(function->fn_mcxt, sizeof(NamedSession));
	if (!session->exists || uuid7_compare(&session->id, id) != 0)
		read_session(session, id);
	return session;
}

/* Keeps other transactions from finishing files of the workspace by FAIL or OVERWRITE until this one ends. */
static void
lock_names(NamedSession *session)
{
	uint64 key = hash_bytes_extended(session->workspace_id.data, UUID_LEN, 0);
	LOCKTAG tag;

	if (session->is_locked)
		return;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, LOCK_FIELD);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	session->is_locked = true;
}

/* Runs one of the statements about the others. Returns how many it found. */
static uint64
run_on_others(OwnerQuery *query, const FinishedFile *file, Relation files)
{
	Datum values[4] = {Int64GetDatum(file->name_hash), PointerGetDatum(file->name),
	                   UUIDPGetDatum(&file->session->workspace_id), UUIDPGetDatum(file->id)};
	Caller caller = owner_begin(files);
	uint64 count = owner_run_under(query, values, GetLatestSnapshot());

	owner_end(caller);
	return count;
}

void
write_mode_hash(FinishedFile *file, FmgrInfo *function)
{
	file->session = session_of(function, file->session_id);
	file->name_hash = hash_name(&file->session->workspace_id, file->name);
}

bool
write_mode_apply(const FinishedFile *file, Relation files)
{
	const Catalog catalog = *catalog_get();
	Oid write_mode = file->session->write_mode;
	bool refuses = write_mode == catalog.write_modes[WRITE_MODE_FAIL];

	if (!file->session->exists || (!refuses && write_mode != catalog.write_modes[WRITE_MODE_OVERWRITE]))
		return true;
	lock_names(file->session);
	return run_on_others(refuses ? &find_others : &supersede_others, file, files) == 0 || !refuses;
}

void
write_mode_follow_session(Datum session_id, Datum old_workspace, Datum new_workspace)
{
	Datum values[3] = {session_id, old_workspace, new_workspace};

	owner_run_under(&hash_again, values, GetLatestSnapshot());
}

/* SQL: session_files._name_hash(workspace_id uuid, name text) returns bigint. */
Datum
session_files_name_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(hash_name(PG_GETARG_UUID_P(0), PG_GETARG_TEXT_PP(1)));
}
