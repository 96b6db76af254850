/*
 * route.c
 *		Finds the route of an HTTP request and makes the response. No server, no connection: front ends have these.
 *
 * Splits and decodes the target, and calls list_result.c. The path is split before its segments are decoded, so a workspace's name may
 * contain a slash.
 */
#include "compat.h"

#include "listing/route.h"

#include "catalog.h"
#include "listing/cors.h"
#include "listing/etag.h"
#include "listing/json.h"
#include "listing/links.h"
#include "listing/list_result.h"
#include "listing/openapi.h"
#include "listing/percent.h"
#include "listing/request.h"

#define MAX_SEGMENTS 7
#define WORKSPACE_SEGMENT 3
#define SESSION_SEGMENT 5

/* A request's target, split and decoded. */
typedef struct ParsedTarget
{
	const HttpRequest *request;
	Span segments[MAX_SEGMENTS];
	int segment_count;
	Span query;
} ParsedTarget;

/* Removes scheme and authority from a target in absolute form ("http://host/path"). */
static Span
strip_authority(Span target)
{
	static const char *const schemes[] = {"http://", "https://"};

	for (int i = 0; i < lengthof(schemes); i++)
	{
		int len = (int) strlen(schemes[i]);

		if (target.len >= len && pg_strncasecmp(target.bytes, schemes[i], len) == 0)
		{
			span_advance(&target, len);
			while (target.len > 0 && *target.bytes != '/' && *target.bytes != '?')
				span_advance(&target, 1);
			break;
		}
	}
	return target;
}

/* Splits the path. Returns false if no route can match. */
static bool
split_path(Span path, ParsedTarget *parsed)
{
	bool more = path.len > 0 && path.bytes[0] == '/';

	if (!more)
		return false;
	span_advance(&path, 1);
	while (more)
	{
		Span segment = percent_decode(span_cut(&path, '/', &more), false);

		if (parsed->segment_count == MAX_SEGMENTS || segment.len == 0)
			return false;
		parsed->segments[parsed->segment_count++] = segment;
	}
	return true;
}

/* Reads the query. Of a repeated parameter the last value that is not empty counts. */
static void
read_query(Span query, RequestText *text)
{
	bool more = query.len > 0;

	while (more)
	{
		Span value = span_cut(&query, '&', &more);
		bool has_value;
		Span name = percent_decode(span_cut(&value, '=', &has_value), true);

		if (value.len == 0)
			continue;
		/* session_id comes from the path alone. */
		for (Parameter p = PARAM_SESSION_ID + 1; p < PARAM_COUNT; p++)
		{
			if (span_equals(name, parameter_names[p]))
				text->values[p] = percent_decode(value, true);
		}
	}
}

static void
respond_detail(HttpResponse *response, int status, const char *detail)
{
	message_begin_json(response, status);
	json_write_detail(&response->body, detail);
}

/* Adds the headers with which a caller can keep a response, and ask whether it is still current. */
static void
add_version(HttpResponse *response, const ListPage *page)
{
	message_add(response, "Session-Expires-At", json_format_time(page->expires_at));
	message_add(response, "ETag", pstrdup(page->etag));
	/* What a response shows depends on the role. */
	message_add(response, "Cache-Control", "private, no-cache");
}

static void
add_links(HttpResponse *response, Span query, const ListResult *result)
{
	StringInfoData links;

	initStringInfo(&links);
	links_append(&links, query, &result->request, &result->page);
	if (links.len > 0)
		message_add(response, "Link", links.data);
}

static void
get_files(HttpResponse *response, const ParsedTarget *parsed)
{
	RequestText text = {.if_none_match = message_header(parsed->request, "if-none-match"),
	                    .room = parsed->request->room};
	ListResult result;

	text.values[PARAM_SESSION_ID] = parsed->segments[SESSION_SEGMENT];
	read_query(parsed->query, &text);
	list_result_make(parsed->segments[WORKSPACE_SEGMENT], &text, &result);
	response->status = result.status;
	response->no_room = result.no_room;
	response->header_count = 0;
	response->body = result.body;
	if (result.status != HTTP_NOT_MODIFIED)
		message_add(response, "Content-Type", "application/json");
	if (result.status == HTTP_OK || result.status == HTTP_NOT_MODIFIED)
		add_version(response, &result.page);
	if (result.status == HTTP_OK)
		add_links(response, parsed->query, &result);
}

static void
get_status(HttpResponse *response, const ParsedTarget *parsed)
{
	ListResult result;

	list_result_make_status(parsed->segments[WORKSPACE_SEGMENT], parsed->segments[SESSION_SEGMENT], &result);
	message_begin_json(response, result.status);
	response->body = result.body;
	/* An error gets this header from finish. */
	if (result.status == HTTP_OK)
		message_add(response, "Cache-Control", "no-store");
}

