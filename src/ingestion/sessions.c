/*
 * sessions.c
 *		Keeps true that no file of an EXPIRED session is PENDING: neither workers nor maintain() look for one there.
 *
 * Plain SQL may make files of any session PENDING. An EXPIRED one becomes CLOSED then: it is past its end, so maintain() expires it again.
 * And a session that has PENDING files cannot be made EXPIRED.
 *
 * Of two transactions that do the one and the other, neither sees what the other changes. So each locks the session first, the one in KEY
 * SHARE mode, which for an INSERT the foreign key does, the other FOR UPDATE. Then it looks under a new snapshot (GetLatestSnapshot).
 */
#include "compat.h"

#include "ingestion/sessions.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "index/scan.h"
#include "owner.h"
#include "trigger.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(session_files_check_expired);

static OwnerQuery lock_against_changes = {
	.text = "SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = $1 FOR KEY SHARE",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery undo_expiry = {
	.text =
		"UPDATE session_files.upload_sessions AS s SET status = 'CLOSED' WHERE s.session_id = $1 AND s.status = 'EXPIRED'",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery lock_against_writers = {
	.text = "SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = $1 FOR UPDATE",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

static OwnerQuery find_pending = {
	.text = "SELECT FROM session_files.files AS f WHERE f.session_id = $1 AND f.ingestion_status = 'PENDING' LIMIT 1",
	.arg_count = 1,
	.arg_types = {UUIDOID},
};

/* Returns whether a session is OPEN, as of now. This is for every statement that adds files, so it goes without SPI. */
static bool
is_open(const pg_uuid_t *session_id)
{
	Relation upload_sessions = table_open(catalog_get()->upload_sessions, AccessShareLock);
	const Catalog *catalog = catalog_get();
	Oid open = catalog->session_open;
	KeyScan scan;
	bool result;

	PushActiveSnapshot(GetLatestSnapshot());
	result = scan_find(&scan, upload_sessions, catalog->upload_sessions_pkey, session_id) &&
	         DatumGetObjectId(scan_value(&scan, Anum_upload_sessions_status)) == open;
	scan_end(&scan);
	PopActiveSnapshot();
	table_close(upload_sessions, NoLock);
	return result;
}

void
sessions_lock_against_changes(const pg_uuid_t *session_id)
{
	Datum value = UUIDPGetDatum(session_id);

	owner_run_under(&lock_against_changes, &value, GetLatestSnapshot());
}

void
sessions_lock_against_writers(const pg_uuid_t *session_id)
{
	Datum value = UUIDPGetDatum(session_id);

	owner_run_under(&lock_against_writers, &value, GetLatestSnapshot());
}

void
sessions_expect_work(const pg_uuid_t *session_id)
{
	Datum value = UUIDPGetDatum(session_id);

	if (!is_open(session_id))
		owner_run_under(&undo_expiry, &value, GetLatestSnapshot());
}

/* SQL: session_files._check_expired(), trigger. */
Datum
session_files_check_expired(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, TRIGGER_ROWS, catalog_get()->upload_sessions, InvalidOid);
	bool isnull;
	Datum session_id =
		heap_getattr(data->tg_newtuple, Anum_upload_sessions_session_id, RelationGetDescr(data->tg_relation), &isnull);
	Caller caller = owner_begin(data->tg_relation);
	char text[UUID_TEXT_LEN + 1] = "";

	sessions_lock_against_writers(DatumGetUUIDP(session_id));
	uuid7_format(DatumGetUUIDP(session_id), text);
	if (owner_run_under(&find_pending, &session_id, GetLatestSnapshot()) > 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("session \"%s\" has PENDING files, and cannot be EXPIRED", text),
		                errhint("session_files.maintain() makes a session EXPIRED when its time is over, and "
		                        "session_files.cancel_session() makes its PENDING files FAILED.")));
	owner_end(caller);
	return PointerGetDatum(NULL); /* not SQL null: what AFTER triggers return is ignored */
}
