/*
 * deletions.h
 *		Which ids of a session may be those of files that were deleted.
 */
#ifndef SESSION_FILES_DELETIONS_H
#define SESSION_FILES_DELETIONS_H

#include "compat.h"

#include "utils/relcache.h"
#include "utils/uuid.h"

/* Stands for "no file was deleted". */
#define NO_RETRIES (-1)

/* A bound of what was deleted from a session: no deleted file has a greater id, and none has more retries. */
typedef struct Deletions
{
	pg_uuid_t session_id; /* first, to be a hash key */
	pg_uuid_t up_to;
	int retries; /* NO_RETRIES: no file was deleted */
} Deletions;

/* Makes an empty bound. */
extern void deletions_init(Deletions *deletions, const pg_uuid_t *session_id);

/* Extends a bound to include a file. */
extern void deletions_extend(Deletions *deletions, const pg_uuid_t *id, int retries);

/*
 * Returns a bound of all that was deleted from a session and may be inserted again by this transaction, or a larger one. Needs an active
 * snapshot.
 */
extern Deletions deletions_read(Relation file_deletions, const pg_uuid_t *session_id);

/* Writes a bound of what was deleted, unless the session itself was deleted; between owner_begin and owner_end. */
extern void deletions_write(Relation file_deletions, Deletions *deletions);

#endif
