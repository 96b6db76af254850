/*
 * http_api.h
 *		What the library session_files offers to the library session_files_http.
 */
#ifndef SESSION_FILES_HTTP_API_H
#define SESSION_FILES_HTTP_API_H

#include "compat.h"

#include "fmgr.h"
#include "listing/message.h"
#include "settings.h"

/* Goes up with each change of what is passed between the two libraries: they may have been built at different times. */
#define HTTP_API_VERSION 2

typedef struct HttpApi
{
	int version;
	const HttpSettings *settings;

	/* Returns whether a request needs no role. */
	bool (*is_public)(const HttpRequest *request);

	/* Handles a request as the current user, under the active snapshot, as session_files.handle_request does. */
	void (*handle)(const HttpRequest *request, HttpResponse *response);

	/* Makes the response to a request that is not handled: {"detail":"..."}. */
	void (*refuse)(const HttpRequest *request, HttpResponse *response, int status, const char *detail);

	/* Writes a JSON string with its quotes. */
	void (*write_string)(StringInfo out, Span text);
} HttpApi;

/* To be called once, when the library is loaded. */
extern void http_api_init(void);

/* The other library finds it by load_external_function. */
extern PGDLLEXPORT const HttpApi *session_files_http_api(void);

#endif
