/*
 * server.c
 *		HTTP/1.1 by libmicrohttpd: the library's daemon, and accepting clients.
 *
 * Everything runs on the caller's thread. The caller waits for one descriptor, an epoll instance with the library's descriptor and the
 * listening socket in it. This file knows no transaction and raises no error.
 *
 * It accepts connections itself and gives them to the library. So it knows at any time whether clients wait, and why none is accepted;
 * then the connection that has waited longest makes room (connections.c). While a client may be waiting, no wait is without a limit.
 *
 * The library has a pool of memory per connection for a request's head. A head that does not fit is refused by the library, in its own
 * words; a head that fits and is over the limit is refused by exchange.c.
 */
#include "http/server.h"

#include <malloc.h>
#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/clock.h"
#include "http/connections.h"
#include "http/exchange.h"
#include "http/head.h"
#include "http/linger.h"
#include "http/listener.h"

/* How often to look at connections, in ms. */
#define LOOK_EVERY 1000

/* How many clients are accepted before the open connections have their turn. */
#define ACCEPT_AT_ONCE 16

/* How long to leave clients to other workers when there is no room, in ms. */
#define ACCEPT_PAUSE 20

/* From how many bytes on it is worth to give memory back to the system. */
#define MUCH_MEMORY ((size_t) 4 * 1024 * 1024)

struct Server
{
	struct MHD_Daemon *daemon;
	ServerOptions options;
	int descriptor;     /* an epoll instance with the library's descriptor and the listening socket */
	bool accepting;     /* the listening socket is in it */
	bool crowded;       /* clients have waited for a pause, and there is no room for them */
	int given;          /* connections that were accepted since the library ran */
	int64 accept_again; /* not before this time; clock_ms */
	size_t most_taken;  /* the most memory that was taken since some was given back, in bytes */
	int lingering;      /* connections that are closed except for what their clients still send */
};

/* Called when the library cannot go on. */
static void
on_panic(void *arg, const char *file, unsigned int line, const char *reason)
{
	ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR),
	                errmsg("libmicrohttpd gave up: %s", reason != NULL ? reason : "no reason given"),
	                errdetail_internal("%s, line %u", file, line)));
}

/* Adds the listening socket to the server's descriptor, or removes it. */
static void
set_accepting(Server *server, bool accepting)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = server->options.socket};

	if (server->accepting != accepting &&
	    epoll_ctl(server->descriptor, accepting ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, server->options.socket, &event) == 0)
		server->accepting = accepting;
}

static struct MHD_Daemon *
start_daemon(Server *server)
{
	ServerOptions *options = &server->options;
	/* Strictness makes the library refuse more, and the versions that leave zeros send the head of such a response twice. */
	int strict = head_leaves_zeros() ? 0 : 1;

	return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
	                        exchange_on_request, options, MHD_OPTION_EXTERNAL_LOGGER, exchange_on_message, options,
	                        MHD_OPTION_CONNECTION_LIMIT, (unsigned) options->most_connections,
	                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, head_memory(server->options.settings),
	                        MHD_OPTION_STRICT_FOR_CLIENT, strict, MHD_OPTION_NOTIFY_CONNECTION, exchange_on_connection,
	                        options, MHD_OPTION_NOTIFY_COMPLETED, exchange_on_completed, options,
	                        MHD_OPTION_URI_LOG_CALLBACK, exchange_on_target, options, MHD_OPTION_UNESCAPE_CALLBACK,
	                        exchange_leave_escapes, NULL, MHD_OPTION_END);
}

Server *
server_open(const ServerOptions *options)
{
	Server *server = calloc(1, sizeof(Server));
	struct epoll_event event = {.events = EPOLLIN, .data.fd = -1};

	if (server == NULL)
		return NULL;
	MHD_set_panic_func(on_panic, NULL);
	server->options = *options;
	server->daemon = start_daemon(server);
	server->descriptor = epoll_create1(EPOLL_CLOEXEC);
	if (server->daemon == NULL || server->descriptor < 0 ||
	    epoll_ctl(server->descriptor, EPOLL_CTL_ADD,
	              MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, &event) != 0)
		return NULL;
	set_accepting(server, true);
	return server;
}

