/*
 * server.h
 *		HTTP/1.1 on a socket, by libmicrohttpd.
 */
#ifndef SESSION_FILES_HTTP_SERVER_H
#define SESSION_FILES_HTTP_SERVER_H

#include "compat.h"

#include <signal.h>

#include "listing/message.h"
#include "settings.h"

typedef struct Server Server;
typedef struct ServerRequest ServerRequest;

/* What a connection has sent; valid until it is answered. */
struct ServerRequest
{
	HttpRequest http;
	const char *authorization; /* NULL if there is no such header */
	void *connection;          /* for exchange_each_header */
};

/* Answers a request. It must not raise errors: they would jump through the library's frames. */
typedef void (*ServerHandler)(const ServerRequest *request, HttpAnswer *answer);

typedef struct ServerOptions
{
	int socket;                   /* listening */
	const HttpSettings *settings; /* may change while the server is open, but for header_size */
	int most_connections;         /* what the process has room for, whatever the settings say */
	ServerHandler handler;
	void (*refuse)(const ServerRequest *request, HttpAnswer *answer, int status,
	               const char *reason);  /* as the handler */
	const volatile sig_atomic_t *ending; /* set when the server is about to be drained */
} ServerOptions;

extern Server *server_open(const ServerOptions *options);
extern void server_close(Server *server);

/* The descriptor that is readable when there is something to do; and how long not to wait for it, in ms, or -1. */
extern int server_descriptor(const Server *server);
extern long server_timeout(Server *server);

/* Does what there is to do. */
extern void server_run(Server *server);

/* Takes no more connections, and closes those that wait for a request; answers say that the connection is closed. */
extern void server_drain(Server *server);

/* What a connection takes for the heads of a request and its answer, in bytes. */
extern size_t server_memory(const HttpSettings *settings);

extern int server_connections(const Server *server);

#endif
