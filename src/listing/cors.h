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

/* Makes the answer to a preflight for a path, whose methods are allow. */
extern void cors_answer_preflight(HttpAnswer *answer, const char *allow);

/* Adds what lets a page read the answer; returns whether answers differ by the header Origin. */
extern bool cors_add_headers(const HttpRequest *request, HttpAnswer *answer);

#endif
