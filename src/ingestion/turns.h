/*
 * turns.h
 *		Takes files that were never claimed: workspaces and sessions take turns.
 */
#ifndef SESSION_FILES_TURNS_H
#define SESSION_FILES_TURNS_H

#include "compat.h"

#include "ingestion/claim.h"

/* Takes rows of the sessions of a workspace: of the highest priority first, in turn after the one that was served last. */
extern void turns_serve_workspace(Claim *claim, text *workspace_name);

/* Takes rows of all workspaces, in turn after the one that was served last. */
extern void turns_serve_all(Claim *claim);

#endif
