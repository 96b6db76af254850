/*
 * constant.c
 *		A constant over HTTP by libmicrohttpd: what the library can do where an answer costs nothing.
 *
 *	constant PORT THREADS ANSWER ANSWER_TO_QUERIES
 *
 * Each thread is what a worker of the extension is: a socket of its own on the same port (SO_REUSEPORT), the library with the same
 * options, and a wait for its epoll descriptor outside of it. The two files hold an answer each, head and body, as curl --include
 * writes it; the second one answers targets with a query.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* What a worker has by default. */
#define MAX_CONNECTIONS 1000
#define POOL_SIZE (20 * 1024)

static const char *files[2];

/* Returns whether the library adds this header itself. */
static int
is_own_header(const char *name)
{
	return strcasecmp(name, MHD_HTTP_HEADER_DATE) == 0 || strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 ||
	       strcasecmp(name, MHD_HTTP_HEADER_CONNECTION) == 0;
}

/* Makes a response of a file. Each thread has its own, so that they share no lock. */
static struct MHD_Response *
read_response(const char *path)
{
	static const char end[] = "\r\n\r\n";
	FILE *file = fopen(path, "rb");
	size_t size = 1024 * 1024;
	char *text = calloc(1, size + 1);
	struct MHD_Response *response;
	char *body;
	char *line;
	char *rest;
	size_t length;

	if (file == NULL || text == NULL)
		err(1, "%s", path);
	length = fread(text, 1, size, file);
	fclose(file);
	body = strstr(text, end);
	if (body == NULL)
		errx(1, "%s has no head", path);
	*body = '\0';
	body += strlen(end);
	response = MHD_create_response_from_buffer(length - (body - text), body, MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		errx(1, "out of memory");
	/* The first line is the status. */
	strtok_r(text, "\r\n", &rest);
	while ((line = strtok_r(NULL, "\r\n", &rest)) != NULL)
	{
		char *value = strstr(line, ": ");

		if (value == NULL)
			errx(1, "%s has a header that is none: %s", path, line);
		*value = '\0';
		if (!is_own_header(line) && MHD_add_response_header(response, line, value + 2) != MHD_YES)
			errx(1, "%s has a header that libmicrohttpd refuses: %s", path, line);
	}
	free(text);
	return response;
}

/* Called when a request's head is complete, and at its end: an answer in the first call would make the library close the connection. */
static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
           const char *upload_data, size_t *upload_data_size, void **request)
{
	struct MHD_Response **responses = arg;
	struct MHD_Response **response = *request;

	(void) url, (void) method, (void) version, (void) upload_data, (void) upload_data_size;
	if (response != NULL)
		return MHD_queue_response(connection, MHD_HTTP_OK, *response);
	*request = &responses[MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, NULL, NULL) > 0];
	return MHD_YES;
}

static int
listen_on(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int yes = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) != 0 ||
	    bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 || listen(fd, SOMAXCONN) != 0)
		err(1, "could not listen on port %d", port);
	return fd;
}

static void *
serve(void *arg)
{
	int *socket = arg;
	struct MHD_Response *responses[2] = {read_response(files[0]), read_response(files[1])};
	struct MHD_Daemon *daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_TURBO, 0, NULL, NULL, on_request, responses, MHD_OPTION_LISTEN_SOCKET, *socket,
		MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) POOL_SIZE,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	struct pollfd event = {.events = POLLIN};

	if (daemon == NULL)
		errx(1, "could not start libmicrohttpd");
	event.fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->listen_fd;
	for (;;)
	{
		MHD_UNSIGNED_LONG_LONG timeout;

		(void) poll(&event, 1, MHD_get_timeout(daemon, &timeout) == MHD_YES ? (int) timeout : -1);
		MHD_run(daemon);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	int port = argc == 5 ? atoi(argv[1]) : 0;
	int threads = argc == 5 ? atoi(argv[2]) : 0;
	int sockets[64];
	pthread_t thread;
	int error;

	if (port <= 0 || threads <= 0 || threads > 64)
		errx(2, "usage: constant PORT THREADS ANSWER ANSWER_TO_QUERIES; up to 64 threads");
	files[0] = argv[3];
	files[1] = argv[4];
	for (int i = 0; i < threads; i++)
		sockets[i] = listen_on(port);
	for (int i = 1; i < threads; i++)
	{
		error = pthread_create(&thread, NULL, serve, &sockets[i]);
		if (error != 0)
			errx(1, "could not start a thread: %s", strerror(error));
	}
	(void) serve(&sockets[0]);
}
