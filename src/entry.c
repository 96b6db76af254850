/*
 * entry.c
 *		What the library session_files offers to the library session_files_http.
 *
 * A third desk over the same rooms, beside the two of session_files.c: as a caller of the SQL function,
 * whoever comes through here must have the right to call it. It knows no HTTP server.
 */
#include "compat.h"

#include "entry.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "answer.h"
#include "catalog.h"
#include "response.h"

static void
answer_detail(HttpAnswer *answer, int status, const char *detail)
{
	answer->status = status;
	answer->header_count = 1;
	answer->headers[0] = (Header){"Content-Type", "application/json"};
	initStringInfo(&answer->body);
	response_detail(&answer->body, detail);
}

static void
entry_answer(const HttpRequest *request, HttpAnswer *answer)
{
	if (!catalog_is_current() && !catalog_exists())
		answer_detail(answer, HTTP_UNAVAILABLE, "The database does not have the extension session_files.");
	else if (!route_is_public(request) && !catalog_may_handle_requests())
		answer_detail(answer, HTTP_FORBIDDEN, "Forbidden");
	else
		route_request(request, answer);
}

const Entry *
session_files_entry(void)
{
	static const Entry entry = {.version = ENTRY_VERSION,
	                            .settings = &settings_http,
	                            .is_public = route_is_public,
	                            .answer = entry_answer,
	                            .detail = response_detail,
	                            .string = response_string};

	return &entry;
}
