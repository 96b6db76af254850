/*
 * id_lookup.h
 *		Finds files of a session by id, one after the other.
 */
#ifndef SESSION_FILES_ID_LOOKUP_H
#define SESSION_FILES_ID_LOOKUP_H

#include "compat.h"

#include "access/relscan.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

typedef struct Seek
{
	Relation index;
	IndexScanDesc desc;
	ScanKeyData keys[3];
	TupleTableSlot *slot; /* the file that was found last */
	bool at_entry;        /* of the index, with this id */
	pg_uuid_t entry_id;
	pg_uuid_t sought; /* what was looked for last */
	bool has_sought;
} Seek;

/* Prepares for ids up to last_id, in an open table by its primary key, under the active snapshot. */
extern void seek_begin(Seek *seek, Relation files, Oid pkey, const pg_uuid_t *session_id, const pg_uuid_t *last_id);

/* Finds a file; its row is in the slot then. Ids in ascending order are found fastest. */
extern bool seek_file(Seek *seek, const pg_uuid_t *id);

extern void seek_end(Seek *seek);

#endif
