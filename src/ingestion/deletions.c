/*
 * deletions.c
 *		Which ids of a session may be those of files that were deleted.
 *
 * A file's place in a queue row outlives the file, as searching for it would take long. So a file that is inserted under the id of a
 * deleted one starts with more retries than that one had, which makes the old queue rows void for it (queue.c). file_deletions says which
 * ids these can be: all up to the greatest that was deleted, or up to the time of the deletion, whichever is later. An id that is made
 * after that is greater, and costs nothing; nor does the next deletion of a file that existed at that time.
 *
 * Transactions that delete wait for no other transaction: each adds a row, and deletes rows within its own that no other has locked.
 *
 * Both readers use a snapshot that is not the transaction's, which can be older than the deletion. They leave no predicate locks, which
 * would make SERIALIZABLE transactions of different sessions fail.
 * - A transaction that inserts takes every row that is physically there (SnapshotAny), also of transactions that have not committed or
 *   were rolled back: that errs to the safe side. A row that is dead for all is within another one, which was in the index before it
 *   died. A row that dies meanwhile is kept by the active snapshot.
 * - A transaction that deletes takes the committed rows and its own (SnapshotSelf). A row that it misses is written twice.
 */
#include "compat.h"

#include "ingestion/deletions.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "owner.h"
#include "uuid7.h"

static OwnerQuery add_bound = {
	.text = "INSERT INTO session_files.file_deletions (session_id, up_to, retries) VALUES ($1, $2, $3)",
	.arg_count = 3,
	.arg_types = {UUIDOID, UUIDOID, INT4OID},
};

static OwnerQuery remove_within = {
	.text = "DELETE FROM session_files.file_deletions AS d WHERE d.session_id OPERATOR(pg_catalog.=) $1"
			" AND d.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
			"SELECT f.ctid FROM session_files.file_deletions AS f WHERE f.session_id OPERATOR(pg_catalog.=) $1"
			" AND f.up_to OPERATOR(pg_catalog.<=) $2 AND f.retries OPERATOR(pg_catalog.<=) $3 FOR UPDATE SKIP LOCKED))",
	.arg_count = 3,
	.arg_types = {UUIDOID, UUIDOID, INT4OID},
};

void
deletions_init(Deletions *deletions, const pg_uuid_t *session_id)
{
	deletions->session_id = *session_id;
	memset(&deletions->up_to, 0, sizeof(pg_uuid_t));
	deletions->retries = NO_RETRIES;
}

void
deletions_extend(Deletions *deletions, const pg_uuid_t *id, int retries)
{
	if (uuid7_compare(&deletions->up_to, id) < 0)
		deletions->up_to = *id;
	deletions->retries = Max(deletions->retries, retries);
}

/* Returns a bound of all rows of a session that a snapshot shows. */
static Deletions
read_rows(Relation file_deletions, const pg_uuid_t *session_id, Snapshot snapshot)
{
	Relation index = catalog_open_index(catalog_get()->file_deletions_session_idx, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(file_deletions, NULL);
	IndexScanDesc scan = compat_index_beginscan(file_deletions, index, snapshot, 1);
	Deletions deletions;
	ScanKeyData key;

	deletions_init(&deletions, session_id);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session_id));
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, Anum_file_deletions_retries);
		deletions_extend(&deletions, DatumGetUUIDP(slot->tts_values[Anum_file_deletions_up_to - 1]),
		                 DatumGetInt32(slot->tts_values[Anum_file_deletions_retries - 1]));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	return deletions;
}

Deletions
deletions_read(Relation file_deletions, const pg_uuid_t *session_id)
{
	Assert(ActiveSnapshotSet());
	return read_rows(file_deletions, session_id, SnapshotAny);
}

void
deletions_write(Relation file_deletions, Deletions *deletions)
{
	Deletions there = read_rows(file_deletions, &deletions->session_id, SnapshotSelf);
	Datum values[3] = {UUIDPGetDatum(&deletions->session_id), UUIDPGetDatum(&deletions->up_to), (Datum) 0};
	pg_uuid_t now;

	if (uuid7_compare(&deletions->up_to, &there.up_to) <= 0 && deletions->retries <= there.retries)
		return;
	/* The session was deleted, and this is its cascade. */
	if (!owner_finds_session(&deletions->session_id))
		return;
	uuid7_lowest(GetCurrentTimestamp(), &now);
	deletions_extend(deletions, &now, deletions->retries);
	deletions_extend(deletions, &there.up_to, there.retries);
	values[2] = Int32GetDatum(deletions->retries);
	/* With one snapshot for the whole transaction, the deletion could fail. */
	if (!IsolationUsesXactSnapshot())
		owner_run(&remove_within, values);
	owner_run(&add_bound, values);
}
