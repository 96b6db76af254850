/*
 * cors.c
 *		CORS (the Fetch standard): which pages of other origins may read responses.
 *
 * The setting session_files.http_allow_origin is a list of origins, as browsers write them, or "*"; settings.c has checked it. Without it
 * this file adds nothing. A page sends its token in a header that it sets itself, so the browser's credentials are never allowed.
 */
#include "compat.h"

#include "listing/cors.h"

#include "settings.h"

static bool
is_any(void)
{
	return strcmp(settings_http.allow_origin, "*") == 0;
}

static bool
is_off(void)
{
	return settings_http.allow_origin[0] == '\0';
}

/* Returns whether the list has an origin, byte by byte. */
static bool
is_listed(Span origin)
{
	Span list = span_of(settings_http.allow_origin);
	bool more = true;

	while (more)
	{
		Span item = span_trim(span_cut(&list, ',', &more));

		if (item.len == origin.len && memcmp(item.bytes, origin.bytes, item.len) == 0)
			return origin.len > 0;
	}
	return false;
}

bool
cors_is_preflight(const HttpRequest *request)
{
	Span origin;

	if (is_off() || !span_equals(request->method, "OPTIONS"))
		return false;
	origin = message_header(request, "origin");
	return origin.len > 0 && (is_any() || is_listed(origin)) &&
	       message_header(request, "access-control-request-method").len > 0;
}

void
cors_respond_preflight(HttpResponse *response, const char *allow)
{
	message_begin(response, HTTP_NO_CONTENT);
	message_add(response, "Access-Control-Allow-Methods", allow);
	message_add(response, "Access-Control-Allow-Headers", "Authorization, If-None-Match, Content-Type");
	/* The longest time that some browsers keep it. */
	message_add(response, "Access-Control-Max-Age", "7200");
}

bool
cors_add_headers(const HttpRequest *request, HttpResponse *response)
{
	const char *allowed = "*";

	if (is_off())
		return false;
	if (!is_any())
	{
		Span origin = message_header(request, "origin");

		if (!is_listed(origin))
			return true;
		allowed = pnstrdup(origin.bytes, origin.len);
	}
	message_add(response, "Access-Control-Allow-Origin", allowed);
	message_add(response, "Access-Control-Expose-Headers", "ETag, Link, Session-Expires-At");
	return !is_any();
}
