/*
 * claim.c
 *		claim_files: gives a worker files for a time.
 *
 * Files that came back go first, the longest waiting before the others, from whatever session they are (queue_walk.c). Then come files that
 * were never claimed: workspaces take turns, so that a tenant with a thousand sessions keeps no other waiting; in a workspace the sessions of
 * the highest priority take turns, so that a session of a million files keeps none of ten waiting. A claim goes on after the workspace
 * and the session that this backend served last. The first claim of a backend starts at random.
 *
 * No step depends on how many files, sessions, tenants or leases there are: each finds the next by a descent of an index on what can be
 * claimed. An index tuple may be dead: the next one is looked at then, and after some of a session, the session.
 *
 * A claim reads as the caller, and must not return a file of a session that the caller may not see (access.c), nor of one past its end. It
 * writes as the owner of the tables.
 */
#include "compat.h"

#include "ingestion/claim.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "index/scan.h"
#include "ingestion/batch.h"
#include "ingestion/lease.h"
#include "ingestion/queue_walk.h"
#include "row_set.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_claim_files);

#define MAX_FILES 100000
#define MAX_WORKER_CHARACTERS 200

/* Among how many workspaces a backend chooses its first one. */
#define MAX_START_WORKSPACES 1000

/* After how many dead index tuples of a session the session is looked at. */
#define MAX_DEAD_TUPLES 16

/* How many workspaces have a turn. */
#define MAX_TURNS 1000

/* Among how many sessions a backend chooses the first one of a workspace. */
#define MAX_START_SESSIONS 100

/* The session of a workspace that was served last. */
typedef struct Turn
{
	pg_uuid_t workspace_id; /* the hash key: a hash of its name */
	pg_uuid_t session_id;
} Turn;

static HTAB *turns = NULL;

/* The workspace that was served last; NULL at first. */
static text *last_workspace = NULL;

/* A place in the index of what was never claimed: a session of a workspace and priority. */
typedef struct Place
{
	text *workspace_name;
	int16 priority;
	pg_uuid_t session_id;
} Place;

/* Which places to look at, in the order of the index. */
typedef enum Range
{
	ANY_WORKSPACE,
	LATER_WORKSPACES, /* by the place's workspace */
	ANY_SESSION,      /* of the workspace, from the highest priority */
	LOWER_PRIORITY,   /* of the workspace */
	ANY_OF_PRIORITY,  /* of workspace and priority */
	LATER_SESSIONS    /* the same, after the place's session */
} Range;

bool
claim_may_serve(Claim *claim, const pg_uuid_t *session_id, bool *exists)
{
	KeyScan scan;

	if (claim->has_session && uuid7_compare(&claim->session_id, session_id) == 0)
	{
		*exists = true;
		return claim->is_open;
	}
	*exists = scan_find(&scan, claim->upload_sessions, claim->catalog.upload_sessions_pkey, session_id);
	claim->is_open = false;
	if (*exists)
	{
		text *name = DatumGetTextPP(scan_value(&scan, Anum_upload_sessions_workspace_name));

		*exists = (claim->workspace == NULL ||
		           DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, PointerGetDatum(name),
		                                                PointerGetDatum(claim->workspace)))) &&
		          access_may_see(&claim->access, session_id, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)});
		claim->is_open =
			*exists && DatumGetTimestampTz(scan_value(&scan, Anum_upload_sessions_expires_at)) > claim->now;
	}
	scan_end(&scan);
	claim->has_session = *exists;
	claim->session_id = *session_id;
	return claim->is_open;
}

static void
set_key(ScanKeyData *keys, int *count, AttrNumber column, StrategyNumber strategy, RegProcedure proc, Datum value)
{
	ScanKeyEntryInitialize(&keys[(*count)++], 0, column, strategy, InvalidOid, C_COLLATION_OID, proc, value);
}

