/*
 * worker.c
 *		An HTTP worker: from requests to transactions.
 *
 * It has one thread and one wait: for the server's descriptor, signals, and the postmaster's end. Each request is a read-only transaction
 * of its own, as the role that its token names, under one snapshot. An error ends the transaction inside the handler, as it must not jump
 * through the server's frames; the connection goes on.
 *
 * SIGTERM ends the worker after what it is doing: it accepts no new connections, responds to the requests that it is reading, and waits
 * a second at most for clients to read their responses. A request that waits or takes long is cancelled.
 */
#include "http/worker.h"

#include <sys/resource.h>
#include <unistd.h>

#include "access/xact.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "http/clock.h"
#include "http/connections.h"
#include "http/identity.h"
#include "http/listener.h"
#include "http/metrics.h"
#include "http/server.h"
#include "http_api.h"

/* How long clients have to read their responses when the worker ends, in ms. */
#define DRAIN_TIME 1000

/* How long a request may have taken that is not cancelled when the worker ends, in ms. */
#define PATIENCE 500

/* Descriptors that a worker needs besides its connections and PostgreSQL's files. */
#define OWN_FILES 128

/* How much of a request's target is shown in pg_stat_activity and the log, in bytes. */
#define MAX_SHOWN 1024

/* How often a worker that did something flushes its statistics, in ms. */
#define FLUSH_EVERY 1000

static const HttpApi *api = NULL;
static Server *server = NULL;

/* What a request allocates, until the next one. */
static MemoryContext request_context = NULL;

/* When the current request began (clock_ms), or 0. The signal handler reads it. */
static volatile int64 request_start = 0;

static bool statistics_pending = false;

/* Ends the worker. A request that waits for a lock or takes long is cancelled; another one gets its response first. */
static void
on_terminate(SIGNAL_ARGS)
{
	int saved = errno;
	int64 start = request_start;

	ShutdownRequestPending = true;
	if (start != 0 && (MyProc->wait_event_info != 0 || clock_ms() - start > PATIENCE))
	{
		QueryCancelPending = true;
		InterruptPending = true;
	}
	SetLatch(MyLatch);
	errno = saved;
}

/* Makes the response to a request without a token, or with a wrong one. error is NULL, or the reason in ASCII. */
static void
respond_unauthorized(const ServerRequest *request, HttpResponse *response, const char *error)
{
	StringInfoData challenge;

	api->refuse(&request->http, response, HTTP_UNAUTHORIZED, "Unauthorized");
	initStringInfo(&challenge);
	appendStringInfoString(&challenge, "Bearer");
	if (error != NULL)
	{
		appendStringInfoString(&challenge, " error=\"invalid_token\", error_description=\"");
		for (; *error != '\0'; error++)
		{
			if (*error == '"' || *error == '\\')
				appendStringInfoChar(&challenge, '\\');
			appendStringInfoChar(&challenge, *error);
		}
		appendStringInfoChar(&challenge, '"');
	}
	message_add(response, "WWW-Authenticate", challenge.data);
}

