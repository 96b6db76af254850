/*
 * answer.h
 *		A listing from the caller's text to status and body: what both desks share.
 */
#ifndef SESSION_FILES_ANSWER_H
#define SESSION_FILES_ANSWER_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "listing.h"
#include "request.h"

#define HTTP_OK 200
#define HTTP_NOT_MODIFIED 304
#define HTTP_FORBIDDEN 403
#define HTTP_NOT_FOUND 404
#define HTTP_METHOD_NOT_ALLOWED 405
#define HTTP_UNPROCESSABLE 422
#define HTTP_INTERNAL_ERROR 500
#define HTTP_UNAVAILABLE 503

typedef struct Answer
{
	int status;   /* one of HTTP_* */
	bool no_room; /* the page would have gone over the caller's room */
	StringInfoData body;
	ListRequest request;  /* unless the status is HTTP_UNPROCESSABLE */
	ListPage page;        /* with HTTP_OK; with HTTP_NOT_MODIFIED its digest and expires_at */
	RequestErrors errors; /* with HTTP_UNPROCESSABLE, what the body says */
} Answer;

/* Checks, lists and renders, under the active snapshot. */
extern void answer_listing(Span workspace_name, const RequestText *text, Answer *answer);

#endif
