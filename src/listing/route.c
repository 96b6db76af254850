/*
 * route.c
 *		An HTTP request to its answer, without HTTP itself.
 *
 * Splits the raw target, decodes what it is made of, and turns it over to answer.c. Segments of the
 * path are split before they are decoded, so that a workspace's name may hold a slash.
 */
#include "compat.h"

#include "listing/route.h"

#include "datatype/timestamp.h"
#include "utils/timestamp.h"

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

/* A request that has come to a path that is there. */
typedef struct Visit
{
	const HttpRequest *request;
	Span segments[MAX_SEGMENTS];
	int segment_count;
	Span query;
} Visit;

/* Takes scheme and authority away from a target in absolute form ("http://host/path"). */
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

/* Splits the path; returns false if no path that is there has such segments. */
static bool
split_path(Span path, Visit *visit)
{
	bool more = path.len > 0 && path.bytes[0] == '/';

	if (!more)
		return false;
	span_advance(&path, 1);
	while (more)
	{
		Span segment = percent_decode(span_cut(&path, '/', &more), false);

		if (visit->segment_count == MAX_SEGMENTS || segment.len == 0)
			return false;
		visit->segments[visit->segment_count++] = segment;
	}
	return true;
}

/* Reads the query string: of a repeated parameter the last that is not empty counts. */
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
answer_detail(HttpAnswer *answer, int status, const char *detail)
{
	message_begin_json(answer, status);
	response_detail(&answer->body, detail);
}

/* Writes a number with leading zeros and what follows it; returns where that ends. A call of printf takes ten times as long. */
static char *
put_number(char *text, int number, int digits, char separator)
{
	for (int i = digits - 1; i >= 0; i--, number /= 10)
		text[i] = (char) ('0' + number % 10);
	text[digits] = separator;
	return text + digits + 1;
}

