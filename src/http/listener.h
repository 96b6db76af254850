/*
 * listener.h
 *		The listening socket, from which all workers accept connections.
 */
#ifndef SESSION_FILES_HTTP_LISTENER_H
#define SESSION_FILES_HTTP_LISTENER_H

#include "compat.h"

#include <sys/socket.h>

/*
 * Opens the socket on an IP address and a port. Called once, by the postmaster; workers inherit the socket. Clients wait in its queue while
 * no worker runs. If it cannot, returns false, with *failed and errno set.
 */
extern bool listener_open(const char *address, int port, const char **failed);

extern int listener_socket(void);

/* The outcome of an attempt to accept a connection. */
typedef enum Accepted
{
	ACCEPTED,
	ACCEPT_NONE,   /* no client waits any more */
	ACCEPT_NO_ROOM /* this process or the system has no room for a connection */
} Accepted;

typedef struct Client
{
	int fd;
	struct sockaddr_storage address;
	socklen_t address_len;
} Client;

extern Accepted listener_accept(Client *client);

#endif
