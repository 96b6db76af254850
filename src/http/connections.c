/*
 * connections.c
 *		The open connections of a worker, by how long they have waited.
 *
 * They are in a list by the time at which they began to wait, so the first has waited longest. A connection begins to wait when it opens,
 * and when its request was responded to. Bytes that arrive meanwhile do not change that: a client has the idle timeout for a whole request.
 *
 * A client that takes longer to read a response is not closed while it reads. When its time is over, the kernel says how many bytes the
 * client has acknowledged since the last look.
 *
 * The list belongs to one process with one thread: it needs no lock.
 */
#include "http/connections.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "http/clock.h"

/* How long a connection is safe from being closed to make room for another, in ms. */
#define GRACE 100

/* A client reads its response if it takes so many bytes per second. */
#define LEAST_RATE 1024

/* How long a client may pause in reading before its response may have to make room for others, in ms. */
#define READING_PAUSE 1000

/* How often to look for abandoned connections, in ms. */
#define LOOK_EVERY 1000

static dlist_head list = DLIST_STATIC_INIT(list);
static int count = 0;
static size_t unread = 0;
static uint64 dropped = 0;

/* Shuts a connection, so that the library sees its end and closes it. */
static void
shut(Connection *connection)
{
	connection->shut = true;
	(void) shutdown(connection->fd, SHUT_RDWR);
}

static void
start_waiting(Connection *connection)
{
	connection->since = clock_ms();
	connection->looked_at = false;
	dlist_push_tail(&list, &connection->node);
}

Connection *
connections_add(struct MHD_Connection *handle)
{
	Connection *connection = calloc(1, sizeof(Connection));

	if (connection == NULL)
		return NULL;
	connection->handle = handle;
	connection->fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	count++;
	start_waiting(connection);
	return connection;
}

void
connections_remove(Connection *connection)
{
	connections_keep(connection, 0);
	dlist_delete(&connection->node);
	count--;
	free(connection->target);
	free(connection);
}

void
connections_restart(Connection *connection)
{
	dlist_delete(&connection->node);
	start_waiting(connection);
}

void
connections_keep(Connection *connection, size_t bytes)
{
	unread = unread - connection->unread + bytes;
	connection->unread = bytes;
}

int
connections_count(void)
{
	return count;
}

size_t
connections_unread(void)
{
	return unread;
}

uint64
connections_dropped(void)
{
	return dropped;
}

/* Returns the connection that has a node. */
static Connection *
connection_at(dlist_node *node)
{
	/* cppcheck-suppress nullPointer; it takes the place of a member in a struct at address 0 */
	return dlist_container(Connection, node, node);
}

Connection *
connections_first(void)
{
	return dlist_is_empty(&list) ? NULL : connection_at(dlist_head_node(&list));
}

Connection *
connections_next(Connection *connection)
{
	return dlist_has_next(&list, &connection->node) ? connection_at(dlist_next_node(&list, &connection->node)) : NULL;
}

/* Returns what the client has acknowledged of all that was sent to it. */
static uint64
acknowledged(const Connection *connection)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	return getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_bytes_acked : 0;
}

/* Returns whether a response is being sent to the client. */
static bool
is_responding(const Connection *connection)
{
	return connection->target != NULL && connection->responding;
}

/* Returns whether a client has read so many bytes of its response since the last look. */
static bool
has_read(Connection *connection, uint64 bytes)
{
	uint64 now;
	uint64 before = connection->bytes_acked;

	if (!is_responding(connection))
		return false;
	now = acknowledged(connection);
	connection->bytes_acked = now;
	return now >= before + bytes;
}

bool
connections_make_room(void)
{
	int64 now = clock_ms();

	for (Connection *connection = connections_first(); connection != NULL; connection = connections_next(connection))
	{
		/* The connections after it have waited no longer. */
		if (now - connection->since < GRACE)
			return false;
		if (connection->shut)
			continue;
		dropped++;
		shut(connection);
		return true;
	}
	return false;
}

void
connections_drop_unread(void)
{
	int64 now = clock_ms();
	Connection *connection = connections_first();

	while (connection != NULL && now - connection->since >= READING_PAUSE)
	{
		Connection *next = connections_next(connection);

		if (connection->unread > 0 && !connection->shut)
		{
			if (has_read(connection, LEAST_RATE))
				connections_restart(connection);
			else
			{
				dropped++;
				shut(connection);
			}
		}
		connection = next;
	}
}

void
connections_close_idle(int idle_timeout)
{
	int64 now = clock_ms();
	Connection *connection;

	while ((connection = connections_first()) != NULL && now - connection->since > (int64) idle_timeout * 1000)
	{
		if (!connection->shut && !has_read(connection, (uint64) idle_timeout * LEAST_RATE))
			shut(connection);
		/* The library will see that it is shut: it need not be looked at again soon. */
		connections_restart(connection);
	}
}

/*
 * The library does not see that a client has closed its side when that arrives together with other bytes. So each connection is looked at
 * once after each request, when that was some time ago.
 */
void
connections_close_abandoned(void)
{
	static int64 last = 0;
	int64 now = clock_ms();
	dlist_iter iter;

	if (now - last < LOOK_EVERY)
		return;
	last = now;
	dlist_reverse_foreach(iter, &list)
	{
		Connection *connection = connection_at(iter.cur);
		char byte;

		if (now - connection->since < LOOK_EVERY)
			continue;
		/* The connections before it have waited longer, and were looked at too. */
		if (connection->looked_at)
			return;
		connection->looked_at = true;
		if (!is_responding(connection) && recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			shut(connection);
	}
}

void
connections_close_waiting(void)
{
	for (Connection *connection = connections_first(); connection != NULL; connection = connections_next(connection))
	{
		if (connection->target == NULL)
			shut(connection);
	}
}
