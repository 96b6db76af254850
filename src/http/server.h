/*
 * server.h
 *		HTTP/1.1 by libmicrohttpd.
 */
#ifndef SESSION_FILES_HTTP_SERVER_H
#define SESSION_FILES_HTTP_SERVER_H

#include "compat.h"

#include "http/exchange.h"

typedef struct Server Server;

extern Server *server_open(const ServerOptions *options);
extern void server_close(Server *server);

/* The descriptor that is readable when there is something to do; and how long to wait for it at most, in ms, or -1. */
extern int server_descriptor(const Server *server);
extern long server_timeout(Server *server);

/* Does what there is to do. */
extern void server_run(Server *server);

/* Accepts no more connections, and closes those that wait for a request. Responses from now on close their connection. */
extern void server_drain(Server *server);

extern int server_connections(const Server *server);

#endif
