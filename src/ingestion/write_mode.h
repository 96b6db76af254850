/*
 * write_mode.h
 *		What the write mode of a session says when a file is finished whose name the workspace has finished before.
 */
#ifndef SESSION_FILES_WRITE_MODE_H
#define SESSION_FILES_WRITE_MODE_H

#include "compat.h"

#include "fmgr.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

/* What a write mode depends on of its session. */
typedef struct NamedSession NamedSession;

/* A file that is FINISHED in the row that a trigger is about to write. */
typedef struct FinishedFile
{
	pg_uuid_t *session_id;
	pg_uuid_t *id;
	text *name;
	int64 name_hash;       /* by write_mode_hash */
	NamedSession *session; /* by write_mode_hash */
} FinishedFile;

/* Hashes the name of a file. What is read of its session is kept in fn_extra of the trigger's function, for the next file. */
extern void write_mode_hash(FinishedFile *file, FmgrInfo *function);

/* Does what the write mode says of a file that is being finished. Returns whether it is FINISHED; if not, it exists already. */
extern bool write_mode_apply(const FinishedFile *file, Relation files);

/*
 * Hashes the names of a session's FINISHED files again if it has moved to another workspace. To be called between owner_begin and
 * owner_end, when workers that finish files have been waited for. The arguments are a uuid and two texts.
 */
extern void write_mode_follow_session(Datum session_id, Datum old_workspace, Datum new_workspace);

#endif
