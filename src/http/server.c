/*
 * server.c
 *		HTTP/1.1 on a socket, by libmicrohttpd.
 *
 * Everything runs on the caller's thread: the library's epoll descriptor is for the caller's own wait.
 * It knows no transaction and raises no error.
 *
 * The library has room for a request's head in a pool per connection, and refuses on its own what does
 * not fit, in words of its own; what fits and is over the limit is refused here. A connection that has
 * not completed a request for idle_timeout is closed, however many bytes came in that time: they are in
 * a list by the time of their last answer, so that the oldest is the first.
 */
#include "server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "utils/timestamp.h"

#include "head.h"
#include "linger.h"

/* Room in a connection's pool besides the request's head: the library's records, and the answer's head. */
#define POOL_OVERHEAD ((size_t) 4 * 1024)

/* How often at least to look for connections that are idle, in ms. */
#define LOOK_EVERY 1000

struct Server
{
	struct MHD_Daemon *daemon;
	ServerOptions options;
	dlist_head connections; /* the one that has waited longest first */
	int connection_count;
	int lingering; /* connections that are closed, but for what their clients still send */
};

/* A connection, and the request that it is sending. */
typedef struct Connection
{
	dlist_node node;
	struct MHD_Connection *handle;
	TimestampTz since;      /* of the connection, or of the last answer */
	char *target;           /* NULL between requests */
	const char *raw_target; /* where the library has it */
	bool head_seen;
	bool chunked;   /* the body */
	bool answering; /* the answer is made, and may still have to be sent */
	bool looked_at; /* by close_abandoned */
	bool answered;  /* the last request, in full */
	int refusal;    /* a status for a request that is refused before its body is read, or 0 */
	int64 body_size;
} Connection;

static Connection *
connection_of(struct MHD_Connection *handle)
{
	return MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static int
descriptor_of(const Connection *connection)
{
	return MHD_get_connection_info(connection->handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static void
shut(Connection *connection)
{
	(void) shutdown(descriptor_of(connection), SHUT_RDWR);
}

/* Tells whether the client of a connection that is closed has sent more, or is in the middle of it. */
static bool
still_sends(const Connection *connection)
{
	char byte;
	ssize_t bytes = recv(descriptor_of(connection), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return bytes > 0 || (bytes < 0 && errno == EAGAIN && !connection->answered);
}

/* Puts a connection at the end of the list: it has all the time again. */
static void
start_waiting(Server *server, Connection *connection)
{
	connection->since = GetCurrentTimestamp();
	connection->looked_at = false;
	dlist_push_tail(&server->connections, &connection->node);
}

/* Puts a connection at the end of the list again. */
static void
restart_waiting(Server *server, Connection *connection)
{
	dlist_delete(&connection->node);
	start_waiting(server, connection);
}

/* Notes that a connection is there, or is gone. */
static void
on_connection(void *arg, struct MHD_Connection *handle, void **context, enum MHD_ConnectionNotificationCode code)
{
	Server *server = arg;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
	{
		Connection *connection = calloc(1, sizeof(Connection));

		/* Out of memory: requests are refused (on_uri). */
		*context = connection;
		if (connection == NULL)
			return;
		connection->handle = handle;
		server->connection_count++;
		start_waiting(server, connection);
	}
	else if (*context != NULL)
	{
		Connection *connection = *context;

		if (still_sends(connection))
			linger_add(descriptor_of(connection));
		dlist_delete(&connection->node);
		server->connection_count--;
		free(connection->target);
		free(connection);
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
	Server *server = arg;
	Connection *connection = connection_of(handle);

	*request = NULL;
	if (connection == NULL)
		return;
	connection->answered = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && connection->refusal == 0;
	free(connection->target);
	connection->target = NULL;
	restart_waiting(server, connection);
}

/* Leaves escapes as they are: the target is decoded elsewhere. */
static size_t
leave_escapes(void *arg, struct MHD_Connection *handle, char *text)
{
	return strlen(text);
}

static void
ignore_message(void *arg, const char *format, va_list values)
{
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

static ServerRequest
make_request(const Connection *connection, const char *method)
{
	return (ServerRequest){.http = {.method = span_of(method),
	                                .target = span_of(connection->target),
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
 * keeps. Versions of the library before 1.0 leave out a length only if they do not know it, and end the connection then.
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

/* Refuses a request; whatever it still sends is not read. */
static enum MHD_Result
refuse(Server *server, const Connection *connection, const char *method)
{
	ServerRequest request = make_request(connection, method);
	HttpAnswer answer;

	server->options.refuse(&request, &answer, connection->refusal, reason_of(connection->refusal));
	return send_answer(server, connection, &answer, true);
}

static enum MHD_Result
answer_request(Server *server, Connection *connection, const char *method)
{
	ServerRequest request = make_request(connection, method);
	HttpAnswer answer;

	server->options.handler(&request, &answer);
	/* The client has all the time to read the answer. */
	restart_waiting(server, connection);
	connection->answering = true;
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
		                                         .limit = server->options.header_size},
		                                 &connection->chunked);
		/* An early answer makes the library close the connection, which is right here: where the request ends is not known. */
		return connection->refusal != 0 ? refuse(server, connection, method) : MHD_YES;
	}
	if (*upload_data_size > 0)
	{
		connection->body_size += (int64) *upload_data_size;
		*upload_data_size = 0;
		if (connection->body_size > server->options.body_size)
			connection->refusal = MHD_HTTP_CONTENT_TOO_LARGE;
		return MHD_YES;
	}
	if (connection->refusal != 0)
		return refuse(server, connection, method);
	return answer_request(server, connection, method);
}

int
server_listen(const char *address, int port, bool shared, const char **failed)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	bool is_six = strchr(address, ':') != NULL;
	struct sockaddr *name = is_six ? (struct sockaddr *) &six : (struct sockaddr *) &four;
	int yes = 1;
	int fd;

	*failed = "read";
	errno = EINVAL;
	if (inet_pton(is_six ? AF_INET6 : AF_INET, address, is_six ? (void *) &six.sin6_addr : (void *) &four.sin_addr) !=
	    1)
		return -1;
	*failed = "create a socket for";
	fd = socket(name->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	*failed = "bind to";
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
	    (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) != 0) ||
	    bind(fd, name, is_six ? sizeof(six) : sizeof(four)) != 0 || listen(fd, SOMAXCONN) != 0)
	{
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* The library cannot go on. */
static void
on_panic(void *arg, const char *file, unsigned int line, const char *reason)
{
	ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR),
	                errmsg("libmicrohttpd gave up: %s", reason != NULL ? reason : "no reason given"),
	                errdetail_internal("%s, line %u", file, line)));
}

Server *
server_open(const ServerOptions *options)
{
	Server *server = calloc(1, sizeof(Server));

	if (server == NULL)
		return NULL;
	MHD_set_panic_func(on_panic, NULL);
	server->options = *options;
	dlist_init(&server->connections);
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, server,
		MHD_OPTION_EXTERNAL_LOGGER, ignore_message, NULL, MHD_OPTION_LISTEN_SOCKET, options->socket,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned) options->max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		options->header_size + POOL_OVERHEAD, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_URI_LOG_CALLBACK,
		on_target, server, MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL, MHD_OPTION_END);
	if (server->daemon != NULL)
		return server;
	free(server);
	return NULL;
}

void
server_close(Server *server)
{
	MHD_stop_daemon(server->daemon);
	free(server);
}

int
server_descriptor(const Server *server)
{
	return MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->listen_fd;
}

long
server_timeout(Server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout;
	long result = -1;

	if (server->lingering > 0)
		result = LINGER_INTERVAL;
	else if (server->connection_count > 0)
		result = LOOK_EVERY;
	if (MHD_get_timeout(server->daemon, &timeout) == MHD_YES && (result < 0 || timeout < result))
		result = (long) timeout;
	return result;
}

/* Closes the connections that have waited for too long. */
static void
close_idle(Server *server)
{
	TimestampTz now = GetCurrentTimestamp();
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &server->connections)
	{
		/* cppcheck-suppress nullPointer; it takes the place of a member in a struct at address 0 */
		Connection *connection = dlist_container(Connection, node, iter.cur);

		if (!TimestampDifferenceExceeds(connection->since, now, server->options.idle_timeout * 1000))
			return;
		shut(connection);
		/* Once is enough: the library sees that it is shut. */
		restart_waiting(server, connection);
	}
}

