/*
 * message.h
 *		An HTTP request and its response, as front ends pass them.
 */
#ifndef SESSION_FILES_MESSAGE_H
#define SESSION_FILES_MESSAGE_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "span.h"

#define HTTP_OK 200
#define HTTP_NO_CONTENT 204
#define HTTP_NOT_MODIFIED 304
#define HTTP_UNAUTHORIZED 401
#define HTTP_FORBIDDEN 403
#define HTTP_NOT_FOUND 404
#define HTTP_METHOD_NOT_ALLOWED 405
#define HTTP_UNPROCESSABLE 422
#define HTTP_INTERNAL_ERROR 500
#define HTTP_UNAVAILABLE 503

#define MESSAGE_MAX_HEADERS 12

typedef struct Header
{
	const char *name;
	const char *value;
} Header;

typedef struct HttpRequest HttpRequest;

struct HttpRequest
{
	Span method;
	Span target; /* as it was sent: path?query, percent-encoded */

	/*
	 * Returns the value of a header, by its name in lower case. The values of several lines are joined by ", ". A missing header
	 * is an empty one.
	 */
	Span (*header)(const HttpRequest *request, const char *name);
	const void *source; /* for that function */
	int64 room;         /* how large a page may be, in bytes before JSON escapes them */
};

typedef struct HttpResponse
{
	int status;
	bool no_room; /* the page was larger than the request's room */
	int header_count;
	Header headers[MESSAGE_MAX_HEADERS];
	StringInfoData body; /* for HEAD that of GET, which the front end leaves out; empty with 204 and 304 */
} HttpResponse;

static inline Span
message_header(const HttpRequest *request, const char *name)
{
	return request->header(request, name);
}

static inline void
message_add(HttpResponse *response, const char *name, const char *value)
{
	Assert(response->header_count < MESSAGE_MAX_HEADERS);
	response->headers[response->header_count++] = (Header){name, value};
}

/* Starts a response without headers, and with an empty body. */
static inline void
message_begin(HttpResponse *response, int status)
{
	response->status = status;
	response->no_room = false;
	response->header_count = 0;
	initStringInfo(&response->body);
}

/* Starts a response with a JSON body. */
static inline void
message_begin_json(HttpResponse *response, int status)
{
	message_begin(response, status);
	message_add(response, "Content-Type", "application/json");
}

#endif
