/*
 * access.h
 *		Which sessions the current user may see.
 */
#ifndef SESSION_FILES_ACCESS_H
#define SESSION_FILES_ACCESS_H

#include "compat.h"

#include "utils/relcache.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "span.h"

/* What decides which sessions the current user may see. */
typedef enum AccessRule
{
	ACCESS_ALL,       /* row level security does not apply to the user */
	ACCESS_BY_GRANTS, /* the extension's own policy */
	ACCESS_BY_QUERY   /* others on upload_sessions, as they are or besides */
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

/* Looks which rule there is, with upload_sessions open. */
extern void access_begin(Access *access, const Catalog *catalog, Relation upload_sessions);

/* Tells whether an open table that has session ids goes by that rule; not if it has policies of its own. */
extern bool access_covers(const Access *access, Relation table);

/* Tells whether the current user may see a session that is there, of a workspace. */
extern bool access_may_see(const Access *access, const pg_uuid_t *session_id, Span workspace_name);

/* Tells whether the current user may see some workspace, as far as grants decide: reads all of them, in the worst case. */
extern bool access_has_grants(const Access *access);

/* The same for a session that may not be there: false then, unless the user may see all. */
extern bool access_may_see_id(const Access *access, const pg_uuid_t *session_id);

#endif
