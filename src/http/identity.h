/*
 * identity.h
 *		Whose an HTTP request is: from its token to a role and claims.
 */
#ifndef SESSION_FILES_HTTP_IDENTITY_H
#define SESSION_FILES_HTTP_IDENTITY_H

#include "compat.h"

#include "http/server.h"

#include "http_api.h"

/* Defines the settings request.*, which show what the current request says; to be called once per worker. */
extern void identity_init(const HttpApi *api);

/* Reads the keys anew. What is wrong with them is logged; then no token is accepted. */
extern void identity_load_keys(void);

/*
 * Finds out whose a request is, and has request.* show it until the next call. Returns NULL, or what is wrong with
 * its token. *role is NULL if there is none: a request without a token where nobody is anonymous.
 */
extern const char *identity_read(const ServerRequest *request, const char **role);

/*
 * Becomes the role; raises 42501 if that cannot be. It stays the process's role between requests, in which nothing
 * runs, and is checked anew when a request comes of another, or something about roles has changed: to leave it and to
 * become it again costs more than a snapshot.
 */
extern void identity_become(const char *role);

#endif