/* Renders a time as RFC 3339 in UTC: years to 9999, as upload_sessions has them. */
static const char *
format_time(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t microseconds;
	char *text;
	char *end;

	if (timestamp2tm(time, NULL, &tm, &microseconds, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	text = palloc(sizeof("9999-12-31T23:59:59.999999Z"));
	end = put_number(text, tm.tm_year, 4, '-');
	end = put_number(end, tm.tm_mon, 2, '-');
	end = put_number(end, tm.tm_mday, 2, 'T');
	end = put_number(end, tm.tm_hour, 2, ':');
	end = put_number(end, tm.tm_min, 2, ':');
	end = put_number(end, tm.tm_sec, 2, '.');
	end = put_number(end, microseconds, 6, 'Z');
	*end = '\0';
	return text;
}

/* Adds what a caller needs to keep an answer and to ask whether it still holds. */
static void
add_version(HttpAnswer *answer, const ListPage *page)
{
	char *etag = palloc(ETAG_LEN + 1);

	etag_make(page->digest, page->expires_at, etag);
	message_add(answer, "Session-Expires-At", format_time(page->expires_at));
	message_add(answer, "ETag", etag);
	/* Who may see what depends on who asks. */
	message_add(answer, "Cache-Control", "private, no-cache");
}

static void
add_links(HttpAnswer *answer, Span query, const Answer *listing)
{
	StringInfoData links;

	initStringInfo(&links);
	links_append(&links, query, &listing->request, &listing->page);
	if (links.len > 0)
		message_add(answer, "Link", links.data);
}

static void
answer_files(HttpAnswer *answer, const Visit *visit)
{
	RequestText text = {.if_none_match = message_header(visit->request, "if-none-match"), .room = visit->request->room};
	Answer listing;

	text.values[PARAM_SESSION_ID] = visit->segments[SESSION_SEGMENT];
	read_query(visit->query, &text);
	answer_listing(visit->segments[WORKSPACE_SEGMENT], &text, &listing);
	answer->status = listing.status;
	answer->no_room = listing.no_room;
	answer->header_count = 0;
	answer->body = listing.body;
	if (listing.status != HTTP_NOT_MODIFIED)
		message_add(answer, "Content-Type", "application/json");
	if (listing.status == HTTP_OK || listing.status == HTTP_NOT_MODIFIED)
		add_version(answer, &listing.page);
	if (listing.status == HTTP_OK)
		add_links(answer, visit->query, &listing);
}

static void
answer_document(HttpAnswer *answer, const Visit *visit)
{
	static char etag[ETAG_LEN + 1] = "";

	if (etag[0] == '\0')
		etag_make_for(openapi_document, etag);
	if (etag_is_listed(message_header(visit->request, "if-none-match"), etag))
		message_begin(answer, HTTP_NOT_MODIFIED);
	else
	{
		message_begin_json(answer, HTTP_OK);
		appendBinaryStringInfo(&answer->body, openapi_document.bytes, openapi_document.len);
	}
	message_add(answer, "ETag", etag);
	message_add(answer, "Cache-Control", "no-cache");
}

static void
answer_health(HttpAnswer *answer, const Visit *visit)
{
	if (!catalog_exists())
	{
		answer_detail(answer, HTTP_UNAVAILABLE, "Service Unavailable");
		return;
	}
	message_begin_json(answer, HTTP_OK);
	appendStringInfoString(&answer->body, "{\"status\":\"ok\"}");
	message_add(answer, "Cache-Control", "no-store");
}

/* The paths that are there. */
typedef struct Route
{
	int segment_count;
	const char *segments[MAX_SEGMENTS]; /* NULL may be any text */
	bool is_public;                     /* says nothing of what is in the database */
	const char *allow;                  /* the methods, as in the header Allow */
	void (*get)(HttpAnswer *answer, const Visit *visit);
} Route;

static const Route routes[] = {
	/* /api/v1/workspaces/{workspace_name}/upload_sessions/{session_id}/files */
	{7, {"api", "v1", "workspaces", NULL, "upload_sessions", NULL, "files"}, false, "GET, HEAD", answer_files},
	{1, {"openapi.json"}, true, "GET, HEAD", answer_document},
	{1, {"healthz"}, true, "GET, HEAD", answer_health},
};

static bool
matches(const Route *route, const Visit *visit)
{
	if (visit->segment_count != route->segment_count)
		return false;
	for (int i = 0; i < route->segment_count; i++)
	{
		if (route->segments[i] != NULL && !span_equals(visit->segments[i], route->segments[i]))
			return false;
	}
	return true;
}

/* Returns the route of a request, or NULL. */
static const Route *
find_route(const HttpRequest *request, Visit *visit)
{
	Span target = strip_authority(request->target);
	bool has_query;
	Span path = span_cut(&target, '?', &has_query);

	*visit = (Visit){.request = request, .query = target};
	if (!split_path(path, visit))
		return NULL;
	for (int i = 0; i < lengthof(routes); i++)
	{
		if (matches(&routes[i], visit))
			return &routes[i];
	}
	return NULL;
}

/* Adds the headers that follow from the status, and from what else decides on the answer. */
static void
finish(const HttpRequest *request, HttpAnswer *answer, bool by_role)
{
	bool by_origin = cors_add_headers(request, answer);

	if (answer->status >= 400)
		message_add(answer, "Cache-Control", "no-store");
	if (answer->status == HTTP_UNAVAILABLE)
		message_add(answer, "Retry-After", "1");
	if (by_role)
		message_add(answer, "Vary", by_origin ? "Authorization, Origin" : "Authorization");
	else if (by_origin)
		message_add(answer, "Vary", "Origin");
}

bool
route_is_public(const HttpRequest *request)
{
	Visit visit;
	const Route *route = find_route(request, &visit);

	return (route != NULL && route->is_public) || cors_is_preflight(request);
}

void
route_request(const HttpRequest *request, HttpAnswer *answer)
{
	Visit visit;
	const Route *route = find_route(request, &visit);
	bool is_preflight = cors_is_preflight(request);

	if (route == NULL)
		answer_detail(answer, HTTP_NOT_FOUND, "Not Found");
	else if (is_preflight)
		cors_answer_preflight(answer, route->allow);
	else if (span_equals(request->method, "GET") || span_equals(request->method, "HEAD"))
		route->get(answer, &visit);
	else
	{
		answer_detail(answer, HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
		message_add(answer, "Allow", route->allow);
	}
	finish(request, answer, !is_preflight && (route == NULL || !route->is_public));
}

void
route_refuse(const HttpRequest *request, HttpAnswer *answer, int status, const char *detail)
{
	answer_detail(answer, status, detail);
	finish(request, answer, true);
}
