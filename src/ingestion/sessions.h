/*
 * sessions.h
 *		Keeps true that no file of an EXPIRED session is PENDING.
 */
#ifndef SESSION_FILES_SESSIONS_H
#define SESSION_FILES_SESSIONS_H

#include "compat.h"

#include "utils/uuid.h"

/* All are to be called between owner_begin and owner_end. */

/* Keeps a session's workspace, priority and end as they are until this transaction ends. An INSERT of files does it by its foreign key. */
extern void sessions_lock_against_changes(const pg_uuid_t *session_id);

/* Waits for the transactions that have done the above, and keeps others from it. */
extern void sessions_lock_against_writers(const pg_uuid_t *session_id);

/* Makes a session that is EXPIRED CLOSED, as a statement has made files of it PENDING. The session is locked. */
extern void sessions_expect_work(const pg_uuid_t *session_id);

#endif
