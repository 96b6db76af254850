/*
 * list_result.c
 *		Makes the result of a listing, status and body, from the caller's text. SQL and HTTP use it alike.
 *
 * The contract defines the order of the checks.
 */
#include "compat.h"

#include "listing/list_result.h"

#include "listing/json.h"
#include "listing/listing.h"

/* Some bytes more than a file with a name of average length takes. */
#define FILE_SIZE 256

static void
set_errors(ListResult *result)
{
	result->status = HTTP_UNPROCESSABLE;
	json_write_errors(&result->body, &result->errors);
}

static void
set_cursor_errors(const RequestText *text, ListResult *result)
{
	if (result->page.unknown_before)
		request_refuse_cursor(text, PARAM_BEFORE, &result->errors);
	if (result->page.unknown_after)
		request_refuse_cursor(text, PARAM_AFTER, &result->errors);
	set_errors(result);
}

static void
set_page(ListResult *result)
{
	result->status = HTTP_OK;
	enlargeStringInfo(&result->body, result->page.count * FILE_SIZE);
	json_write_page(&result->body, &result->page);
}

void
list_result_make(Span workspace_name, const RequestText *text, ListResult *result)
{
	initStringInfo(&result->body);
	result->no_room = false;
	request_check(text, &result->request, &result->errors);
	if (result->errors.count > 0)
	{
		set_errors(result);
		return;
	}
	switch (listing_read(workspace_name, &result->request, &result->page))
	{
		case LISTING_DONE:
			set_page(result);
			break;
		case LISTING_NOT_MODIFIED:
			result->status = HTTP_NOT_MODIFIED;
			break;
		case LISTING_NO_CURSOR:
			set_cursor_errors(text, result);
			break;
		case LISTING_NO_SESSION:
			result->status = HTTP_NOT_FOUND;
			json_write_no_session(&result->body, &result->request.session_id);
			break;
		case LISTING_TOO_LARGE:
			result->no_room = true;
			result->status = HTTP_UNAVAILABLE;
			json_write_detail(&result->body, "Service Unavailable");
			break;
		case LISTING_FORBIDDEN:
			result->status = HTTP_FORBIDDEN;
			json_write_detail(&result->body, "Forbidden");
			break;
	}
}

void
list_result_make_status(Span workspace_name, Span session_id, ListResult *result)
{
	RequestText text = {.room = PG_INT64_MAX};

	text.values[PARAM_SESSION_ID] = session_id;
	text.values[PARAM_LIMIT] = span_of("0");
	list_result_make(workspace_name, &text, result);
	if (result->status != HTTP_OK)
		return;
	resetStringInfo(&result->body);
	json_write_status(&result->body, &result->request.session_id, &result->page);
}
