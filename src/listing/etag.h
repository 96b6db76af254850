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
 * Writes the tag of a session's listings, ETAG_LEN bytes and a NUL: the same as long as each request
 * has the same answer.
 */
extern void etag_make(uint64 digest, TimestampTz expires_at, char *etag);

/* Writes the tag of a body that is the same for all, as etag_make does. */
extern void etag_make_for(Span body, char *etag);

/* Returns whether If-None-Match names a tag, or any. What is malformed in it names none. */
extern bool etag_is_listed(Span if_none_match, const char *etag);

#endif
