/*
 * cors.h
 *		Which pages of other origins may read answers (CORS, the Fetch standard).
 */
#ifndef SESSION_FILES_CORS_H
#define SESSION_FILES_CORS_H

#include "compat.h"

#include "listing/message.h"

/* Returns whether a request is a preflight of an allowed origin. It has no token, so it needs no role. */
extern bool cors_is_preflight(const HttpRequest *request);

/* Makes the response to a preflight for a path, whose methods are allow. */
extern void cors_respond_preflight(HttpResponse *response, const char *allow);

/* Adds what lets a page read the response; returns whether answers differ by the header Origin. */
extern bool cors_add_headers(const HttpRequest *request, HttpResponse *response);

#endif
