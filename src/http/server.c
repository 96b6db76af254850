/*
 * server.c
 *		HTTP/1.1 on a socket, by libmicrohttpd.
 *
 * Everything runs on the caller's thread. The caller waits for one descriptor, which has the library's own and the listening
 * socket in it. It knows no transaction and raises no error.
 *
 * Connections are accepted here and given to the library, so that it is known at any time whether clients wait, and why none is
 * accepted: then the connection that has waited longest makes room (connections.c). There is no wait without an end while a client
 * may be waiting.
 *
 * The library has room for a request's head in a pool per connection, and refuses on its own what does
 * not fit, in words of its own; what fits and is over the limit is refused here.
 */
#include "server.h"

#include <malloc.h>
#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "connections.h"
#include "head.h"
#include "linger.h"
#include "listener.h"

/* Room in a connection's pool besides the request's head: the library's records, and the answer's head. */
#define POOL_OVERHEAD ((size_t) 4 * 1024)

/* An answer that is no larger is always given, and takes no more than the connection itself does. */
#define SMALL_ANSWER 4096

/* How often at least to look at connections, in ms. */
#define LOOK_EVERY 1000

/* So many clients are accepted before those that are there have their turn. */
#define ACCEPT_AT_ONCE 16

/* How long to leave clients to other workers when there is no room, in ms. */
#define ACCEPT_PAUSE 20

/* It is worth it to give memory back to the system of which so many bytes were taken. */
#define MUCH_MEMORY ((size_t) 4 * 1024 * 1024)

struct Server
{
	struct MHD_Daemon *daemon;
	ServerOptions options;
	int descriptor;     /* an epoll instance: the library's own, and the listening socket */
	bool accepting;     /* the listening socket is in it */
	bool crowded;       /* clients have waited for longer than a pause, for whom there is no room */
	int64 accept_again; /* not before that; clock_ms */
	size_t most_taken;  /* memory, in bytes, since some was given back */
	int lingering;      /* connections that are closed, but for what their clients still send */
};

