/*
 * listener.h
 *		The socket on which HTTP is served; all workers accept connections from it.
 */
#ifndef SESSION_FILES_HTTP_LISTENER_H
#define SESSION_FILES_HTTP_LISTENER_H

#include "compat.h"

#include <sys/socket.h>

/*
 * Opens the socket on an IP address and a port, which no other program then gets. Called once, by the postmaster: its workers
 * inherit the socket. Returns false, with *failed saying what failed, and errno why. Clients wait in its queue while no worker runs.
 */
extern bool listener_open(const char *address, int port, const char **failed);

extern int listener_socket(void);

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
