/*
 * cors.h
 *		CORS (the Fetch standard): which pages of other origins may read responses.
 */
#ifndef SESSION_FILES_CORS_H
#define SESSION_FILES_CORS_H

#include "compat.h"

#include "listing/message.h"

/* Returns whether a request is a preflight of an allowed origin. It has no token, so it needs no role. */
extern bool cors_is_preflight(const HttpRequest *request);

/* Makes the response to a preflight for a path that has the methods in allow. */
extern void cors_respond_preflight(HttpResponse *response, const char *allow);

/* Adds the headers that let a page read the response. Returns whether responses differ by the header Origin. */
extern bool cors_add_headers(const HttpRequest *request, HttpResponse *response);

#endif
