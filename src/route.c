/*
 * route.c
 *		An HTTP request to its answer, without HTTP itself.
 *
 * Splits the raw target, decodes what it is made of, and turns it over to answer.c. Segments of the
 * path are split before they are decoded, so that a workspace's name may hold a slash.
 */
#include "compat.h"

#include "route.h"

#include "datatype/timestamp.h"
#include "utils/timestamp.h"

#include "answer.h"
#include "percent.h"
#include "request.h"
#include "response.h"

/* /api/v1/workspaces/{workspace_name}/upload_sessions/{session_id}/files */
static const char *const path_template[] = {"api", "v1", "workspaces", NULL, "upload_sessions", NULL, "files"};

#define SEGMENT_COUNT ((int) lengthof(path_template))
#define WORKSPACE_SEGMENT 3
#define SESSION_SEGMENT 5

/* Takes bytes away from the start. */
static void
advance(Span *text, int bytes)
{
	text->bytes += bytes;
	text->len -= bytes;
}

/* Cuts off and returns what comes before a separator; all of it if there is none. */
static Span
cut(Span *rest, char separator, bool *found)
{
	Span piece = {rest->bytes, 0};

	while (piece.len < rest->len && piece.bytes[piece.len] != separator)
		piece.len++;
	*found = piece.len < rest->len;
	advance(rest, *found ? piece.len + 1 : piece.len);
	return piece;
}

/* Takes scheme and authority away from a target in absolute form ("http://host/path"). */
static Span
strip_authority(Span target)
{
	static const char *const schemes[] = {"http://", "https://"};

	for (int i = 0; i < lengthof(schemes); i++)
	{
		int len = strlen(schemes[i]);

		if (target.len >= len && pg_strncasecmp(target.bytes, schemes[i], len) == 0)
		{
			advance(&target, len);
			while (target.len > 0 && *target.bytes != '/' && *target.bytes != '?')
				advance(&target, 1);
			break;
		}
	}
	return target;
}

/* Splits the path; returns whether it is that of the listing. */
static bool
match_path(Span path, Span *segments)
{
	bool more = path.len > 0 && path.bytes[0] == '/';
	int count = 0;

	if (!more)
		return false;
	advance(&path, 1);
	while (more)
	{
		Span segment = percent_decode(cut(&path, '/', &more), false);

		if (count == SEGMENT_COUNT || segment.len == 0 ||
		    (path_template[count] != NULL && !span_equals(segment, path_template[count])))
			return false;
		segments[count++] = segment;
	}
	return count == SEGMENT_COUNT;
}

/* Reads the query string: of a repeated parameter the last that is not empty counts. */
static void
read_query(Span query, RequestText *text)
{
	bool more = query.len > 0;

	while (more)
	{
		Span value = cut(&query, '&', &more);
		bool has_value;
		Span name = percent_decode(cut(&value, '=', &has_value), true);

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
add_header(HttpAnswer *answer, const char *name, const char *value)
{
	Assert(answer->header_count < ROUTE_MAX_HEADERS);
	answer->headers[answer->header_count++] = (Header){name, value};
}

static void
answer_detail(HttpAnswer *answer, int status, const char *detail)
{
	answer->status = status;
	initStringInfo(&answer->body);
	response_detail(&answer->body, detail);
}

/* Renders a time as RFC 3339 in UTC. */
static const char *
format_time(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t microseconds;

	if (timestamp2tm(time, NULL, &tm, &microseconds, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min,
	                tm.tm_sec, (int) microseconds);
}

static void
answer_files(HttpAnswer *answer, const Span *segments, Span query)
{
	RequestText text = {0};
	Answer listing;

	text.values[PARAM_SESSION_ID] = segments[SESSION_SEGMENT];
	read_query(query, &text);
	answer_listing(segments[WORKSPACE_SEGMENT], &text, &listing);
	answer->status = listing.status;
	answer->body = listing.body;
	if (listing.status == HTTP_OK)
		add_header(answer, "Session-Expires-At", format_time(listing.session_expires_at));
}

void
route_request(const HttpRequest *request, HttpAnswer *answer)
{
	Span query = strip_authority(request->target);
	bool has_query;
	Span path = cut(&query, '?', &has_query);
	Span segments[SEGMENT_COUNT];

	answer->header_count = 0;
	add_header(answer, "Content-Type", "application/json");
	if (!match_path(path, segments))
		answer_detail(answer, HTTP_NOT_FOUND, "Not Found");
	else if (!span_equals(request->method, "GET") && !span_equals(request->method, "HEAD"))
	{
		answer_detail(answer, HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
		add_header(answer, "Allow", "GET, HEAD");
	}
	else
		answer_files(answer, segments, query);
}
