/*
 * as_owner.h
 *		SQL functions that run as the owner of the extension's tables.
 */
#ifndef SESSION_FILES_AS_OWNER_H
#define SESSION_FILES_AS_OWNER_H

#include "compat.h"

/*
 * Returns the user who called the SQL function that runs as the owner now. For claim_files, which decides session by session what that
 * user may claim.
 */
extern Oid as_owner_caller(void);

#endif
