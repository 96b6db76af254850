/*
 * notify.c
 *		Wakes those who listen: workers when there is work, others when a session is done.
 *
 * Notes are taken as the transaction goes, one per session, and turned into notifications when it
 * is about to commit. A transaction that is PREPAREd may not notify: its notes are dropped.
 *
 * That a session is done - closed or expired, and no file PENDING - is told by the transaction that
 * makes it so. Of two that finish the last files at the same time, neither sees the other's; so in
 * a session that takes no more files, transactions that finish some commit one at a time, from here
 * to their end, once few files are left: the last of them sees all. Whoever closes a session takes
 * his turn with them. Those who cannot be the last, as the session is open or many files are left,
 * share a lock that only the others wait for. Nobody waits for longer than another's commit takes.
 */
#include "compat.h"

#include "ingestion/notify.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "index/scan.h"
#include "ingestion/counts.h"
#include "settings.h"
#include "uuid7.h"

#define CHANNEL_WORK "session_files_work"
#define CHANNEL_DONE "session_files_done"

/*
 * With more files PENDING than this, a transaction is not the last to finish some, unless another one
 * finishes as many at the same moment.
 */
#define FEW_FILES 10000

/* Tells our advisory locks from those of SQL's functions, whose fourth field is 1 or 2. */
#define LOCK_FIELD 7

PG_FUNCTION_INFO_V1(session_files_note_end);
PG_FUNCTION_INFO_V1(session_files_notify_work);

/* A note goes with the subtransaction that took it: one that is rolled back leaves none. */
typedef struct NoteKey
{
	pg_uuid_t session_id;
	SubTransactionId subtransaction;
} NoteKey;

typedef struct Note
{
	NoteKey key; /* the hash key */
	bool work;
	bool settled;
	bool ended; /* closed or expired */
} Note;

/* The notes of this transaction, in its memory; NULL if there are none. */
static HTAB *notes = NULL;

/* What is needed to look at a session. */
typedef struct Tables
{
	Catalog catalog;
	Relation upload_sessions;
	Relation file_counts;
} Tables;

static Note *
find_note(const pg_uuid_t *session_id, SubTransactionId subtransaction)
{
	HASHCTL control = {.keysize = sizeof(NoteKey), .entrysize = sizeof(Note), .hcxt = TopTransactionContext};
	NoteKey key = {.session_id = *session_id, .subtransaction = subtransaction};
	Note *note;
	bool found;

	if (notes == NULL)
		notes = hash_create("session_files notices", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	note = hash_search(notes, &key, HASH_ENTER, &found);
	if (!found)
		note->work = note->settled = note->ended = false;
	return note;
}

void
notice_work(const pg_uuid_t *session_id)
{
	find_note(session_id, GetCurrentSubTransactionId())->work = true;
}

void
notice_settled(const pg_uuid_t *session_id)
{
	find_note(session_id, GetCurrentSubTransactionId())->settled = true;
}

/* Hands the notes of a subtransaction to its parent, or drops them. */
static void
end_subtransaction(SubTransactionId subtransaction, SubTransactionId parent, bool committed)
{
	HASH_SEQ_STATUS each;
	Note *note;

	hash_seq_init(&each, notes);
	while ((note = hash_seq_search(&each)) != NULL)
	{
		Note ended = *note;

		if (ended.key.subtransaction != subtransaction)
			continue;
		hash_search(notes, &ended.key, HASH_REMOVE, NULL);
		if (committed)
		{
			note = find_note(&ended.key.session_id, parent);
			note->work |= ended.work;
			note->settled |= ended.settled;
			note->ended |= ended.ended;
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

/* Makes the tag of a session's lock; two sessions may share one, which costs them some time. */
static void
make_tag(LOCKTAG *tag, const pg_uuid_t *session_id)
{
	uint64 hash = hash_bytes_extended(session_id->data, UUID_LEN, 0);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, LOCK_FIELD);
}

/* Tells whether a session that is there takes no more files, as of now. */
static bool
is_ended(const Tables *tables, const pg_uuid_t *session_id)
{
	KeyScan scan;
	bool ended;

	PushActiveSnapshot(GetLatestSnapshot());
	scan_init(&scan, tables->upload_sessions, tables->catalog.upload_sessions_pkey);
	scan_key_equal(&scan, 1, F_UUID_EQ, UUIDPGetDatum(session_id));
	scan_begin(&scan, ForwardScanDirection, 1);
	ended = scan_next(&scan) &&
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

/* Tells whether a transaction that finishes files of a session may be finishing the last ones. */
static bool
may_be_last(const Tables *tables, const pg_uuid_t *session_id)
{
	return is_ended(tables, session_id) && count_pending(tables, session_id) <= FEW_FILES;
}

/* Tells whether a session is done with this transaction; the head of this file says how. */
static bool
is_done(const Tables *tables, const Note *note)
{
	const pg_uuid_t *session_id = &note->key.session_id;
	LOCKTAG tag;

	make_tag(&tag, session_id);
	if (!note->ended && !may_be_last(tables, session_id))
	{
		(void) LockAcquire(&tag, ShareLock, false, false);
		/* Whoever held it may have changed that. */
		if (!may_be_last(tables, session_id))
			return false;
		LockRelease(&tag, ShareLock, false);
	}
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	return count_pending(tables, session_id) == 0;
}

static int
compare_notes(const void *a, const void *b)
{
	return uuid7_compare(&(*(Note *const *) a)->key.session_id, &(*(Note *const *) b)->key.session_id);
}

/* Returns the notes in the order of sessions, in which all take their locks. */
static Note **
sort_notes(int *count)
{
	Note **sorted = palloc(hash_get_num_entries(notes) * sizeof(Note *));
	HASH_SEQ_STATUS each;
	Note *note;

	*count = 0;
	hash_seq_init(&each, notes);
	while ((note = hash_seq_search(&each)) != NULL)
		sorted[(*count)++] = note;
	qsort(sorted, *count, sizeof(Note *), compare_notes);
	return sorted;
}

/* Turns the notes into notifications. */
static void
send_notes(void)
{
	Tables tables;
	int count;
	Note **sorted = sort_notes(&count);

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
			/* The extension may have been dropped by this very transaction. */
			if (notes != NULL && settings_notify && catalog_exists())
				send_notes();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			notes = NULL;
			break;
		default:
			break;
	}
}

static void
at_subtransaction_event(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (notes != NULL && (event == SUBXACT_EVENT_COMMIT_SUB || event == SUBXACT_EVENT_ABORT_SUB))
		end_subtransaction(id, parent, event == SUBXACT_EVENT_COMMIT_SUB);
}

void
notice_init(void)
{
	RegisterSubXactCallback(at_subtransaction_event, NULL);
	RegisterXactCallback(at_transaction_event, NULL);
}

/* SQL: session_files.note_end(), trigger. */
Datum
session_files_note_end(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	bool isnull;
	Datum session_id;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
	    !TRIGGER_FIRED_BY_UPDATE(data->tg_event) ||
	    RelationGetRelid(data->tg_relation) != catalog_get()->upload_sessions)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		                errmsg("function is only for the row trigger of the extension session_files")));
	session_id =
		heap_getattr(data->tg_newtuple, Anum_upload_sessions_session_id, RelationGetDescr(data->tg_relation), &isnull);
	find_note(DatumGetUUIDP(session_id), GetCurrentSubTransactionId())->ended = true;
	return PointerGetDatum(data->tg_newtuple);
}

/* SQL: session_files.notify_work(session_id uuid). */
Datum
session_files_notify_work(PG_FUNCTION_ARGS)
{
	notice_work(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}
