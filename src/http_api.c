/*
 * http_api.c
 *		What the library session_files offers to the library session_files_http.
 *
 * A third desk over the same rooms, beside the two of session_files.c: as a caller of the SQL function,
 * whoever comes through here must have the right to call it. It knows no HTTP server.
 */
#include "compat.h"

#include "http_api.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "listing/json.h"
#include "listing/route.h"

/* The user who was last found to have the right to call handle_request; and what was reported since the start. */
static Oid allowed = InvalidOid;
static uint64 reports = 0;

static void
on_catalog_change(Datum arg, int cacheid, uint32 hashvalue)
{
	allowed = InvalidOid;
	reports++;
}

void
entry_init(void)
{
	/* Privileges on the function and its schema, and who has those of a role. */
	CacheRegisterSyscacheCallback(PROCOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_catalog_change, (Datum) 0);
}

/* Tells whether the current user may call handle_request. */
static bool
is_allowed(void)
{
	uint64 before = reports;

	if (OidIsValid(allowed) && allowed == GetUserId())
		return true;
	if (!catalog_may_handle_requests())
		return false;
	if (before == reports)
		allowed = GetUserId();
	return true;
}

static void
entry_answer(const HttpRequest *request, HttpAnswer *answer)
{
	if (!catalog_is_current() && !catalog_exists())
		route_refuse(request, answer, HTTP_UNAVAILABLE, "The database does not have the extension session_files.");
	else if (!is_allowed() && !route_is_public(request))
		route_refuse(request, answer, HTTP_FORBIDDEN, "Forbidden");
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
	                            .refuse = route_refuse,
	                            .string = response_string};

	return &entry;
}