/* Makes the response to a request that raised an error. */
static void
respond_error(const ServerRequest *request, HttpResponse *response, int sqlstate)
{
	int category = ERRCODE_TO_CATEGORY(sqlstate);

	/* If an object does not exist, the extension is being dropped. */
	if (category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_OPERATOR_INTERVENTION ||
	    category == ERRCODE_TRANSACTION_ROLLBACK || sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
	    sqlstate == ERRCODE_UNDEFINED_OBJECT || sqlstate == ERRCODE_UNDEFINED_TABLE)
		api->refuse(&request->http, response, HTTP_UNAVAILABLE, "Service Unavailable");
	else if (sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
		api->refuse(&request->http, response, HTTP_FORBIDDEN, "Forbidden");
	else
		api->refuse(&request->http, response, HTTP_INTERNAL_ERROR, "Internal Server Error");
}

/* Appends what a client sent as printable ASCII, the rest percent-encoded. So it is valid in every encoding, wherever it is cut. */
static void
append_printable(StringInfo out, Span text)
{
	for (int i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.bytes[i];

		if (c > ' ' && c < 0x7f)
			appendStringInfoCharMacro(out, c);
		else
			appendStringInfo(out, "%%%02X", c);
	}
}

/* Shows the request in pg_stat_activity and in log messages. */
static void
begin_activity(const ServerRequest *request)
{
	StringInfoData text;

	initStringInfo(&text);
	append_printable(&text, (Span){request->http.method.bytes, Min(request->http.method.len, MAX_SHOWN)});
	appendStringInfoChar(&text, ' ');
	append_printable(&text, (Span){request->http.target.bytes, Min(request->http.target.len, MAX_SHOWN)});
	debug_query_string = text.data;
	pgstat_report_activity(STATE_RUNNING, text.data);
}

static void
end_activity(void)
{
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
	statistics_pending = true;
}

/* Handles a request in a transaction: as the role, or, for NULL, as the one that the worker has logged in as. */
static void
run_transaction(const ServerRequest *request, const char *role, HttpResponse *response)
{
	StartTransactionCommand();
	MemoryContextSwitchTo(request_context);
	XactReadOnly = true;
	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	if (role != NULL)
		identity_become(role);
	PushActiveSnapshot(GetTransactionSnapshot());
	api->handle(&request->http, response);
	PopActiveSnapshot();
	if (StatementTimeout > 0)
		disable_timeout(STATEMENT_TIMEOUT, false);
	CommitTransactionCommand();
	MemoryContextSwitchTo(request_context);
}

/* Ends the transaction after an error, and makes a response of the error. */
static void
recover(const ServerRequest *request, HttpResponse *response)
{
	int sqlstate;

	MemoryContextSwitchTo(request_context);
	HOLD_INTERRUPTS();
	sqlstate = geterrcode();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	MemoryContextSwitchTo(request_context);
	RESUME_INTERRUPTS();
	respond_error(request, response, sqlstate);
}

static void
try_transaction(const ServerRequest *request, const char *role, HttpResponse *response)
{
	/* A cancellation of the request before this one has come too late. */
	QueryCancelPending = false;
	SetCurrentStatementStartTimestamp();
	begin_activity(request);
	PG_TRY();
	{
		run_transaction(request, role, response);
	}
	PG_CATCH();
	{
		recover(request, response);
	}
	PG_END_TRY();
	end_activity();
}

/* Makes the response to /metrics, without a transaction. Returns false for another target. */
static bool
respond_metrics(const ServerRequest *request, HttpResponse *response)
{
	if (!span_equals(request->http.target, "/metrics"))
		return false;
	if (!span_equals(request->http.method, "GET") && !span_equals(request->http.method, "HEAD"))
	{
		api->refuse(&request->http, response, HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
		message_add(response, "Allow", "GET, HEAD");
		return true;
	}
	message_begin(response, HTTP_OK);
	message_add(response, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
	metrics_write(&response->body);
	return true;
}

/* Refuses a response for which there is no room. Unread responses make room for the next try. */
static void
make_room(const ServerRequest *request, HttpResponse *response)
{
	if (response->body.len > request->http.room)
		api->refuse(&request->http, response, HTTP_UNAVAILABLE, "Service Unavailable");
	metrics_count_no_room();
	connections_drop_unread();
}

/* The server's handler: makes the response to a request. */
static void
handle(const ServerRequest *request, HttpResponse *response)
{
	instr_time start;
	instr_time end;

	request_start = clock_ms();
	INSTR_TIME_SET_CURRENT(start);
	MemoryContextReset(request_context);
	MemoryContextSwitchTo(request_context);
	if (!respond_metrics(request, response))
	{
		bool is_public = api->is_public(&request->http);
		const char *role;
		const char *error = identity_read(request, &role);

		if (is_public)
			try_transaction(request, NULL, response);
		else if (error != NULL || role == NULL)
			respond_unauthorized(request, response, error);
		else
			try_transaction(request, role, response);
	}
	if (response->no_room || response->body.len > request->http.room)
		make_room(request, response);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	metrics_count_request(response->status, (int64) INSTR_TIME_GET_MICROSEC(end));
	request_start = 0;
}

/* Makes the response to a request that the server does not read further. */
static void
refuse(const ServerRequest *request, HttpResponse *response, int status, const char *reason)
{
	MemoryContextReset(request_context);
	MemoryContextSwitchTo(request_context);
	api->refuse(&request->http, response, status, reason);
	metrics_count_refusal(status);
}

/*
 * Raises the limit of open files to what the connections and PostgreSQL need. Returns how many connections are possible, and logs if that is
 * fewer.
 */
static int
allow_connections(int connections)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t) connections + max_files_per_process + OWN_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted)
		return connections;
	limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? wanted : Min(wanted, limit.rlim_max);
	(void) setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted)
		return connections;
	ereport(LOG, (errmsg("the limit of open files, %llu, is too low for session_files.http_max_connections = %d",
	                     (unsigned long long) limit.rlim_cur, connections),
	              errhint("Raise the limit of the server's processes (ulimit -n, LimitNOFILE) to %llu.",
	                      (unsigned long long) wanted)));
	return Min(connections, Max((int) limit.rlim_cur - OWN_FILES, OWN_FILES));
}

