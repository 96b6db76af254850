/*
 * identity.h
 *		The identity of an HTTP request: from its token to a role and claims.
 */
#ifndef SESSION_FILES_HTTP_IDENTITY_H
#define SESSION_FILES_HTTP_IDENTITY_H

#include "compat.h"

#include "http/server.h"

#include "http_api.h"

/* Defines the settings request.*, which show the current request. To be called once per worker. */
extern void identity_init(const HttpApi *api);

/* Reads the keys again. If something is wrong with them, it is logged, and no token is accepted. */
extern void identity_load_keys(void);

/*
 * Reads the identity of a request, which request.* shows until the next call. Returns NULL, or what is wrong with the token. *role is NULL
 * for a request without a token if there is no anonymous role.
 */
extern const char *identity_read(const ServerRequest *request, const char **role);

/*
 * Sets the role; raises 42501 if the worker may not. It stays set between requests, when nothing runs: to reset it and to set it again
 * would cost more than a snapshot.
 */
extern void identity_become(const char *role);

#endif
