/*
 * notify.c
 *		Notifications: to workers when a session has files to claim, to others when a session is done.
 *
 * What happens to a session is collected during the transaction, per subtransaction, and turned into notifications before the commit.
 * A transaction that is PREPAREd may not notify: what it has collected is dropped.
 *
 * A session is done when it is closed or expired and no file is PENDING. The transaction that makes it so notifies. Of two transactions
 * that finish the last files at the same time, neither sees the other's changes. So in a session that takes no more files, transactions
 * that finish some of the last files commit one at a time: each takes an exclusive lock here and holds it until it ends, so the last one
 * counts zero. A transaction that closes a session takes the same lock. A transaction that cannot be the last one, because the session is
 * open or many files are left, takes a share lock, for which only the others wait. No transaction waits for longer than the commit of
 * another takes.
 *
 * Status and counts are read under new snapshots (GetLatestSnapshot), taken after the lock. Locks of several sessions are taken in the
 * order of session ids, so that two transactions cannot deadlock.
 */
#include "compat.h"

#include "ingestion/notify.h"

#include "access/table.h"
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
#include "settings.h"
#include "trigger.h"
#include "uuid7.h"

#define CHANNEL_WORK "session_files_work"
#define CHANNEL_DONE "session_files_done"

/*
 * With more PENDING files than this, a transaction cannot be the one that finishes the last, unless another finishes so many at the same
 * moment.
 */
#define FEW_FILES 10000

/* Keeps these advisory locks apart from those of SQL's functions, whose fourth field is 1 or 2. */
#define LOCK_FIELD 7

PG_FUNCTION_INFO_V1(session_files_notify_end);
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
	bool settled;         /* files are not PENDING any more */
	bool ended;           /* it was closed, or has expired */
} SessionEvents;

/*
 * The events of this transaction, in its memory; NULL if there are none. They are also listed in the order in which they came: those of the
 * subtransaction that ends next are the last ones.
 */
static HTAB *all_events = NULL;
static List *ordered_events = NIL;

/* The tables that are read before the commit. */
typedef struct Tables
{
	Catalog catalog;
	Relation upload_sessions;
	Relation file_counts;
} Tables;

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

		events->work = events->settled = events->ended = false;
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
	find_events(session_id, GetCurrentSubTransactionId())->settled = true;
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
			events->settled |= ended.settled;
			events->ended |= ended.ended;
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
is_ended(const Tables *tables, const pg_uuid_t *session_id)
{
	KeyScan scan;
	bool ended;

	PushActiveSnapshot(GetLatestSnapshot());
	ended = scan_find(&scan, tables->upload_sessions, tables->catalog.upload_sessions_pkey, session_id) &&
	        DatumGetObjectId(scan_value(&scan, Anum_upload_sessions_status)) != tables->catalog.session_open;
	scan_end(&scan);
	PopActiveSnapshot();
	return ended;
}

/* Counts the files that are PENDING, as of now. */
static int64
count_pending(const Tables *tables, const pg_uuid_t *session_id)
{
	Counts counts;

	PushActiveSnapshot(GetLatestSnapshot());
	counts_read(&tables->catalog, tables->file_counts, session_id, &counts);
	PopActiveSnapshot();
	return counts.by_status[STATUS_PENDING];
}

/* Returns whether a transaction that finishes files of a session may be finishing the last ones. */
static bool
may_be_last(const Tables *tables, const pg_uuid_t *session_id)
{
	return is_ended(tables, session_id) && count_pending(tables, session_id) <= FEW_FILES;
}

/* Returns whether a session is done with this transaction; the head of this file says how. */
static bool
is_done(const Tables *tables, const SessionEvents *events)
{
	const pg_uuid_t *session_id = &events->key.session_id;
	LOCKTAG tag;

	make_tag(&tag, session_id);
	if (!events->ended && !may_be_last(tables, session_id))
	{
		(void) LockAcquire(&tag, ShareLock, false, false);
		/* A transaction that held the exclusive lock may have changed that. */
		if (!may_be_last(tables, session_id))
			return false;
		LockRelease(&tag, ShareLock, false);
	}
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	return count_pending(tables, session_id) == 0;
}

static int
compare_events(const void *a, const void *b)
{
	return uuid7_compare(&(*(SessionEvents *const *) a)->key.session_id,
	                     &(*(SessionEvents *const *) b)->key.session_id);
}

/* Returns the events in the order of session ids, in which all transactions take their locks. */
static SessionEvents **
sort_events(int *count)
{
	SessionEvents **sorted = palloc(hash_get_num_entries(all_events) * sizeof(SessionEvents *));
	HASH_SEQ_STATUS each;
	SessionEvents *events;

	*count = 0;
	hash_seq_init(&each, all_events);
	while ((events = hash_seq_search(&each)) != NULL)
		sorted[(*count)++] = events;
	qsort(sorted, *count, sizeof(SessionEvents *), compare_events);
	return sorted;
}

/* Turns the events into notifications. */
static void
send_notifications(void)
{
	Tables tables;
	int count;
	SessionEvents **sorted = sort_events(&count);

	tables.upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	tables.file_counts = table_open(catalog_get()->file_counts, AccessShareLock);
	tables.catalog = *catalog_get();
	for (int i = 0; i < count; i++)
	{
		if (sorted[i]->work)
			notify(CHANNEL_WORK, &sorted[i]->key.session_id);
		if ((sorted[i]->settled || sorted[i]->ended) && is_done(&tables, sorted[i]))
			notify(CHANNEL_DONE, &sorted[i]->key.session_id);
	}
	table_close(tables.file_counts, NoLock);
	table_close(tables.upload_sessions, NoLock);
	pfree(sorted);
}

static void
at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			/* This transaction may have dropped the extension. */
			if (all_events != NULL && settings_notify && catalog_exists())
				send_notifications();
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

	find_events(DatumGetUUIDP(session_id), GetCurrentSubTransactionId())->ended = true;
	return PointerGetDatum(NULL); /* not SQL null: what AFTER triggers return is ignored */
}

/* SQL: session_files._notify_work(session_id uuid). */
Datum
session_files_notify_work(PG_FUNCTION_ARGS)
{
	notify_work(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}
