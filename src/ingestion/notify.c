/*
 * notify.c
 *		Notifications: to workers when a session has files to claim, to others when a session is done.
 *
 * What happens to a session is collected during the transaction, per subtransaction, and turned into notifications before the commit.
 * A transaction that is PREPAREd may not notify: it leaves marks for what may be the end of a session, and the rest is dropped.
 *
 * A session is done when it is closed or expired and no file is PENDING. That is announced at least once: by the transaction that makes
 * it so, or later by maintain(). A transaction that settles files, or ends a session, looks before it commits; if it sees the end, it
 * announces. If not, it leaves a mark: a row of file_counts with a negative slot and no files. maintain() has its transaction look at
 * the marked sessions again. The marks go when the end is announced.
 *
 * Of two transactions that finish the last files at the same time, neither sees the other's changes. So while few files are left, they
 * commit one at a time: each takes an advisory lock and looks again. No transaction waits for longer than the commit of another takes,
 * and none waits while it has such a lock: so they cannot deadlock.
 *
 * Status and counts are read under new snapshots (GetLatestSnapshot), taken after the lock.
 */
#include "compat.h"

#include "ingestion/notify.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "index/scan.h"
#include "ingestion/counts.h"
#include "owner.h"
#include "settings.h"
#include "trigger.h"
#include "uuid7.h"

#define CHANNEL_WORK "session_files_work"
#define CHANNEL_DONE "session_files_done"

/* With more PENDING files than this, a transaction takes no lock: it is not the last, unless others finish so many at the same moment. */
#define FEW_FILES 1000

/* Keeps these advisory locks apart from those of SQL's functions, whose fourth field is 1 or 2. */
#define LOCK_FIELD 7

PG_FUNCTION_INFO_V1(session_files_notify_end);
PG_FUNCTION_INFO_V1(session_files_notify_settled);
PG_FUNCTION_INFO_V1(session_files_notify_work);

/* Events belong to a subtransaction, which drops them when it is rolled back. */
typedef struct SessionEventsKey
{
	pg_uuid_t session_id;
	SubTransactionId subtransaction;
} SessionEventsKey;

/* What happened to a session in a subtransaction. */
typedef struct SessionEvents
{
	SessionEventsKey key; /* the hash key */
	bool work;            /* it has files to claim */
	bool end;             /* files are not PENDING any more, or it was closed, or has expired */
} SessionEvents;

/*
 * The events of this transaction, in its memory; NULL if there are none. They are also listed in the order in which they came: those of the
 * subtransaction that ends next are the last ones.
 */
static HTAB *all_events = NULL;
static List *ordered_events = NIL;

/* What is read before the commit. */
typedef struct Look
{
	Catalog catalog;
	Relation upload_sessions;
	Relation file_counts;
	bool prepares; /* the transaction is PREPAREd */
	bool has_lock; /* the advisory lock of a session */
} Look;

static OwnerQuery add_mark = {
	.text = "INSERT INTO session_files.file_counts (session_id, slot, failed, finished, pending, digest)"
			" VALUES ($1, -$2, 0, 0, 0, 0)",
	.arg_count = 2,
	.arg_types = {UUIDOID, INT8OID},
};

static OwnerQuery delete_marks = {
	.text = "DELETE FROM session_files.file_counts AS c WHERE c.ctid = ANY (ARRAY("
			"SELECT m.ctid FROM session_files.file_counts AS m WHERE m.session_id = $1 AND m.slot < 0"
			" FOR UPDATE SKIP LOCKED))",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static SessionEvents *
find_events(const pg_uuid_t *session_id, SubTransactionId subtransaction)
{
	HASHCTL control = {
		.keysize = sizeof(SessionEventsKey), .entrysize = sizeof(SessionEvents), .hcxt = TopTransactionContext};
	SessionEventsKey key = {.session_id = *session_id, .subtransaction = subtransaction};
	SessionEvents *events;
	bool found;

	if (all_events == NULL)
		all_events = hash_create("session_files events", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	events = hash_search(all_events, &key, HASH_ENTER, &found);
	if (!found)
	{
		MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);

		events->work = events->end = false;
		ordered_events = lappend(ordered_events, events);
		MemoryContextSwitchTo(context);
	}
	return events;
}

void
notify_work(const pg_uuid_t *session_id)
{
	find_events(session_id, GetCurrentSubTransactionId())->work = true;
}

void
notify_settled(const pg_uuid_t *session_id)
{
	find_events(session_id, GetCurrentSubTransactionId())->end = true;
}

/* Passes the events of a subtransaction to its parent, or drops them. */
static void
end_subtransaction(SubTransactionId subtransaction, SubTransactionId parent, bool committed)
{
	int first = list_length(ordered_events);
	List *last_events;
	ListCell *cell;

	while (first > 0 && ((SessionEvents *) list_nth(ordered_events, first - 1))->key.subtransaction == subtransaction)
		first--;
	last_events = list_copy_tail(ordered_events, first);
	ordered_events = list_truncate(ordered_events, first);
	foreach (cell, last_events)
	{
		SessionEvents ended = *(SessionEvents *) lfirst(cell);

		hash_search(all_events, &ended.key, HASH_REMOVE, NULL);
		if (committed)
		{
			SessionEvents *events = find_events(&ended.key.session_id, parent);

			events->work |= ended.work;
			events->end |= ended.end;
		}
	}
}

static void
notify(const char *channel, const pg_uuid_t *session_id)
{
	char text[UUID_TEXT_LEN + 1];

	uuid7_format(session_id, text);
	text[UUID_TEXT_LEN] = '\0';
	Async_Notify(channel, text);
}

/* Makes the tag of a session's lock. Two sessions may have the same one; then they wait for each other. */
static void
make_tag(LOCKTAG *tag, const pg_uuid_t *session_id)
{
	uint64 hash = hash_bytes_extended(session_id->data, UUID_LEN, 0);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, LOCK_FIELD);
}

