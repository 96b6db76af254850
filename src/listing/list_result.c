/*
 * list_result.c
 *		A listing from the caller's text to status and body: what both desks share.
 *
 * The order of the checks is that of the contract.
 */
#include "compat.h"

#include "listing/list_result.h"

#include "listing/json.h"
#include "listing/listing.h"

/* Some bytes more than an entry with a name of middling length takes. */
#define ENTRY_SIZE 256

static void
answer_errors(Answer *answer)
{
	answer->status = HTTP_UNPROCESSABLE;
	response_errors(&answer->body, &answer->errors);
}

static void
answer_cursors(const RequestText *text, Answer *answer)
{
	if (answer->page.unknown_before)
		request_refuse_cursor(text, PARAM_BEFORE, &answer->errors);
	if (answer->page.unknown_after)
		request_refuse_cursor(text, PARAM_AFTER, &answer->errors);
	answer_errors(answer);
}

static void
answer_page(Answer *answer)
{
	answer->status = HTTP_OK;
	enlargeStringInfo(&answer->body, answer->page.count * ENTRY_SIZE);
	response_page(&answer->body, &answer->page);
}

void
answer_listing(Span workspace_name, const RequestText *text, Answer *answer)
{
	initStringInfo(&answer->body);
	answer->no_room = false;
	request_check(text, &answer->request, &answer->errors);
	if (answer->errors.count > 0)
	{
		answer_errors(answer);
		return;
	}
	switch (listing_read(workspace_name, &answer->request, &answer->page))
	{
		case LISTING_DONE:
			answer_page(answer);
			break;
		case LISTING_NOT_MODIFIED:
			answer->status = HTTP_NOT_MODIFIED;
			break;
		case LISTING_NO_CURSOR:
			answer_cursors(text, answer);
			break;
		case LISTING_NO_SESSION:
			answer->status = HTTP_NOT_FOUND;
			response_no_session(&answer->body, &answer->request.session_id);
			break;
		case LISTING_TOO_LARGE:
			answer->no_room = true;
			answer->status = HTTP_UNAVAILABLE;
			response_detail(&answer->body, "Service Unavailable");
			break;
		case LISTING_FORBIDDEN:
			answer->status = HTTP_FORBIDDEN;
			response_detail(&answer->body, "Forbidden");
			break;
	}
}
