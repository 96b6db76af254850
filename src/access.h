/*
 * access.h
 *		What the current user may see and do.
 */
#ifndef SESSION_FILES_ACCESS_H
#define SESSION_FILES_ACCESS_H

#include "compat.h"

#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "grants.h"
#include "span.h"

/* What decides which sessions the current user may see. */
typedef enum AccessRule
{
	ACCESS_ALL,       /* the user needs no grant */
	ACCESS_BY_GRANTS, /* the extension's own policy */
	ACCESS_BY_QUERY   /* grants, and other policies on upload_sessions, in place of its own or besides it */
} AccessRule;

typedef struct Access
{
	const Catalog *catalog;
	Relation upload_sessions;
	AccessRule rule;
	int kinds; /* the user has to have one of them */
} Access;

/* The hint of errors about a session that is not there, or may not be seen: the same for both. */
#define NOT_GRANTED_HINT \
	"Either it is not there, or its workspace was not granted to the role, which session_files.grant_workspace() does."

/*
 * Raises an error unless the current user has one of the kinds for a session: P0002 if it is not there or the user has none, 42501 if the
 * user has others, or has policies on files that a function cannot apply.
 */
extern void access_require_session(const pg_uuid_t *session_id, int kinds);

/* The same for a workspace, which need not exist; NULL stands for a grant of all workspaces. */
extern void access_require_workspace(const text *workspace_name, int kinds);

/* Returns whether the current user has one of the kinds for some workspace. Raises 42501 if the user has others alone. */
extern bool access_require_some(int kinds);

/* Raises 42501 unless the current user needs no grants: superusers, roles with BYPASSRLS, and the owner of the tables. */
extern void access_require_exempt(const char *function_name);

/*
 * Returns the names (text), sorted by their bytes, of the workspaces for which the current user has one of the kinds. *all is whether
 * the user has it for all workspaces; then there is no list.
 */
extern List *access_workspaces(int kinds, bool *all);

/* Finds the rule that applies to the current user, who has to have one of the kinds. upload_sessions is open. */
extern void access_begin(Access *access, const Catalog *catalog, Relation upload_sessions, int kinds);

/* Returns whether the rule covers another table: not if an administrator gave it policies. The table is open. */
extern bool access_covers(const Access *access, Relation table);

/* Returns whether the current user may see a session that exists, of a workspace. */
extern bool access_may_see(const Access *access, const pg_uuid_t *session_id, Span workspace_name);

#endif
