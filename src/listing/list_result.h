/*
 * list_result.h
 *		Makes the result of a listing, status and body, from the caller's text.
 */
#ifndef SESSION_FILES_LIST_RESULT_H
#define SESSION_FILES_LIST_RESULT_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "listing/listing.h"
#include "listing/message.h"
#include "listing/request.h"

typedef struct ListResult
{
	int status;   /* one of HTTP_* */
	bool no_room; /* the page was larger than the caller's room */
	StringInfoData body;
	ListRequest request;  /* unless the status is HTTP_UNPROCESSABLE */
	ListPage page;        /* with HTTP_OK; with HTTP_NOT_MODIFIED its etag and expires_at */
	RequestErrors errors; /* with HTTP_UNPROCESSABLE, what the body says */
} ListResult;

/* Checks what names a session, counts its files, and renders its status, under the active snapshot. No other parameter counts. */
extern void list_result_make_status(Span workspace_name, Span session_id, ListResult *result);

/* Checks, lists and renders, under the active snapshot. */
extern void list_result_make(Span workspace_name, const RequestText *text, ListResult *result);

#endif
