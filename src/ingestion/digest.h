/*
 * digest.h
 *		What a file adds to the digest of its session.
 */
#ifndef SESSION_FILES_DIGEST_H
#define SESSION_FILES_DIGEST_H

#include "compat.h"

#include "utils/uuid.h"

#include "span.h"

/* Returns the share of a file: to be XORed into the digest when it comes and when it goes. */
extern uint64 digest_file(const pg_uuid_t *id, int status, int reason, Span name);

#endif
