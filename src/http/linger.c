/*
 * linger.c
 *		Closes connections whose clients still send.
 *
 * When a connection is closed with unread bytes, the kernel resets it, and the client may lose the response that says why: the request is
 * too large, for example. So what still arrives is read and thrown away for a while. Connections, bytes and time are limited; beyond the
 * limits the client gets the reset.
 */
#include "http/linger.h"

#include <sys/socket.h>
#include <unistd.h>

#include "http/clock.h"

#define MAX_LINGERING 64
#define MAX_BYTES (4 * 1024 * 1024)
#define MAX_TIME 2000 /* in ms */

typedef struct Lingering
{
	int fd;
	int bytes;
	int64 since;
} Lingering;

static Lingering lingering[MAX_LINGERING];
static int count = 0;

void
linger_add(int fd)
{
	int own;

	if (count == MAX_LINGERING)
		return;
	/* A second descriptor: the caller's close does not end the connection. */
	own = dup(fd);
	if (own < 0)
		return;
	(void) shutdown(own, SHUT_WR);
	lingering[count++] = (Lingering){.fd = own, .since = clock_ms()};
}

/* Reads what has arrived; returns whether more may come. */
static bool
drain(Lingering *connection, int64 now)
{
	static char unread[16 * 1024];

	while (connection->bytes < MAX_BYTES && now - connection->since < MAX_TIME)
	{
		ssize_t bytes = recv(connection->fd, unread, sizeof(unread), MSG_DONTWAIT);

		if (bytes < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
		if (bytes == 0)
			return false;
		connection->bytes += (int) bytes;
	}
	return false;
}

int
linger_run(void)
{
	int64 now = count > 0 ? clock_ms() : 0;

	for (int i = count - 1; i >= 0; i--)
	{
		if (drain(&lingering[i], now))
			continue;
		close(lingering[i].fd);
		lingering[i] = lingering[--count];
	}
	return count;
}
