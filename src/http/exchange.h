/*
 * exchange.h
 *		Requests and responses on a connection: the callbacks of libmicrohttpd.
 */
#ifndef SESSION_FILES_HTTP_EXCHANGE_H
#define SESSION_FILES_HTTP_EXCHANGE_H

#include "compat.h"

#include <microhttpd.h>
#include <signal.h>

#include "listing/message.h"
#include "settings.h"

/* A request on a connection; valid until its response is made. */
typedef struct ServerRequest
{
	HttpRequest http;
	const char *authorization; /* NULL if there is no such header */
	void *connection;          /* for exchange_each_header */
} ServerRequest;

/* Makes the response to a request. It must not raise errors: they would jump through the library's frames. */
typedef void (*ServerHandler)(const ServerRequest *request, HttpResponse *response);

typedef struct ServerOptions
{
	int socket;                   /* the listening socket */
	const HttpSettings *settings; /* may change while the server is open, except header_size */
	int most_connections;         /* the most that the process can have, whatever the settings say */
	ServerHandler handler;
	void (*refuse)(const ServerRequest *request, HttpResponse *response, int status,
	               const char *reason);  /* as the handler */
	const volatile sig_atomic_t *ending; /* set when the server is about to be drained */
} ServerOptions;

/* The library's callbacks; arg is the ServerOptions. */
extern void exchange_on_connection(void *arg, struct MHD_Connection *handle, void **context,
                                   enum MHD_ConnectionNotificationCode code);
extern void *exchange_on_target(void *arg, const char *target, struct MHD_Connection *handle);
extern enum MHD_Result exchange_on_request(void *arg, struct MHD_Connection *handle, const char *url,
                                           const char *method, const char *version, const char *upload_data,
                                           size_t *upload_data_size, void **context);
extern void exchange_on_completed(void *arg, struct MHD_Connection *handle, void **request,
                                  enum MHD_RequestTerminationCode code);
extern void exchange_on_message(void *arg, const char *format, va_list values);
extern size_t exchange_leave_escapes(void *arg, struct MHD_Connection *handle, char *text);

/* Calls a function for each header of a request, or for each cookie. */
extern void exchange_each_header(const ServerRequest *request, bool cookies,
                                 void (*callback)(void *arg, const char *name, Span value), void *arg);

#endif
