/*
 * route.h
 *		An HTTP request to its response, without HTTP itself.
 */
#ifndef SESSION_FILES_ROUTE_H
#define SESSION_FILES_ROUTE_H

#include "compat.h"

#include "listing/message.h"

/* Returns whether a request asks for nothing of what is in the database, so that it needs no role and no right. */
extern bool route_is_public(const HttpRequest *request);

/* Answers a request under the active snapshot. */
extern void route_request(const HttpRequest *request, HttpResponse *response);

/* Answers a request that does not get so far, {"detail":"..."}. */
extern void route_refuse(const HttpRequest *request, HttpResponse *response, int status, const char *detail);

#endif