/*
 * Closes connections whose clients will send nothing more, and have nothing to get. The library overlooks the end of what a client
 * sends, when it comes with what is before it. Each connection is looked at once after each request, when that was some time ago.
 */
static void
close_abandoned(Server *server)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	dlist_iter iter;

	if (!TimestampDifferenceExceeds(last, now, LOOK_EVERY))
		return;
	last = now;
	dlist_reverse_foreach(iter, &server->connections)
	{
		/* cppcheck-suppress nullPointer; it takes the place of a member in a struct at address 0 */
		Connection *connection = dlist_container(Connection, node, iter.cur);
		char byte;

		if (!TimestampDifferenceExceeds(connection->since, now, LOOK_EVERY))
			continue;
		/* So are those before it, which have waited for longer. */
		if (connection->looked_at)
			return;
		connection->looked_at = true;
		if ((connection->target == NULL || !connection->answering) &&
		    recv(descriptor_of(connection), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			shut(connection);
	}
}

void
server_run(Server *server)
{
	MHD_run(server->daemon);
	if (!dlist_is_empty(&server->connections))
	{
		close_idle(server);
		close_abandoned(server);
	}
	server->lingering = linger_run();
}

void
server_drain(Server *server)
{
	dlist_iter iter;
	int listening;

	/* Those that the kernel has accepted for us. */
	MHD_run(server->daemon);
	listening = MHD_quiesce_daemon(server->daemon);
	if (listening >= 0)
		close(listening);
	dlist_foreach(iter, &server->connections)
	{
		/* cppcheck-suppress nullPointer; it takes the place of a member in a struct at address 0 */
		Connection *connection = dlist_container(Connection, node, iter.cur);

		if (connection->target == NULL)
			shut(connection);
	}
}

int
server_connections(const Server *server)
{
	return server->connection_count + server->lingering;
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