static Connection *
connection_of(struct MHD_Connection *handle)
{
	return MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* Tells whether the client of a connection that is closed has sent more, or is in the middle of it. */
static bool
still_sends(const Connection *connection)
{
	char byte;
	ssize_t bytes = recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return bytes > 0 || (bytes < 0 && errno == EAGAIN && !connection->answered);
}

/* Notes that a connection is there, or is gone. */
static void
on_connection(void *arg, struct MHD_Connection *handle, void **context, enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		/* Out of memory: requests are refused (on_target). */
		*context = connections_add(handle);
	else if (*context != NULL)
	{
		Connection *connection = *context;

		if (still_sends(connection))
			linger_add(connection->fd);
		connections_remove(connection);
		*context = NULL;
	}
}

/*
 * Has the library see an empty query. It would make a record of each parameter, in the connection's pool, where there
 * is no room for many, and nobody reads them: the query is taken apart elsewhere. Where a version of the library does
 * that before it calls on_target, this changes nothing.
 */
static void
skip_query(const char *target)
{
	char *query = strchr(unconstify(char *, target), '?');

	if (query != NULL)
		query[1] = '\0';
}

/* Keeps the target as it was sent, which the library is about to take apart. */
static void *
on_target(void *arg, const char *target, struct MHD_Connection *handle)
{
	Connection *connection = connection_of(handle);

	if (connection == NULL)
		return NULL;
	free(connection->target);
	connection->target = strdup(target);
	connection->raw_target = target;
	connection->head_seen = false;
	connection->chunked = false;
	connection->answering = false;
	connection->answered = false;
	connection->refusal = 0;
	connection->body_size = 0;
	skip_query(target);
	return connection;
}

/* Forgets a request that was answered, or given up. */
static void
on_completed(void *arg, struct MHD_Connection *handle, void **request, enum MHD_RequestTerminationCode code)
{
	Connection *connection = connection_of(handle);

	*request = NULL;
	if (connection == NULL)
		return;
	connection->answered = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && connection->refusal == 0;
	free(connection->target);
	connection->target = NULL;
	connections_keep(connection, 0);
	connections_restart(connection);
}

/* Leaves escapes as they are: the target is decoded elsewhere. */
static size_t
leave_escapes(void *arg, struct MHD_Connection *handle, char *text)
{
	return strlen(text);
}

static const char *
reason_of(int status)
{
	switch (status)
	{
		case MHD_HTTP_BAD_REQUEST:
			return "Bad Request";
		case MHD_HTTP_CONTENT_TOO_LARGE:
			return "Content Too Large";
		case MHD_HTTP_URI_TOO_LONG:
			return "URI Too Long";
		case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
			return "Request Header Fields Too Large";
		default:
			return "Internal Server Error";
	}
}

/* A header that is looked for among those of a request: how many lines it has, and how long they are when they are joined. */
typedef struct Search
{
	const char *name;
	int lines;
	int len;
	Span first;
	char *joined; /* NULL until the length is known */
} Search;

static void
append_text(Search *search, Span text)
{
	if (search->joined != NULL)
		memcpy(search->joined + search->len, text.bytes, text.len);
	search->len += text.len;
}

static enum MHD_Result
look_at_line(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Search *search = arg;
	Span line = span_of(value != NULL ? value : "");

	if (pg_strcasecmp(name, search->name) != 0)
		return MHD_YES;
	if (search->lines++ == 0)
		search->first = line;
	else
		append_text(search, span_of(", "));
	append_text(search, line);
	return MHD_YES;
}

/* Returns a header's value; those of several lines are joined. */
static Span
find_header(const HttpRequest *request, const char *name)
{
	struct MHD_Connection *handle = unconstify(void *, request->source);
	Search search = {.name = name, .first = {"", 0}};

	MHD_get_connection_values(handle, MHD_HEADER_KIND, look_at_line, &search);
	if (search.lines <= 1)
		return search.first;
	search.joined = palloc(search.len);
	search.lines = 0;
	search.len = 0;
	MHD_get_connection_values(handle, MHD_HEADER_KIND, look_at_line, &search);
	return (Span){search.joined, search.len};
}

/* Returns how long an answer can be, in bytes. */
static int64
room_for_answer(const Server *server)
{
	int64 limit = (int64) server->options.settings->unread_size * 1024;

	return Max(limit - (int64) connections_unread(), SMALL_ANSWER);
}

static ServerRequest
make_request(const Server *server, const Connection *connection, const char *method)
{
	return (ServerRequest){.http = {.method = span_of(method),
	                                .target = span_of(connection->target),
	                                .room = room_for_answer(server),
	                                .header = find_header,
	                                .source = connection->handle},
	                       .authorization = MHD_lookup_connection_value(connection->handle, MHD_HEADER_KIND,
	                                                                    MHD_HTTP_HEADER_AUTHORIZATION),
	                       .connection = connection->handle};
}

#if MHD_VERSION < 0x00097701
static ssize_t
read_nothing(void *arg, uint64_t position, char *buffer, size_t size)
{
	return MHD_CONTENT_READER_END_OF_STREAM;
}
#endif

/*
 * Makes a response without a body and without a length, as a 304 has to be: a cache may take "Content-Length: 0" for the length of what it
 * keeps. Versions of the library before 0.9.77.1 leave out a length only if they do not know it, and end the connection then.
 */
static struct MHD_Response *
create_bodiless(void)
{
#if MHD_VERSION < 0x00097701
	struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1, read_nothing, NULL, NULL);
	enum MHD_ResponseFlags flags = MHD_RF_HTTP_1_0_COMPATIBLE_STRICT;
#else
	struct MHD_Response *response = MHD_create_response_from_buffer_static(0, "");
	enum MHD_ResponseFlags flags = MHD_RF_HEAD_ONLY_RESPONSE;
#endif

	if (response != NULL)
		MHD_set_response_options(response, flags, MHD_RO_END);
	return response;
}

