/*
 * route.h
 *		An HTTP request to its answer, without HTTP itself.
 */
#ifndef SESSION_FILES_ROUTE_H
#define SESSION_FILES_ROUTE_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "span.h"

#define ROUTE_MAX_HEADERS 8

typedef struct Header
{
	const char *name;
	const char *value;
} Header;

typedef struct HttpRequest
{
	Span method;
	Span target;        /* as it was sent: path?query, percent-encoded */
	Span if_none_match; /* the header's value; empty if there is none */
	int64 room;         /* how large a page may be, in bytes; at most LISTING_MAX_SIZE */
} HttpRequest;

typedef struct HttpAnswer
{
	int status;
	bool no_room; /* the page would have gone over the request's room */
	int header_count;
	Header headers[ROUTE_MAX_HEADERS];
	StringInfoData body; /* for HEAD that of GET, for the door to leave out; none with 304 */
} HttpAnswer;

/* Tells whether a request says nothing of what is in the database, so that it needs no role and no right. */
extern bool route_is_public(const HttpRequest *request);

/* Answers a request under the active snapshot. */
extern void route_request(const HttpRequest *request, HttpAnswer *answer);

#endif
