/*
 * listener.c
 *		The listening socket, from which all workers accept connections.
 *
 * There is one socket for all workers. So the next free worker takes a client, a worker that ends takes no waiting client with it, and
 * two clusters cannot have the same port by mistake, as they could with a socket per worker (SO_REUSEPORT).
 *
 * The library could listen itself. But it stops when it has no room or no descriptor, and does not say when to run it again.
 */
#include "http/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

/*
 * How much of a response the kernel keeps for a client that does not read, in bytes; it may take twice as much. Without this limit it
 * would be some MB per client.
 */
#define SEND_BUFFER (64 * 1024)

static int listener = -1;

/* Sets up a socket, binds it and listens. Returns false, with *failed and errno set, if it cannot. */
static bool
listen_on(int fd, const struct sockaddr *name, socklen_t len, const char **failed)
{
	int yes = 1;
	int size = SEND_BUFFER;

	*failed = "set up a socket for";
	/* Connections inherit the size of the buffer. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) != 0)
		return false;
	*failed = "bind to";
	if (bind(fd, name, len) != 0)
		return false;
	*failed = "listen on";
	return listen(fd, SOMAXCONN) == 0;
}

bool
listener_open(const char *address, int port, const char **failed)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	int fd;

	*failed = "read";
	errno = EINVAL;
	if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1)
		return false;
	*failed = "create a socket for";
	fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (is_six ? !listen_on(fd, (struct sockaddr *) &six, sizeof(six), failed)
	           : !listen_on(fd, (struct sockaddr *) &four, sizeof(four), failed))
	{
		int saved = errno;

		close(fd);
		errno = saved;
		return false;
	}
	listener = fd;
	return true;
}

int
listener_socket(void)
{
	return listener;
}

Accepted
listener_accept(Client *client)
{
	client->address_len = sizeof(client->address);
	client->fd =
		accept4(listener, (struct sockaddr *) &client->address, &client->address_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client->fd >= 0)
		return ACCEPTED;
	switch (errno)
	{
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			return ACCEPT_NO_ROOM;
		default:
			/* These include errors of a connection that failed before it was accepted: the next one may succeed. */
			return ACCEPT_NONE;
	}
}
