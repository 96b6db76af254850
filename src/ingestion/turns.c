/*
 * turns.c
 *		Takes files that were never claimed: workspaces and sessions take turns.
 *
 * Workspaces take turns, so that a tenant with a thousand sessions keeps no other waiting. In a workspace the sessions of the highest
 * priority take turns, so that a session of a million files keeps none of ten waiting. A claim goes on after the workspace and the session
 * that this backend served last. The first claim of a backend starts at random.
 *
 * The next session with files is found by a descent of an index. Index tuples of files that were claimed are dead, and stay as long as any
 * transaction's snapshot is older. After some of a session, the session is looked at, whose own hints say where living ones are
 * (queue_walk.c). Which session comes after many dead ones is remembered for a while: so long that to find it again takes a twentieth of
 * the time. Files of a session between the two are not claimed before that.
 */
#include "compat.h"

#include "ingestion/turns.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "ingestion/queue_walk.h"
#include "uuid7.h"

/* Among how many workspaces a backend chooses its first one. */
#define MAX_START_WORKSPACES 1000

/* After how many dead index tuples of a session the session is looked at. */
#define MAX_DEAD_TUPLES 16

/* How many sessions and workspaces have a hop. */
#define MAX_HOPS 2000

/* A hop over dead index tuples is remembered for so many; and how long, in microseconds per tuple: to walk over one takes some 0.1 us. */
#define MIN_DEAD_TUPLES 64
#define HOP_TIME_PER_TUPLE 2

/* Among how many sessions a backend chooses the first one of a workspace. */
#define MAX_START_SESSIONS 100

/* Of a workspace: which session was served last. Of a session: which one has rows after it, for a while. */
typedef struct Hop
{
	pg_uuid_t id; /* the hash key: of the session, or a hash of the workspace's name */
	pg_uuid_t session_id;
	bool has_next;     /* of a session: else there is none */
	TimestampTz until; /* of a session */
} Hop;

static HTAB *hops = NULL;

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
	Datum name = index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull);
	Datum priority = index_getattr(scan->xs_itup, 2, scan->xs_itupdesc, &isnull);
	Datum session_id = index_getattr(scan->xs_itup, 3, scan->xs_itupdesc, &isnull);

	Assert(!isnull);
	place->workspace_name = DatumGetTextPCopy(name);
	place->priority = DatumGetInt16(priority);
	place->session_id = *DatumGetUUIDP(session_id);
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
		is_found = index_fetch_heap(scan, claim->row);
		if (is_found)
			break;
		claim->dead_tuples++;
		is_found = ++dead_tuples >= MAX_DEAD_TUPLES;
	}
	index_endscan(scan);
	index_close(index, NoLock);
	if (is_found)
		*place = found;
	return is_found;
}

/* Returns the hop of a session or workspace, perhaps a new one. A later call may drop it. */
static Hop *
find_hop(const pg_uuid_t *id)
{
	HASHCTL control = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(Hop)};

	if (hops != NULL && hash_get_num_entries(hops) >= MAX_HOPS)
	{
		hash_destroy(hops);
		hops = NULL;
	}
	if (hops == NULL)
		hops = hash_create("session_files hops", 16, &control, HASH_ELEM | HASH_BLOBS);
	return hash_search(hops, id, HASH_ENTER, NULL);
}

/* Remembers where the next claim goes on. */
static void
remember_place(const Place *place)
{
	pg_uuid_t workspace_id = queue_walk_workspace_id(place->workspace_name);
	int size = VARSIZE_ANY(place->workspace_name);
	text *name = MemoryContextAlloc(TopMemoryContext, size);
	Hop *hop;

	memcpy(name, place->workspace_name, size);
	if (last_workspace != NULL)
		pfree(last_workspace);
	last_workspace = name;
	hop = find_hop(&workspace_id);
	hop->session_id = place->session_id;
}

/* Remembers that after a session come dead index tuples alone, up to another session; or, for NULL, no other. */
static void
remember_dead(const Claim *claim, const pg_uuid_t *after, const pg_uuid_t *next, int64 dead_tuples)
{
	Hop *hop;

	if (dead_tuples < MIN_DEAD_TUPLES)
		return;
	hop = find_hop(after);
	hop->has_next = (next != NULL);
	if (next != NULL)
		hop->session_id = *next;
	hop->until = claim->now + dead_tuples * HOP_TIME_PER_TUPLE;
}