/* Makes the keys of a range. */
static int
make_keys(Range range, const Place *place, ScanKeyData *keys)
{
	int count = 0;

	if (range == ANY_WORKSPACE)
		return 0;
	if (range == LATER_WORKSPACES)
	{
		set_key(keys, &count, 1, BTGreaterStrategyNumber, F_TEXT_GT, PointerGetDatum(place->workspace_name));
		return count;
	}
	set_key(keys, &count, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(place->workspace_name));
	if (range == LOWER_PRIORITY)
		set_key(keys, &count, 2, BTLessStrategyNumber, F_INT2LT, Int16GetDatum(place->priority));
	if (range == ANY_OF_PRIORITY || range == LATER_SESSIONS)
		set_key(keys, &count, 2, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(place->priority));
	if (range == LATER_SESSIONS)
		set_key(keys, &count, 3, BTGreaterStrategyNumber, F_UUID_GT, UUIDPGetDatum(&place->session_id));
	return count;
}

/* Reads the place of the current index tuple. */
static void
read_place(IndexScanDesc scan, Place *place)
{
	bool isnull;

	place->workspace_name = DatumGetTextPCopy(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull));
	place->priority = DatumGetInt16(index_getattr(scan->xs_itup, 2, scan->xs_itupdesc, &isnull));
	place->session_id = *DatumGetUUIDP(index_getattr(scan->xs_itup, 3, scan->xs_itupdesc, &isnull));
}

/* Goes to the first place of a range that has a row, or many dead index tuples. Returns false if there is none. */
static bool
find_place(Claim *claim, Range range, Place *place)
{
	Relation index = catalog_open_index(catalog_get()->file_queue_new_idx, RowExclusiveLock);
	ScanKeyData keys[3];
	int count = make_keys(range, place, keys);
	IndexScanDesc scan = compat_index_beginscan(claim->file_queue, index, &claim->dirty, count);
	Place found = *place;
	int dead_tuples = 0;
	bool is_found = false;

	scan->xs_want_itup = true;
	index_rescan(scan, keys, count, NULL, 0);
	while (!is_found && index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		pg_uuid_t before = found.session_id;

		CHECK_FOR_INTERRUPTS();
		read_place(scan, &found);
		if (uuid7_compare(&before, &found.session_id) != 0)
			dead_tuples = 0;
		is_found = index_fetch_heap(scan, claim->row) || ++dead_tuples >= MAX_DEAD_TUPLES;
	}
	index_endscan(scan);
	index_close(index, NoLock);
	if (is_found)
		*place = found;
	return is_found;
}

/* Returns where a workspace goes on, which a later call may move; *found says whether it was served before. */
static Turn *
find_turn(const text *workspace_name, bool *found)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(Turn)};
	pg_uuid_t id = queue_walk_workspace_id(workspace_name);

	if (turns != NULL && hash_get_num_entries(turns) >= MAX_TURNS)
	{
		hash_destroy(turns);
		turns = NULL;
	}
	if (turns == NULL)
		turns = hash_create("session_files turns", 16, &control, HASH_ELEM | HASH_BLOBS);
	return hash_search(turns, &id, HASH_ENTER, found);
}

/* Remembers where the next claim goes on. */
static void
remember_place(const Place *place)
{
	int size = VARSIZE_ANY(place->workspace_name);
	text *name = MemoryContextAlloc(TopMemoryContext, size);
	bool found;

	memcpy(name, place->workspace_name, size);
	if (last_workspace != NULL)
		pfree(last_workspace);
	last_workspace = name;
	find_turn(name, &found)->session_id = place->session_id;
}

/* Takes rows of the session at a place. */
static void
serve_session(Claim *claim, const Place *place)
{
	int taken = claim->taken;
	bool exists;

	if (claim_may_serve(claim, &place->session_id, &exists))
		queue_walk_new_in_session(claim, &place->session_id);
	if (claim->taken > taken)
		remember_place(place);
}