/* Returns whether a session takes no more files, as of now. */
static bool
is_ended(const Look *look, const pg_uuid_t *session_id)
{
	KeyScan scan;
	bool ended;

	PushActiveSnapshot(GetLatestSnapshot());
	ended = scan_find(&scan, look->upload_sessions, look->catalog.upload_sessions_pkey, session_id) &&
	        DatumGetObjectId(scan_value(&scan, Anum_upload_sessions_status)) != look->catalog.session_open;
	scan_end(&scan);
	PopActiveSnapshot();
	return ended;
}

/* Reads a session's counts as of now; returns how many files are PENDING. */
static int64
read_counts(const Look *look, const pg_uuid_t *session_id, Counts *counts)
{
	PushActiveSnapshot(GetLatestSnapshot());
	counts_read(&look->catalog, look->file_counts, session_id, counts);
	PopActiveSnapshot();
	return counts->by_status[STATUS_PENDING];
}

/* Takes the lock of a session. The second of a transaction it takes only if it need not wait. */
static bool
take_lock(Look *look, const pg_uuid_t *session_id)
{
	LOCKTAG tag;

	make_tag(&tag, session_id);
	if (LockAcquire(&tag, ExclusiveLock, false, look->has_lock) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	look->has_lock = true;
	return true;
}

/* Adds a session's mark, or deletes its marks. */
static void
write_mark(const Look *look, const pg_uuid_t *session_id, bool adds)
{
	Datum values[2] = {UUIDPGetDatum(session_id),
	                   Int64GetDatum((int64) U64FromFullTransactionId(GetTopFullTransactionId()))};
	Caller caller;

	PushActiveSnapshot(GetLatestSnapshot());
	caller = owner_begin(look->file_counts);
	owner_run_under(adds ? &add_mark : &delete_marks, values, GetActiveSnapshot());
	owner_end(caller);
	PopActiveSnapshot();
}

/* Looks whether a session is done with this transaction. Announces it, or leaves a mark; the head of this file says how. */
static void
look_for_end(Look *look, const pg_uuid_t *session_id)
{
	Counts counts;
	int64 pending;

	if (!look->prepares && !is_ended(look, session_id))
		return;
	pending = read_counts(look, session_id, &counts);
	if (!look->prepares && pending > 0 && pending <= FEW_FILES && take_lock(look, session_id))
		pending = read_counts(look, session_id, &counts);
	if (look->prepares || pending > 0)
	{
		if (!counts.marked)
			write_mark(look, session_id, true);
		return;
	}
	notify(CHANNEL_DONE, session_id);
	/* With one snapshot for the whole transaction, the deletion could fail. Then maintain() announces the end again. */
	if (counts.marked && !IsolationUsesXactSnapshot())
		write_mark(look, session_id, false);
}

/* Turns the events into notifications; those of a transaction that is PREPAREd into marks. */
static void
handle_events(bool prepares)
{
	Look look = {.prepares = prepares};
	ListCell *cell;

	look.upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	look.file_counts = table_open(catalog_get()->file_counts, RowExclusiveLock);
	look.catalog = *catalog_get();
	foreach (cell, ordered_events)
	{
		SessionEvents *events = lfirst(cell);

		if (events->work && !prepares)
			notify(CHANNEL_WORK, &events->key.session_id);
		if (events->end)
			look_for_end(&look, &events->key.session_id);
	}
	table_close(look.file_counts, NoLock);
	table_close(look.upload_sessions, NoLock);
}

static void
at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			/* This transaction may have dropped the extension. */
			if (all_events != NULL && settings_notify && catalog_exists())
				handle_events(event == XACT_EVENT_PRE_PREPARE);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			all_events = NULL;
			ordered_events = NIL;
			break;
		default:
			break;
	}
}

static void
at_subtransaction_event(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (all_events != NULL && (event == SUBXACT_EVENT_COMMIT_SUB || event == SUBXACT_EVENT_ABORT_SUB))
		end_subtransaction(id, parent, event == SUBXACT_EVENT_COMMIT_SUB);
}

void
notify_init(void)
{
	RegisterSubXactCallback(at_subtransaction_event, NULL);
	RegisterXactCallback(at_transaction_event, NULL);
}

/* SQL: session_files._notify_end(), trigger. */
Datum
session_files_notify_end(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, TRIGGER_ROWS, catalog_get()->upload_sessions, InvalidOid);
	bool isnull;
	Datum session_id = heap_getattr(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple,
	                                Anum_upload_sessions_session_id, RelationGetDescr(data->tg_relation), &isnull);

	find_events(DatumGetUUIDP(session_id), GetCurrentSubTransactionId())->end = true;
	return PointerGetDatum(NULL); /* not SQL null: what AFTER triggers return is ignored */
}

/* SQL: session_files._notify_work(session_id uuid). */
Datum
session_files_notify_work(PG_FUNCTION_ARGS)
{
	notify_work(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}

/* SQL: session_files._notify_settled(session_id uuid). */
Datum
session_files_notify_settled(PG_FUNCTION_ARGS)
{
	notify_settled(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}
