/*
 * etag.h
 *		Entity tags: which version of a listing a caller has.
 */
#ifndef SESSION_FILES_ETAG_H
#define SESSION_FILES_ETAG_H

#include "compat.h"

#include "datatype/timestamp.h"

#include "span.h"

/* Two quotes and 16 digits. */
#define ETAG_LEN 18

/*
 * Writes the tag of a session's listings, ETAG_LEN bytes and a NUL. It stays the same as long as the responses to all requests stay
 * the same.
 */
extern void etag_make(uint64 digest, TimestampTz expires_at, char *etag);

/* Writes the tag of a body that is the same for all callers. */
extern void etag_make_for(Span body, char *etag);

/* Returns whether If-None-Match has a tag, or "*". Malformed parts of it match nothing. */
extern bool etag_is_listed(Span if_none_match, const char *etag);

#endif
