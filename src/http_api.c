/*
 * http_api.c
 *		What the library session_files offers to the library session_files_http: a table of functions.
 *
 * Like a caller of the SQL function handle_request, the current user must have the right to call it. That right is cached for the user
 * who was checked last, until an invalidation says that functions, schemas or roles changed. This file knows no HTTP server.
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

/* The user who last was found to have the right to call handle_request. */
static Oid allowed = InvalidOid;

/* Counts invalidations, to see one that arrives while the right is checked. */
static uint64 invalidations = 0;

static void
on_catalog_change(Datum arg, int cacheid, uint32 hashvalue)
{
	allowed = InvalidOid;
	invalidations++;
}

void
http_api_init(void)
{
	/* Privileges on the function and its schema; memberships in roles. */
	CacheRegisterSyscacheCallback(PROCOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, on_catalog_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_catalog_change, (Datum) 0);
}

/* Returns whether the current user may call handle_request. */
static bool
is_allowed(void)
{
	uint64 before = invalidations;

	if (OidIsValid(allowed) && allowed == GetUserId())
		return true;
	if (!catalog_may_handle_requests())
		return false;
	if (before == invalidations)
		allowed = GetUserId();
	return true;
}

static void
handle(const HttpRequest *request, HttpResponse *response)
{
	if (!catalog_is_current() && !catalog_exists())
		route_refuse(request, response, HTTP_UNAVAILABLE, "The database does not have the extension session_files.");
	else if (!is_allowed() && !route_is_public(request))
		route_refuse(request, response, HTTP_FORBIDDEN, "Forbidden");
	else
		route_request(request, response);
}

const HttpApi *
session_files_http_api(void)
{
	static const HttpApi api = {.version = HTTP_API_VERSION,
	                            .settings = &settings_http,
	                            .is_public = route_is_public,
	                            .handle = handle,
	                            .refuse = route_refuse,
	                            .write_string = json_write_string};

	return &api;
}
