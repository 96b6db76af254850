/*
 * json.h
 *		JSON: a page, errors, strings.
 */
#ifndef SESSION_FILES_JSON_H
#define SESSION_FILES_JSON_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "listing/listing.h"
#include "listing/request.h"

extern void json_write_page(StringInfo out, const ListPage *page);

/* Writes the status of a session: its end and its counts. */
extern void json_write_status(StringInfo out, const pg_uuid_t *session_id, const ListPage *page);

/* Returns a time as RFC 3339 in UTC, to the microsecond. */
extern const char *json_format_time(TimestampTz time);
extern void json_write_errors(StringInfo out, const RequestErrors *errors);
extern void json_write_no_session(StringInfo out, const pg_uuid_t *session_id);

/* Writes {"detail":"..."}. */
extern void json_write_detail(StringInfo out, const char *detail);

/* Writes a JSON string. */
extern void json_write_string(StringInfo out, Span text);

#endif
