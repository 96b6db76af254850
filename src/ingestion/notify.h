/*
 * notify.h
 *		Notifications: to workers when a session has files to claim, to others when a session is done.
 */
#ifndef SESSION_FILES_NOTIFY_H
#define SESSION_FILES_NOTIFY_H

#include "compat.h"

#include "utils/uuid.h"

/* The transaction will notify, when it commits, that a session has files to claim. */
extern void notify_work(const pg_uuid_t *session_id);

/* Files of a session are not PENDING any more: the transaction checks, before it commits, whether the session is done. */
extern void notify_settled(const pg_uuid_t *session_id);

/* To be called once, when the library is loaded. */
extern void notify_init(void);

#endif
