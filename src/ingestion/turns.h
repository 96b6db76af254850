/*
 * turns.h
 *		Takes files that were never claimed: workspaces and sessions take turns.
 */
#ifndef SESSION_FILES_TURNS_H
#define SESSION_FILES_TURNS_H

#include "compat.h"

#include "ingestion/claim_state.h"

/* Takes rows of some workspaces (a list of text, sorted by bytes), in turn after the one that was served last. */
extern void turns_serve(Claim *claim, List *workspaces);

/* Takes rows of all workspaces, in turn after the one that was served last. */
extern void turns_serve_all(Claim *claim);

#endif
