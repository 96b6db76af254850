/*
 * queue_walk.h
 *		Finds rows of file_queue for a claim, and deletes them.
 */
#ifndef SESSION_FILES_QUEUE_WALK_H
#define SESSION_FILES_QUEUE_WALK_H

#include "compat.h"

#include "access/skey.h"
#include "utils/uuid.h"

#include "ingestion/claim_state.h"

/* To be called once, when the library is loaded. */
extern void queue_walk_init(void);

/* Returns what stands for a workspace in keys of hash tables: a hash of its name. */
extern pg_uuid_t queue_walk_workspace_id(const text *name);

/* Take rows that came back (their lease or their delay is over), the longest waiting first: of all, of a workspace, of a session. */
extern void queue_walk_returned(Claim *claim);
extern void queue_walk_returned_in_workspace(Claim *claim, text *workspace_name);
extern void queue_walk_returned_in_session(Claim *claim, const pg_uuid_t *session_id);

/* Takes rows of a session that were never claimed, the oldest first. */
extern void queue_walk_new_in_session(Claim *claim, const pg_uuid_t *session_id);

#endif
