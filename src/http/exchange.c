/*
 * exchange.c
 *		Requests and responses on a connection: the callbacks of libmicrohttpd.
 *
 * A request is checked when its head is complete, and handled when its body is read, which is thrown away. The library refuses some
 * requests on its own. Where possible, its response is replaced (exchange_on_message).
 *
 * It must not raise errors: they would jump through the library's frames.
 */
#include "http/exchange.h"

#include <sys/socket.h>
#include <time.h>

#include "http/connections.h"
#include "http/head.h"
#include "http/linger.h"

/* A response that is no larger is always given: it takes no more memory than the connection itself. */
#define SMALL_RESPONSE 4096

static Connection *
connection_of(struct MHD_Connection *handle)
{
	return MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* Returns whether the client of a connection that is being closed has sent more, or is still sending. */
static bool
still_sends(const Connection *connection)
{
	char byte;
	ssize_t bytes = recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return bytes > 0 || (bytes < 0 && errno == EAGAIN && !connection->completed);
}

/* Called when a connection opens, and when it closes. */
void
exchange_on_connection(void *arg, struct MHD_Connection *handle, void **context,
                       enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		/* NULL when out of memory: then requests are refused (exchange_on_target). */
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
 * Makes the query empty for the library. It would make a record of each parameter in the connection's pool, which has no room for many,
 * and no code here reads them: route.c splits the query. Where a version of the library makes them before it calls exchange_on_target,
 * this changes nothing.
 */
static void
skip_query(const char *target)
{
	char *query = strchr(unconstify(char *, target), '?');

	if (query != NULL)
		query[1] = '\0';
}

/* Keeps the target as it was sent, before the library splits it. */
void *
exchange_on_target(void *arg, const char *target, struct MHD_Connection *handle)
{
	Connection *connection = connection_of(handle);

	if (connection == NULL)
		return NULL;
	free(connection->target);
	connection->target = strdup(target);
	connection->raw_target = target;
	connection->head_seen = false;
	connection->responding = false;
	connection->completed = false;
	connection->refusal = 0;
	connection->body_size = 0;
	skip_query(target);
	return connection;
}

/* Called when a request is over: it was responded to, or given up. */
void
exchange_on_completed(void *arg, struct MHD_Connection *handle, void **request, enum MHD_RequestTerminationCode code)
{
	Connection *connection = connection_of(handle);

	*request = NULL;
	if (connection == NULL)
		return;
	connection->completed = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && connection->refusal == 0;
	free(connection->target);
	connection->target = NULL;
	connections_keep(connection, 0);
	connections_restart(connection);
}

/* Leaves escapes as they are: the target is decoded elsewhere. */
size_t
exchange_leave_escapes(void *arg, struct MHD_Connection *handle, char *text)
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
		case MHD_HTTP_LENGTH_REQUIRED:
			return "Length Required";
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

/* The search for a header in a request: how many lines it has, and how long they are when they are joined. */
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
	Span line = span_trim(span_of(value != NULL ? value : ""));

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

/* Returns how long a response may be, in bytes. */
static int64
room_for_response(const ServerOptions *options)
{
	int64 limit = (int64) options->settings->unread_size * 1024;

	return Max(limit - (int64) connections_unread(), SMALL_RESPONSE);
}

static ServerRequest
make_request(const ServerOptions *options, const Connection *connection, const char *method)
{
	return (ServerRequest){.http = {.method = span_of(method),
	                                .target = span_of(connection->target),
	                                .room = room_for_response(options),
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
 * Makes a response without a body and without Content-Length, for a 304: a cache may take "Content-Length: 0" for the length of what it
 * has stored. Versions of the library before 0.9.77.1 leave out a length only if they do not know it, and then close the connection.
 */
static struct MHD_Response *
create_bodiless(void)
{
#if MHD_VERSION < 0x00097701
	struct MHD_Response *mhd_response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1, read_nothing, NULL, NULL);
	enum MHD_ResponseFlags flags = MHD_RF_HTTP_1_0_COMPATIBLE_STRICT;
#else
	struct MHD_Response *mhd_response = MHD_create_response_from_buffer_static(0, "");
	enum MHD_ResponseFlags flags = MHD_RF_HEAD_ONLY_RESPONSE;
#endif

	if (mhd_response != NULL)
		MHD_set_response_options(mhd_response, flags, MHD_RO_END);
	return mhd_response;
}

/* Passes a response to the library; the last one of a connection says so. */
static enum MHD_Result
send_response(const ServerOptions *options, const Connection *connection, const HttpResponse *response, bool last)
{
	struct MHD_Response *mhd_response;
	enum MHD_Result result;

	/* The body is copied, as it is sent after its memory was reset. The library leaves it out for HEAD. */
	if (response->status == MHD_HTTP_NOT_MODIFIED)
		mhd_response = create_bodiless();
	else
		mhd_response = MHD_create_response_from_buffer(response->body.len, response->body.data, MHD_RESPMEM_MUST_COPY);
	if (mhd_response == NULL)
		return MHD_NO;
	for (int i = 0; i < response->header_count; i++)
		MHD_add_response_header(mhd_response, response->headers[i].name, response->headers[i].value);
	if (last || *options->ending)
		MHD_add_response_header(mhd_response, MHD_HTTP_HEADER_CONNECTION, "close");
	result = MHD_queue_response(connection->handle, response->status, mhd_response);
	MHD_destroy_response(mhd_response);
	return result;
}

/* Makes the response to a request that is not read further. */
static void
make_refusal(const ServerOptions *options, const Connection *connection, const char *method, HttpResponse *response)
{
	ServerRequest request = make_request(options, connection, method);

	options->refuse(&request, response, connection->refusal, reason_of(connection->refusal));
}

/* Refuses a request. What the client still sends is not read. */
static enum MHD_Result
refuse(const ServerOptions *options, const Connection *connection, const char *method)
{
	HttpResponse response;

	make_refusal(options, connection, method, &response);
	return send_response(options, connection, &response, true);
}

/* Appends the header Date. */
static void
append_date(StringInfo out)
{
	char text[40];
	time_t now = time(NULL);
	struct tm tm;

	/* In English: PostgreSQL runs with LC_TIME = C. */
	(void) strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	appendStringInfo(out, "Date: %s\r\n", text);
}

/* Refuses a request without the library, which may have no room for it, or send a response of its own. The connection has to be closed. */
static void
refuse_directly(const ServerOptions *options, Connection *connection)
{
	HttpResponse response;
	StringInfoData out;

	make_refusal(options, connection, MHD_HTTP_METHOD_GET, &response);
	initStringInfo(&out);
	appendStringInfo(&out, "HTTP/1.1 %d %s\r\n", response.status, reason_of(response.status));
	append_date(&out);
	for (int i = 0; i < response.header_count; i++)
		appendStringInfo(&out, "%s: %s\r\n", response.headers[i].name, response.headers[i].value);
	appendStringInfo(&out, "Content-Length: %d\r\nConnection: close\r\n\r\n", response.body.len);
	appendBinaryStringInfo(&out, response.body.data, response.body.len);
	(void) send(connection->fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void) shutdown(connection->fd, SHUT_WR);
}

/*
 * Called when the library logs a message. The message is dropped, as any client can cause it. But the library may be about to refuse
 * a request whose head is complete, and its versions that leave zeros (head.h) send the head of that response twice. So the request is
 * refused here. The library does not say which one it is: the only one whose head is complete and was not checked.
 */
void
exchange_on_message(void *arg, const char *format, va_list values)
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
respond(const ServerOptions *options, Connection *connection, const char *method)
{
	ServerRequest request = make_request(options, connection, method);
	HttpResponse response;

	options->handler(&request, &response);
	connection->responding = true;
	/* The client has all the time to read the response. */
	connections_restart(connection);
	if (response.body.len > SMALL_RESPONSE)
		connections_keep(connection, response.body.len);
	return send_response(options, connection, &response, false);
}

/* Called for a request when its head is complete, for each piece of its body, and at its end. */
enum MHD_Result
exchange_on_request(void *arg, struct MHD_Connection *handle, const char *url, const char *method, const char *version,
                    const char *upload_data, size_t *upload_data_size, void **context)
{
	const ServerOptions *options = arg;
	Connection *connection = connection_of(handle);

	if (connection == NULL || connection->target == NULL)
		return MHD_NO;
	if (!connection->head_seen)
	{
		connection->head_seen = true;
		connection->refusal = head_check(handle, &(Head){.method = method,
		                                                 .target = connection->target,
		                                                 .raw_target = connection->raw_target,
		                                                 .version = version,
		                                                 .limit = options->settings->header_size,
		                                                 .memory = head_memory(options->settings)});
		if (connection->refusal == MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE)
		{
			refuse_directly(options, connection);
			return MHD_NO;
		}
		/* An early response makes the library close the connection. That is right, as it is not known where the request ends. */
		return connection->refusal != 0 ? refuse(options, connection, method) : MHD_YES;
	}
	if (*upload_data_size > 0)
	{
		connection->body_size += (int64) *upload_data_size;
		*upload_data_size = 0;
		if (connection->body_size > options->settings->body_size)
			connection->refusal = MHD_HTTP_CONTENT_TOO_LARGE;
		return MHD_YES;
	}
	if (connection->refusal != 0)
		return refuse(options, connection, method);
	return respond(options, connection, method);
}

/* The argument that exchange_each_header passes through the library. */
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
exchange_each_header(const ServerRequest *request, bool cookies,
                     void (*callback)(void *arg, const char *name, Span value), void *arg)
{
	EachHeader each = {callback, arg};

	MHD_get_connection_values(request->connection, cookies ? MHD_COOKIE_KIND : MHD_HEADER_KIND, pass_header, &each);
}