static void
get_document(HttpResponse *response, const ParsedTarget *parsed)
{
	static char etag[ETAG_LEN + 1] = "";

	if (etag[0] == '\0')
		etag_make_for(openapi_document, etag);
	if (etag_is_listed(message_header(parsed->request, "if-none-match"), etag))
		message_begin(response, HTTP_NOT_MODIFIED);
	else
	{
		message_begin_json(response, HTTP_OK);
		appendBinaryStringInfo(&response->body, openapi_document.bytes, openapi_document.len);
	}
	message_add(response, "ETag", etag);
	message_add(response, "Cache-Control", "no-cache");
}

static void
get_health(HttpResponse *response, const ParsedTarget *parsed)
{
	if (!catalog_exists())
	{
		respond_detail(response, HTTP_UNAVAILABLE, "Service Unavailable");
		return;
	}
	message_begin_json(response, HTTP_OK);
	appendStringInfoString(&response->body, "{\"status\":\"ok\"}");
	message_add(response, "Cache-Control", "no-store");
}

/* A path and what it serves. */
typedef struct Route
{
	int segment_count;
	const char *segments[MAX_SEGMENTS]; /* NULL: any text */
	bool is_public;                     /* its response says nothing of what is in the tables */
	const char *allow;                  /* the methods, as in the header Allow */
	void (*get)(HttpResponse *response, const ParsedTarget *parsed);
} Route;

static const Route routes[] = {
	/* /api/v1/workspaces/{workspace_name}/upload_sessions/{session_id}/files */
	{7, {"api", "v1", "workspaces", NULL, "upload_sessions", NULL, "files"}, false, "GET, HEAD", get_files},
	/* /api/v1/workspaces/{workspace_name}/upload_sessions/{session_id} */
	{6, {"api", "v1", "workspaces", NULL, "upload_sessions", NULL}, false, "GET, HEAD", get_status},
	{1, {"openapi.json"}, true, "GET, HEAD", get_document},
	{1, {"healthz"}, true, "GET, HEAD", get_health},
};

static bool
matches(const Route *route, const ParsedTarget *parsed)
{
	if (parsed->segment_count != route->segment_count)
		return false;
	for (int i = 0; i < route->segment_count; i++)
	{
		if (route->segments[i] != NULL && !span_equals(parsed->segments[i], route->segments[i]))
			return false;
	}
	return true;
}

/* Returns the route of a request, or NULL if there is none. */
static const Route *
find_route(const HttpRequest *request, ParsedTarget *parsed)
{
	Span target = strip_authority(request->target);
	bool has_query;
	Span path = span_cut(&target, '?', &has_query);

	*parsed = (ParsedTarget){.request = request, .query = target};
	if (!split_path(path, parsed))
		return NULL;
	for (int i = 0; i < lengthof(routes); i++)
	{
		if (matches(&routes[i], parsed))
			return &routes[i];
	}
	return NULL;
}

/* Adds the headers that depend on the status, and Vary. */
static void
finish(const HttpRequest *request, HttpResponse *response, bool by_role)
{
	bool by_origin = cors_add_headers(request, response);

	if (response->status >= 400)
		message_add(response, "Cache-Control", "no-store");
	if (response->status == HTTP_UNAVAILABLE)
		message_add(response, "Retry-After", "1");
	if (by_role)
		message_add(response, "Vary", by_origin ? "Authorization, Origin" : "Authorization");
	else if (by_origin)
		message_add(response, "Vary", "Origin");
}

bool
route_is_public(const HttpRequest *request)
{
	ParsedTarget parsed;
	const Route *route = find_route(request, &parsed);

	return (route != NULL && route->is_public) || cors_is_preflight(request);
}

void
route_request(const HttpRequest *request, HttpResponse *response)
{
	ParsedTarget parsed;
	const Route *route = find_route(request, &parsed);
	bool is_preflight = cors_is_preflight(request);

	if (route == NULL)
		respond_detail(response, HTTP_NOT_FOUND, "Not Found");
	else if (is_preflight)
		cors_respond_preflight(response, route->allow);
	else if (span_equals(request->method, "GET") || span_equals(request->method, "HEAD"))
		route->get(response, &parsed);
	else
	{
		respond_detail(response, HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
		message_add(response, "Allow", route->allow);
	}
	finish(request, response, !is_preflight && (route == NULL || !route->is_public));
}

void
route_refuse(const HttpRequest *request, HttpResponse *response, int status, const char *detail)
{
	respond_detail(response, status, detail);
	finish(request, response, true);
}
