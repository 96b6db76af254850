/*
 * sessions.h
 *		Keeps true that no file of an EXPIRED session is PENDING.
 */
#ifndef SESSION_FILES_SESSIONS_H
#define SESSION_FILES_SESSIONS_H

#include "compat.h"

#include "utils/uuid.h"

/*
 * To be called, between owner_begin and owner_end, by a statement that made files of a session PENDING. is_locked: it has locked the
 * session, as an INSERT does for its foreign key.
 */
extern void sessions_expect_work(const pg_uuid_t *session_id, bool is_locked);

#endif
