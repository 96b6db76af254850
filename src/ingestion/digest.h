/*
 * digest.h
 *		The share of a file in the digest of its session.
 */
#ifndef SESSION_FILES_DIGEST_H
#define SESSION_FILES_DIGEST_H

#include "compat.h"

#include "utils/uuid.h"

#include "span.h"

/* Returns the share of a file. It is XORed into the digest when the file is added and when it is removed. */
extern uint64 digest_file(const pg_uuid_t *id, int status, int reason, Span name);

#endif