/* Takes rows of sessions of one priority in turn, after a session; place says which priority. */
static void
serve_priority(Claim *claim, Place place, const pg_uuid_t *after)
{
	Place first = place;
	Place next = place;
	bool found;

	next.session_id = *after;
	for (found = find_place(claim, LATER_SESSIONS, &next); found && claim->taken < claim->wanted;
	     found = find_place(claim, LATER_SESSIONS, &next))
		serve_session(claim, &next);
	for (found = find_place(claim, ANY_OF_PRIORITY, &first);
	     found && claim->taken < claim->wanted && uuid7_compare(&first.session_id, after) <= 0;
	     found = find_place(claim, LATER_SESSIONS, &first))
		serve_session(claim, &first);
}

/* Chooses one of the sessions of a workspace and priority, of the first ones after a random time. place is the first of all. */
static pg_uuid_t
choose_session(Claim *claim, Place place)
{
	TimestampTz first_time = uuid7_read_time(&place.session_id);
	pg_uuid_t chosen = place.session_id;
	Place next = place;
	int seen = 0;

	uuid7_lowest(first_time + (int64) (compat_random() * Max(claim->now - first_time, 0)), &next.session_id);
	while (seen < MAX_START_SESSIONS && find_place(claim, LATER_SESSIONS, &next))
	{
		if (compat_random() * ++seen < 1)
			chosen = next.session_id;
	}
	while (seen < MAX_START_SESSIONS)
	{
		if (compat_random() * ++seen < 1)
			chosen = place.session_id;
		if (!find_place(claim, LATER_SESSIONS, &place))
			break;
	}
	return chosen;
}

/* Takes rows of the sessions of a workspace, from the highest priority down. */
static void
serve_workspace(Claim *claim, text *workspace_name)
{
	Place place = {.workspace_name = workspace_name};
	bool found;

	for (found = find_place(claim, ANY_SESSION, &place); found && claim->taken < claim->wanted;
	     found = find_place(claim, LOWER_PRIORITY, &place))
	{
		bool has_turn;
		Turn *turn = find_turn(workspace_name, &has_turn);
		pg_uuid_t after = has_turn ? turn->session_id : choose_session(claim, place);

		turn->session_id = after;
		serve_priority(claim, place, &after);
	}
}

/* Sets the workspace that was served last to a random one. */
static void
choose_workspace(Claim *claim)
{
	Place place = {NULL};
	bool found = find_place(claim, ANY_WORKSPACE, &place);

	for (int seen = 1; found && seen <= MAX_START_WORKSPACES; seen++)
	{
		if (compat_random() * seen < 1)
			remember_place(&place);
		found = find_place(claim, LATER_WORKSPACES, &place);
	}
}

/* Takes rows of all workspaces, in turn after the one that was served last. */
static void
serve_all_workspaces(Claim *claim)
{
	Place place = {NULL};
	text *after;
	bool found;

	if (last_workspace == NULL)
		choose_workspace(claim);
	if (last_workspace == NULL)
		return;
	after = DatumGetTextPCopy(PointerGetDatum(last_workspace));
	place.workspace_name = after;
	for (found = find_place(claim, LATER_WORKSPACES, &place); found && claim->taken < claim->wanted;
	     found = find_place(claim, LATER_WORKSPACES, &place))
		serve_workspace(claim, place.workspace_name);
	for (found = find_place(claim, ANY_WORKSPACE, &place); found && claim->taken < claim->wanted;
	     found = find_place(claim, LATER_WORKSPACES, &place))
	{
		serve_workspace(claim, place.workspace_name);
		if (DatumGetBool(DirectFunctionCall2Coll(text_ge, C_COLLATION_OID, PointerGetDatum(place.workspace_name),
		                                         PointerGetDatum(after))))
			break;
	}
}

/* Takes files of a session. */
static void
claim_of_session(Claim *claim, const pg_uuid_t *session_id)
{
	bool exists;

	if (claim_may_serve(claim, session_id, &exists))
	{
		queue_walk_returned_in_session(claim, session_id);
		if (!claim->is_lost)
			queue_walk_new_in_session(claim, session_id);
	}
	if (!exists)
		ereport(ERROR,
		        (errcode(ERRCODE_NO_DATA_FOUND),
		         errmsg(claim->workspace ? "there is no session \"%s\" in the workspace \"%s\""
		                                 : "there is no session \"%s\"",
		                DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(session_id))),
		                claim->workspace ? text_to_cstring(claim->workspace) : NULL),
		         errhint(NOT_GRANTED_HINT)));
}

