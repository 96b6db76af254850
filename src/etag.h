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

/* Returns the version of a session's listings: the same as long as each request has the same answer. */
extern uint64 etag_version(uint64 digest, TimestampTz expires_at);

/* Writes the strong tag of a version, ETAG_LEN bytes and a NUL. */
extern void etag_format(uint64 version, char *text);

/* Tells whether a version is one of those that If-None-Match names. What is malformed in it names none. */
extern bool etag_is_listed(Span if_none_match, uint64 version);

#endif