/* Hands an answer over to the library; the last one of a connection says so. */
static enum MHD_Result
send_answer(Server *server, const Connection *connection, const HttpAnswer *answer, bool last)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	/* Copied, as it is sent when the answer's memory is gone. The library leaves out the body for HEAD. */
	if (answer->status == MHD_HTTP_NOT_MODIFIED)
		response = create_bodiless();
	else
		response = MHD_create_response_from_buffer(answer->body.len, answer->body.data, MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		return MHD_NO;
	for (int i = 0; i < answer->header_count; i++)
		MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
	if (last || *server->options.ending)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	result = MHD_queue_response(connection->handle, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

/* Makes the answer to a request that is not read further. */
static void
make_refusal(Server *server, const Connection *connection, const char *method, HttpAnswer *answer)
{
	ServerRequest request = make_request(server, connection, method);

	server->options.refuse(&request, answer, connection->refusal, reason_of(connection->refusal));
}

/* Refuses a request; whatever it still sends is not read. */
static enum MHD_Result
refuse(Server *server, const Connection *connection, const char *method)
{
	HttpAnswer answer;

	make_refusal(server, connection, method, &answer);
	return send_answer(server, connection, &answer, true);
}

/* Appends the header Date. */
static void
append_date(StringInfo out)
{
	char text[40];
	time_t now = time(NULL);
	struct tm tm;

	/* In English, as PostgreSQL has the locale of times as C. */
	(void) strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	appendStringInfo(out, "Date: %s\r\n", text);
}

/* Refuses a request past the library, which is about to send something of its own, and finds the connection closed. */
static void
refuse_directly(Server *server, Connection *connection)
{
	HttpAnswer answer;
	StringInfoData out;

	make_refusal(server, connection, MHD_HTTP_METHOD_GET, &answer);
	initStringInfo(&out);
	appendStringInfo(&out, "HTTP/1.1 %d %s\r\n", answer.status, reason_of(answer.status));
	append_date(&out);
	for (int i = 0; i < answer.header_count; i++)
		appendStringInfo(&out, "%s: %s\r\n", answer.headers[i].name, answer.headers[i].value);
	appendStringInfo(&out, "Content-Length: %d\r\nConnection: close\r\n\r\n", answer.body.len);
	appendBinaryStringInfo(&out, answer.body.data, answer.body.len);
	(void) send(connection->fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void) shutdown(connection->fd, SHUT_WR);
}

/*
 * The library logs something: what it says is not for the log, as any client can have it say it. But it may be about to refuse a
 * request whose head is complete, which those of its versions that leave zeros (head.h) do by sending the head of the answer twice.
 * It does not say whose request that is: it is the only one whose head is complete and was not looked at.
 */
static void
on_message(void *arg, const char *format, va_list values)
{
	if (!head_leaves_zeros())
		return;
	for (Connection *connection = connections_first(); connection != NULL; connection = connections_next(connection))
	{
		if (connection->target != NULL && !connection->head_seen && connection->refusal == 0 &&
		    head_is_complete(connection->handle))
		{
			connection->refusal = head_refusal(connection->handle);
			refuse_directly(arg, connection);
		}
	}
}

static enum MHD_Result
answer_request(Server *server, Connection *connection, const char *method)
{
	ServerRequest request = make_request(server, connection, method);
	HttpAnswer answer;

	server->options.handler(&request, &answer);
	connection->answering = true;
	/* The client has all the time to read the answer. */
	connections_restart(connection);
	if (answer.body.len > SMALL_ANSWER)
		connections_keep(connection, answer.body.len);
	/* The library reads the lines of chunks generously: where such a body ends, another server may see differently. */
	return send_answer(server, connection, &answer, connection->chunked);
}

/* Follows a request: called when its head is complete, for each piece of its body, and at its end. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *handle, const char *url, const char *method, const char *version,
           const char *upload_data, size_t *upload_data_size, void **context)
{
	Server *server = arg;
	Connection *connection = connection_of(handle);

	if (connection == NULL || connection->target == NULL)
		return MHD_NO;
	if (!connection->head_seen)
	{
		connection->head_seen = true;
		connection->refusal = head_check(handle,
		                                 &(Head){.method = method,
		                                         .target = connection->target,
		                                         .raw_target = connection->raw_target,
		                                         .version = version,
		                                         .limit = server->options.settings->header_size},
		                                 &connection->chunked);
		/* An early answer makes the library close the connection, which is right here: where the request ends is not known. */
		return connection->refusal != 0 ? refuse(server, connection, method) : MHD_YES;
	}
	if (*upload_data_size > 0)
	{
		connection->body_size += (int64) *upload_data_size;
		*upload_data_size = 0;
		if (connection->body_size > server->options.settings->body_size)
			connection->refusal = MHD_HTTP_CONTENT_TOO_LARGE;
		return MHD_YES;
	}
	if (connection->refusal != 0)
		return refuse(server, connection, method);
	return answer_request(server, connection, method);
}

