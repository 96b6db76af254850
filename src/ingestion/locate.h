/*
 * locate.h
 *		Finds where the files of a session are in their table.
 */
#ifndef SESSION_FILES_LOCATE_H
#define SESSION_FILES_LOCATE_H

#include "compat.h"

#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "catalog.h"

/* Returns whether a file, in a slot, is PENDING and of no greater generation. */
extern bool locate_is_pending(const Catalog *catalog, TupleTableSlot *file, int64 generation);

/*
 * Returns the TIDs of the files with these ids, sorted, that are PENDING and of no greater generation, under the active snapshot. Puts their
 * ids into pending, and their number into *count, which says first how many ids are given.
 */
extern ArrayType *locate_pending(Relation files, const pg_uuid_t *session_id, const pg_uuid_t *ids, int *count,
                                 int64 generation, pg_uuid_t *pending);

#endif
