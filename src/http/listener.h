/*
 * listener.h
 *		The socket on which HTTP is served; all workers accept connections from it.
 */
#ifndef SESSION_FILES_HTTP_LISTENER_H
#define SESSION_FILES_HTTP_LISTENER_H

#include "../compat.h"

#include <sys/socket.h>

/*
 * Binds the socket to an IP address and a port, which no other program then gets. Called once, by the postmaster: its workers
 * inherit the socket. Returns false, with *failed saying what failed, and errno why. Clients are refused until listener_listen.
 */
extern bool listener_bind(const char *address, int port, const char **failed);

/* Lets clients connect. Each worker calls it when it can serve. Returns the socket, or -1. */
extern int listener_listen(void);

/* What became of an attempt to accept a connection. */
typedef enum Accepted
{
	ACCEPTED,
	ACCEPT_NONE,   /* no client waits, or it has gone again */
	ACCEPT_NO_ROOM /* this process, or the system, has no room for one more connection */
} Accepted;

typedef struct Client
{
	int fd;
	struct sockaddr_storage address;
	socklen_t address_len;
} Client;

extern Accepted listener_accept(Client *client);

#endif
