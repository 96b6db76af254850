/*
 * uuid7.h
 *		UUIDs: text to bytes and back, and generation of version 7.
 */
#ifndef SESSION_FILES_UUID7_H
#define SESSION_FILES_UUID7_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "span.h"

#define UUID_TEXT_LEN 36

/*
 * Parses a UUID from valid UTF-8. If it is wrong, returns false and a message in the words of Rust's uuid crate, which the reference
 * (pydantic 2.13) uses.
 */
extern bool uuid7_parse(Span text, pg_uuid_t *id, Span *error);

/* Makes the lowest UUID of version 7 of a time's millisecond. */
extern void uuid7_lowest(TimestampTz time, pg_uuid_t *id);

/* Returns the time in a UUID of version 7. */
extern TimestampTz uuid7_read_time(const pg_uuid_t *id);

/* Writes the canonical lower-case form, UUID_TEXT_LEN bytes without a NUL. */
extern void uuid7_format(const pg_uuid_t *id, char *text);

static inline int
uuid7_compare(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN);
}

#endif