/* Takes files of all sessions of the claim's workspace, or of all workspaces. */
static void
claim_of_any(Claim *claim)
{
	if (claim->workspace != NULL)
		queue_walk_returned_in_workspace(claim, claim->workspace);
	else
		queue_walk_returned(claim);
	if (claim->is_lost)
		return;
	if (claim->workspace != NULL)
		serve_workspace(claim, claim->workspace);
	else
		serve_all_workspaces(claim);
}

/* Raises 42501 if policies on files apply to the caller that claiming cannot apply. */
static void
check_policies(const Claim *claim)
{
	if (!access_covers(&claim->access, claim->files))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		     errmsg("claiming can apply no other policy of row level security on table \"%s\" than the extension's own",
		            RelationGetRelationName(claim->files))));
}

static void
open_claim(Claim *claim)
{
	claim->upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	claim->files = table_open(catalog_get()->files, RowExclusiveLock);
	claim->file_queue = table_open(catalog_get()->file_queue, RowExclusiveLock);
	claim->catalog = *catalog_get();
	access_begin(&claim->access, &claim->catalog, claim->upload_sessions);
	check_policies(claim);
	claim->row = table_slot_create(claim->file_queue, NULL);
	InitDirtySnapshot(claim->dirty);
	claim->now = GetCurrentTimestamp();
}

static void
close_claim(Claim *claim)
{
	ExecDropSingleTupleTableSlot(claim->row);
	table_close(claim->file_queue, NoLock);
	table_close(claim->files, NoLock);
	table_close(claim->upload_sessions, NoLock);
}

/*
 * Reports why there is nothing to claim, if no workspace was granted to the user. Once in a row per backend and user: it may have to look at
 * all grants.
 */
static void
explain_nothing(const Claim *claim)
{
	static Oid informed = InvalidOid;

	if (claim->rows > 0 || informed == GetUserId())
		return;
	informed = GetUserId();
	if (!access_has_grants(&claim->access))
		ereport(NOTICE, (errmsg("no workspace was granted to the role \"%s\", so there are no files for it to claim",
		                        GetUserNameFromId(informed, false)),
		                 errhint("Grant it one, or all, with session_files.grant_workspace().")));
}

/* Checks the arguments worker and max_files. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	int characters;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("worker and max_files must not be null")));
	characters = DatumGetInt32(DirectFunctionCall1(textlen, PG_GETARG_DATUM(0)));
	if (characters < 1 || characters > MAX_WORKER_CHARACTERS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("worker has %d characters, and 1 to %d are allowed", characters,
		                       MAX_WORKER_CHARACTERS)));
	if (PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > MAX_FILES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("max_files is %d, and it must be 1 to %d", PG_GETARG_INT32(1), MAX_FILES)));
}

/*
 * SQL: session_files.claim_files(worker text, max_files integer, lease interval, workspace_name text, session_id uuid)
 * returns setof claimed_file. NULL stands for any workspace, or any session.
 */
Datum
session_files_claim_files(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = row_set_begin(fcinfo);
	Claim claim = {.wanted = 0};
	Lease lease;

	check_arguments(fcinfo);
	lease.expires_at = lease_end(fcinfo, 2);
	lease.worker = PG_GETARG_TEXT_PP(0);
	lease.max_files = claim.wanted = PG_GETARG_INT32(1);
	lease.token = *DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));
	claim.workspace = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	PreventCommandIfReadOnly("claim_files()");
	open_claim(&claim);
	if (PG_ARGISNULL(4))
	{
		claim_of_any(&claim);
		explain_nothing(&claim);
	}
	else
		claim_of_session(&claim, PG_GETARG_UUID_P(4));
	batch_write(&claim, &lease, result);
	close_claim(&claim);
	return (Datum) 0;
}
