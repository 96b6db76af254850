/*
 * id_lookup.h
 *		Finds files of a session by their ids, one after the other.
 */
#ifndef SESSION_FILES_ID_LOOKUP_H
#define SESSION_FILES_ID_LOOKUP_H

#include "compat.h"

#include "access/relscan.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

typedef struct IdLookup
{
	Relation index;
	IndexScanDesc desc;
	ScanKeyData keys[3];
	TupleTableSlot *slot; /* the file that was found last */
	bool at_tuple;        /* the scan is at an index tuple, of this id */
	pg_uuid_t tuple_id;
	pg_uuid_t last_wanted; /* the id that was looked up last */
	bool has_last_wanted;
} IdLookup;

/* Prepares to look up ids up to last_id in the open table files, by its primary key, under the active snapshot. */
extern void id_lookup_begin(IdLookup *lookup, Relation files, Oid pkey, const pg_uuid_t *session_id,
                            const pg_uuid_t *last_id);

/* Finds a file, and puts its row into the slot. It is fastest for ids in ascending order. */
extern bool id_lookup_find(IdLookup *lookup, const pg_uuid_t *id);

extern void id_lookup_end(IdLookup *lookup);

#endif