static void
open_server(void)
{
	const HttpSettings *settings = api->settings;
	ServerOptions options = {.socket = listener_socket(),
	                         .settings = settings,
	                         .most_connections = allow_connections(settings->max_connections),
	                         .handler = handle,
	                         .refuse = refuse,
	                         .ending = &ShutdownRequestPending};

	server = server_open(&options);
	if (server == NULL)
		ereport(FATAL, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not start libmicrohttpd")));
}

/* Adds to an error which database and role the worker was connecting with. */
static void
add_context(void *arg)
{
	errcontext(
		"HTTP worker for the database \"%s\" (session_files.http_database), as role \"%s\" (session_files.http_role)",
		api->settings->database, api->settings->role);
}

/* Connects to the database, as a role that must not be a superuser. If that fails, PostgreSQL restarts the worker. */
static void
connect_database(void)
{
	const HttpSettings *settings = api->settings;
	ErrorContextCallback callback = {.previous = error_context_stack, .callback = add_context};
	bool is_superuser;

	error_context_stack = &callback;
	BackgroundWorkerInitializeConnection(settings->database, settings->role, 0);
	StartTransactionCommand();
	is_superuser = superuser_arg(GetSessionUserId());
	if (!OidIsValid(get_extension_oid("session_files", true)))
		ereport(LOG,
		        (errmsg("the database \"%s\" does not have the extension session_files: until then requests get a 503",
		                settings->database),
		         errhint("CREATE EXTENSION session_files in it, or set session_files.http_database to another.")));
	CommitTransactionCommand();
	if (is_superuser)
		ereport(FATAL, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		                errmsg("the role \"%s\" is a superuser, and may not serve HTTP", settings->role),
		                errhint("Set session_files.http_role to a role that can do nothing but become others.")));
	error_context_stack = callback.previous;
}

/* Waits until there is something to do, and does it. */
static void
work(WaitEventSet *events, long limit)
{
	WaitEvent event;
	long timeout = server_timeout(server);

	if (statistics_pending && (timeout < 0 || timeout > FLUSH_EVERY))
		timeout = FLUSH_EVERY;
	if (limit >= 0 && (timeout < 0 || timeout > limit))
		timeout = limit;
	if (WaitEventSetWait(events, timeout, &event, 1, PG_WAIT_EXTENSION) == 0 && statistics_pending)
	{
		pgstat_report_stat(true);
		statistics_pending = false;
	}
	ResetLatch(MyLatch);
	/* Between requests there is nothing to cancel, and a cancellation would end the worker. */
	HOLD_CANCEL_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	QueryCancelPending = false;
	RESUME_CANCEL_INTERRUPTS();
	server_run(server);
	/* What the last request has allocated. */
	MemoryContextReset(request_context);
	metrics_set_connections(server_connections(server), connections_unread(), connections_dropped());
	if (statistics_pending)
		(void) pgstat_report_stat(false);
}

static WaitEventSet *
create_wait_event_set(void)
{
	WaitEventSet *events = compat_create_wait_event_set(3);

	AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(events, WL_SOCKET_READABLE, server_descriptor(server), NULL, NULL);
	return events;
}

static void
reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	identity_load_keys();
}

/* Responds to current requests, and ends the server. */
static void
drain(WaitEventSet *events)
{
	int64 end = clock_ms() + DRAIN_TIME;
	long left = DRAIN_TIME;

	server_drain(server);
	while (server_connections(server) > 0 && left > 0)
	{
		work(events, left);
		left = (long) (end - clock_ms());
	}
	server_close(server);
}

void
session_files_http_worker(Datum number)
{
	WaitEventSet *events;
	const HttpApi *(*get_api)(void) =
		(const HttpApi *(*) (void) ) load_external_function("session_files", "session_files_http_api", true, NULL);

	api = get_api();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* Until the worker serves, SIGTERM ends it at once, wherever it waits. */
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	connect_database();
	pqsignal(SIGTERM, on_terminate);
	metrics_start_worker(DatumGetInt32(number));
	request_context = AllocSetContextCreate(TopMemoryContext, "session_files http request", ALLOCSET_DEFAULT_SIZES);
	identity_init(api);
	identity_load_keys();
	open_server();
	events = create_wait_event_set();
	pgstat_report_activity(STATE_IDLE, NULL);
	while (!ShutdownRequestPending)
	{
		if (ConfigReloadPending)
			reload();
		work(events, -1);
	}
	drain(events);
	pgstat_report_stat(true);
	/* Not 0: then PostgreSQL restarts the worker, unless the server stops. */
	proc_exit(1);
}
