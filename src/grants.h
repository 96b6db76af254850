/*
 * grants.h
 *		What the current user was granted, by the table workspace_grants.
 */
#ifndef SESSION_FILES_GRANTS_H
#define SESSION_FILES_GRANTS_H

#include "compat.h"

#include "nodes/pg_list.h"

#include "catalog.h"
#include "span.h"

/* The kinds of a grant, as bits: their order is that of catalog.c. */
typedef enum Kind
{
	KIND_LISTER = 1,
	KIND_UPLOADER = 2,
	KIND_WORKER = 4,
	KIND_WATCHER = 8,
	KIND_KEEPER = 16,
	KIND_ANY = 31
} Kind;

/* To be called once, when the library is loaded. */
extern void grants_init(void);

/* Returns whether the current user may do all without a grant: superusers, roles with BYPASSRLS, and the owner of the tables. */
extern bool grants_is_exempt(const Catalog *catalog);

/*
 * Returns the kinds that the current user was granted for a workspace, by its name or with all workspaces. Without bytes: for all
 * workspaces. The workspace need not exist.
 */
extern int grants_kinds(const Catalog *catalog, Span workspace_name);

/*
 * Returns the names (text), sorted by their bytes, of the workspaces for which the current user was granted one of the kinds. *all is
 * whether that holds for all workspaces; then there is no list.
 */
extern List *grants_workspaces(const Catalog *catalog, int kinds, bool *all);

/* Returns a number that is another one whenever a result of the functions above could be. */
extern uint64 grants_version(void);

#endif
