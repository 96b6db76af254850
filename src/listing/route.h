/*
 * route.h
 *		Finds the route of an HTTP request and makes the response.
 */
#ifndef SESSION_FILES_ROUTE_H
#define SESSION_FILES_ROUTE_H

#include "compat.h"

#include "listing/message.h"

/* Returns whether the response to a request says nothing of what is in the tables, so that no role and no right is needed. */
extern bool route_is_public(const HttpRequest *request);

/* Makes the response to a request, under the active snapshot. */
extern void route_request(const HttpRequest *request, HttpResponse *response);

/* Makes the response to a request that is not handled: {"detail":"..."}. */
extern void route_refuse(const HttpRequest *request, HttpResponse *response, int status, const char *detail);

#endif
