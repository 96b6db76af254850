/*
 * json.h
 *		JSON: a page, errors, strings.
 */
#ifndef SESSION_FILES_JSON_H
#define SESSION_FILES_JSON_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "listing/listing.h"
#include "listing/request.h"

extern void json_write_page(StringInfo out, const ListPage *page);
extern void json_write_errors(StringInfo out, const RequestErrors *errors);
extern void json_write_no_session(StringInfo out, const pg_uuid_t *session_id);

/* Writes {"detail":"..."}. */
extern void json_write_detail(StringInfo out, const char *detail);

/* Writes a JSON string. */
extern void json_write_string(StringInfo out, Span text);

#endif
