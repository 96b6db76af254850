/*
 * write_mode.h
 *		What the write mode of a session says when a file is finished whose name the workspace has finished before.
 */
#ifndef SESSION_FILES_WRITE_MODE_H
#define SESSION_FILES_WRITE_MODE_H

#include "compat.h"

/*
 * Hashes the names of a session's FINISHED files again if it has moved to another workspace. To be called between owner_begin and
 * owner_end, when workers that finish files have been waited for. The arguments are a uuid and two texts.
 */
extern void write_mode_follow_session(Datum session_id, Datum old_workspace, Datum new_workspace);

#endif