/* Returns whether it is known what comes after a session; *next then has it, unless that is nothing: then *ended. */
static bool
knows_next(const Claim *claim, const pg_uuid_t *after, pg_uuid_t *next, bool *ended)
{
	Hop *hop = hops == NULL ? NULL : hash_search(hops, after, HASH_FIND, NULL);

	if (hop == NULL || hop->until <= claim->now)
		return false;
	*ended = !hop->has_next;
	if (!*ended)
		*next = hop->session_id;
	return true;
}

/* Takes rows of the session at a place; returns whether there were any. */
static bool
serve_session(Claim *claim, const Place *place)
{
	int taken = claim->taken;
	bool exists;

	if (claim_may_serve(claim, &place->session_id, &exists))
		queue_walk_new_in_session(claim, &place->session_id);
	if (claim->taken == taken)
		return false;
	remember_place(place);
	return true;
}

/* Goes from a place to the next one of its priority, from the last one to the first; returns false when that is beyond a session. */
static bool
find_next(Claim *claim, Place *place, const pg_uuid_t *last, bool *wrapped)
{
	if (!*wrapped && find_place(claim, LATER_SESSIONS, place))
		return true;
	if (!find_place(claim, *wrapped ? LATER_SESSIONS : ANY_OF_PRIORITY, place))
		return false;
	*wrapped = true;
	return uuid7_compare(&place->session_id, last) <= 0;
}

/* Takes rows of the sessions of one priority in turn, after a session; place says which priority. */
static void
serve_priority(Claim *claim, Place place, const pg_uuid_t *after)
{
	pg_uuid_t served = *after;
	int64 dead_tuples = claim->dead_tuples;
	bool wrapped = false;
	bool ended;

	place.session_id = *after;
	if (knows_next(claim, after, &place.session_id, &ended) &&
	    (ended || (serve_session(claim, &place) && claim->taken >= claim->wanted)))
		return;
	place.session_id = *after;
	while (claim->taken < claim->wanted && find_next(claim, &place, after, &wrapped))
	{
		if (!serve_session(claim, &place))
			continue;
		remember_dead(claim, &served, &place.session_id, claim->dead_tuples - dead_tuples);
		served = place.session_id;
		dead_tuples = claim->dead_tuples;
	}
	if (claim->taken < claim->wanted)
		remember_dead(claim, &served, NULL, claim->dead_tuples - dead_tuples);
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

/* Takes rows of the sessions of a workspace, of the highest priority first. */
static void
serve_workspace(Claim *claim, text *workspace_name)
{
	Place place = {.workspace_name = workspace_name};
	pg_uuid_t id = queue_walk_workspace_id(workspace_name);
	Hop *served = hops == NULL ? NULL : hash_search(hops, &id, HASH_FIND, NULL);
	bool was_served = (served != NULL);
	pg_uuid_t after;
	bool found;

	if (was_served)
		after = served->session_id;

	for (found = find_place(claim, ANY_SESSION, &place); found && claim->taken < claim->wanted;
	     found = find_place(claim, LOWER_PRIORITY, &place))
	{
		if (!was_served)
			after = choose_session(claim, place);
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

void
turns_serve_all(Claim *claim)
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

/* Returns the place in a list of the first workspace after the one that was served last; a random one at first. */
static int
find_start(List *workspaces)
{
	int i = 0;

	if (last_workspace == NULL)
		return (int) (compat_random() * list_length(workspaces));
	while (i < list_length(workspaces) &&
	       DatumGetBool(DirectFunctionCall2Coll(text_le, C_COLLATION_OID, PointerGetDatum(list_nth(workspaces, i)),
	                                            PointerGetDatum(last_workspace))))
		i++;
	return i;
}

void
turns_serve(Claim *claim, List *workspaces)
{
	int count = list_length(workspaces);
	int start = find_start(workspaces);

	for (int i = 0; i < count && claim->taken < claim->wanted; i++)
		serve_workspace(claim, list_nth(workspaces, (start + i) % count));
}
