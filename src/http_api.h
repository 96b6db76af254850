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

/* Goes up with each change of what is passed between the two: they may have been built at different times. */
#define ENTRY_VERSION 2

typedef struct Entry
{
	int version;
	const HttpSettings *settings;

	/* Tells whether a request needs no role. */
	bool (*is_public)(const HttpRequest *request);

	/* Answers a request as the current user and under the active snapshot, as session_files.handle_request does. */
	void (*answer)(const HttpRequest *request, HttpAnswer *answer);

	/* Answers a request that does not get so far, {"detail":"..."}. */
	void (*refuse)(const HttpRequest *request, HttpAnswer *answer, int status, const char *detail);

	/* Writes a string in JSON, with its quotes. */
	void (*string)(StringInfo out, Span text);
} Entry;

/* To be called once, when the library is loaded. */
extern void entry_init(void);

/* To be found by load_external_function. */
extern PGDLLEXPORT const Entry *session_files_entry(void);

#endif