void
server_close(Server *server)
{
	MHD_stop_daemon(server->daemon);
	close(server->descriptor);
	free(server);
}

int
server_descriptor(const Server *server)
{
	return server->descriptor;
}

long
server_timeout(Server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout;
	long result = -1;

	if (server->lingering > 0 || !server->accepting)
		result = Min(LINGER_INTERVAL, ACCEPT_PAUSE);
	else if (connections_count() > 0)
		result = LOOK_EVERY;
	if (MHD_get_timeout(server->daemon, &timeout) == MHD_YES && (result < 0 || timeout < result))
		result = (long) timeout;
	return result;
}

/* Runs the library. It then takes over the connections that it was given. */
static void
run_daemon(Server *server)
{
	MHD_run(server->daemon);
	server->given = 0;
}

/* Returns whether there are as many connections as there may be. */
static bool
is_full(Server *server)
{
	int most = Min(server->options.settings->max_connections, server->options.most_connections);

	/* Later versions of the library take over connections only when they run, and then close those over the limit. */
	if (server->given > 0 && connections_count() + server->given >= most)
		run_daemon(server);
	return connections_count() >= most;
}

/* Returns whether clients wait to be accepted. */
static bool
clients_wait(const Server *server)
{
	struct epoll_event events[2];
	int count = epoll_wait(server->descriptor, events, lengthof(events), 0);

	for (int i = 0; i < count; i++)
	{
		if (events[i].data.fd == server->options.socket)
			return true;
	}
	return false;
}

/*
 * Accepts clients. If there is no room, they are left to the other workers for a moment. After that the connections that have waited
 * longest make room, one for each client, until no client waits.
 */
static void
accept_clients(Server *server)
{
	for (int i = 0; i < ACCEPT_AT_ONCE; i++)
	{
		Client client;
		Accepted accepted = is_full(server) ? ACCEPT_NO_ROOM : listener_accept(&client);

		if (accepted == ACCEPTED)
		{
			server->given++;
			/* The library closes the connection if it has no memory for it. */
			(void) MHD_add_connection(server->daemon, client.fd, (struct sockaddr *) &client.address,
			                          client.address_len);
			continue;
		}
		if (accepted == ACCEPT_NONE || !clients_wait(server))
		{
			server->crowded = false;
			return;
		}
		if (!server->crowded || !connections_make_room())
		{
			server->crowded = true;
			server->accept_again = clock_ms() + ACCEPT_PAUSE;
			set_accepting(server, false);
			return;
		}
		run_daemon(server);
	}
}

/* Gives memory back to the system when most of what connections and responses have taken is free. */
static void
give_back_memory(Server *server)
{
	size_t taken = connections_unread() + connections_count() * head_memory(server->options.settings);

	server->most_taken = Max(server->most_taken, taken);
	if (server->most_taken >= MUCH_MEMORY && taken < server->most_taken / 4)
	{
		(void) malloc_trim(0);
		server->most_taken = taken;
	}
}

void
server_run(Server *server)
{
	if (!*server->options.ending)
	{
		if (!server->accepting && clock_ms() >= server->accept_again)
			set_accepting(server, true);
		if (server->accepting)
			accept_clients(server);
	}
	run_daemon(server);
	if (connections_count() > 0)
	{
		connections_close_idle(server->options.settings->idle_timeout);
		connections_close_abandoned();
	}
	give_back_memory(server);
	server->lingering = linger_run();
}

void
server_drain(Server *server)
{
	set_accepting(server, false);
	MHD_run(server->daemon);
	connections_close_waiting();
}

int
server_connections(const Server *server)
{
	return connections_count() + server->lingering;
}
