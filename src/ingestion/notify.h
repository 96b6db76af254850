/*
 * notify.h
 *		Wakes those who listen: workers when there is work, others when a session is done.
 */
#ifndef SESSION_FILES_NOTIFY_H
#define SESSION_FILES_NOTIFY_H

#include "compat.h"

#include "utils/uuid.h"

/* Notes for the end of the transaction that a session has files that can be claimed. */
extern void notice_work(const pg_uuid_t *session_id);

/* Notes that files of a session are not PENDING any more. */
extern void notice_settled(const pg_uuid_t *session_id);

/* To be called once, when the library is loaded. */
extern void notice_init(void);

#endif