/* The library cannot go on. */
static void
on_panic(void *arg, const char *file, unsigned int line, const char *reason)
{
	ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR),
	                errmsg("libmicrohttpd gave up: %s", reason != NULL ? reason : "no reason given"),
	                errdetail_internal("%s, line %u", file, line)));
}

/* Has the server's descriptor tell of clients that want to connect, or not. */
static void
set_accepting(Server *server, bool accepting)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = server->options.socket};

	if (server->accepting != accepting &&
	    epoll_ctl(server->descriptor, accepting ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, server->options.socket, &event) == 0)
		server->accepting = accepting;
}

/* What the library takes for a connection, in bytes. */
static size_t
pool_size(const Server *server)
{
	return server->options.settings->header_size + POOL_OVERHEAD;
}

static struct MHD_Daemon *
start_daemon(Server *server)
{
	/* The version that sends heads twice does so, among others, for what it is stricter with. */
	int strict = head_leaves_zeros() ? 0 : 1;

	return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
	                        on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_message, server,
	                        MHD_OPTION_CONNECTION_LIMIT, (unsigned) server->options.most_connections,
	                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool_size(server), MHD_OPTION_STRICT_FOR_CLIENT, strict,
	                        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
	                        on_completed, server, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
	                        MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL, MHD_OPTION_END);
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

	if (server->lingering > 0)
		result = LINGER_INTERVAL;
	else if (!server->accepting)
		result = ACCEPT_PAUSE;
	else if (connections_count() > 0)
		result = LOOK_EVERY;
	if (MHD_get_timeout(server->daemon, &timeout) == MHD_YES && (result < 0 || timeout < result))
		result = (long) timeout;
	return result;
}

static bool
is_full(const Server *server)
{
	return connections_count() >= Min(server->options.settings->max_connections, server->options.most_connections);
}

/* Tells whether clients wait to be accepted. */
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
 * Accepts clients. Where there is no room they are left to the other workers for a moment. Then the connections that have waited longest
 * make room, one for each client, until nobody waits any more.
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
			/* Closes it where it has no memory for it. */
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
		MHD_run(server->daemon);
	}
}

/* Gives memory back to the system when most of what connections and their answers have taken is free. */
static void
give_back_memory(Server *server)
{
	size_t taken = connections_unread() + connections_count() * pool_size(server);

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
	MHD_run(server->daemon);
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

/* What server_each_header passes through the library. */
typedef struct EachHeader
{
	void (*callback)(void *arg, const char *name, Span value);
	void *arg;
} EachHeader;

static enum MHD_Result
pass_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	EachHeader *each = arg;

	each->callback(each->arg, name, value != NULL ? span_of(value) : (Span){"", 0});
	return MHD_YES;
}

void
server_each_header(const ServerRequest *request, bool cookies,
                   void (*callback)(void *arg, const char *name, Span value), void *arg)
{
	EachHeader each = {callback, arg};

	MHD_get_connection_values(request->connection, cookies ? MHD_COOKIE_KIND : MHD_HEADER_KIND, pass_header, &each);
}
