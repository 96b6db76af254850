/*
 * access.h
 *		Which sessions the current user may see.
 */
#ifndef SESSION_FILES_ACCESS_H
#define SESSION_FILES_ACCESS_H

#include "compat.h"

#include "nodes/parsenodes.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "span.h"

/* What decides which sessions the current user may see. */
typedef enum AccessRule
{
	ACCESS_ALL,       /* row level security does not apply to the user */
	ACCESS_BY_GRANTS, /* the extension's own policy */
	ACCESS_BY_QUERY   /* other policies on upload_sessions, in place of it or besides it */
} AccessRule;

typedef struct Access
{
	const Catalog *catalog;
	Relation upload_sessions;
	AccessRule rule;
} Access;

/* The hint of errors about a session that is not there, or may not be seen: the same for both. */
#define NOT_GRANTED_HINT \
	"Either it is not there, or its workspace was not granted to the role, which session_files.grant_workspace() does."

/* To be called once, when the library is loaded. */
extern void access_init(void);

/* Opens a table for a role with these privileges on it, SELECT alone or with others; raises 42501 if the current user lacks one. */
extern Relation access_open_table(Oid oid, AclMode mode);

/* Finds the rule that applies. upload_sessions is open. */
extern void access_begin(Access *access, const Catalog *catalog, Relation upload_sessions);

/* Returns whether the rule covers a table that has session ids: not if an administrator gave it policies. The table is open. */
extern bool access_covers(const Access *access, Relation table);

/* Returns whether the current user may see a session that exists, of a workspace. */
extern bool access_may_see(const Access *access, const pg_uuid_t *session_id, Span workspace_name);

/* Returns whether the current user may see some workspace, as far as grants decide. Reads all of them, in the worst case. */
extern bool access_has_grants(const Access *access);

/* Returns whether the current user may see a session: false for one that does not exist, unless the user may see all. */
extern bool access_may_see_session(const pg_uuid_t *session_id);

#endif
