/*
 * worker.c
 *		An HTTP worker: requests to transactions.
 *
 * One thread, one wait: for the server's descriptor, signals, and the postmaster's end. Each request is
 * a read-only transaction of its own, as the role that its token names. An error ends the transaction
 * inside the handler, for it must not jump through the server's frames; the connection goes on.
 *
 * A SIGTERM ends the worker after what it is doing: no new connections, answers to the requests that are
 * under way, and a second at most for clients to read them. A request that waits or takes long is cancelled.
 */
#include "worker.h"

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

#include "../entry.h"
#include "clock.h"
#include "connections.h"
#include "identity.h"
#include "listener.h"
#include "metrics.h"
#include "server.h"

/* How long clients have to read their answers when the worker ends, in ms. */
#define DRAIN_TIME 1000

/* A request that has taken so long is cancelled when the worker ends, in ms. */
#define PATIENCE 500

/* Descriptors that a worker needs beside its connections and the files of PostgreSQL. */
#define OWN_FILES 128

/* How much of a request's target is shown in pg_stat_activity and the log, in bytes. */
#define MAX_SHOWN 1024

/* How often at least a worker that did something flushes its statistics, in ms. */
#define FLUSH_EVERY 1000

static const Entry *entry = NULL;
static Server *server = NULL;

/* Holds what a request allocates, until the next one. */
static MemoryContext request_context = NULL;

/* When the request under way began (clock_ms), or 0: the signal handler asks. */
static volatile int64 request_start = 0;

static bool statistics_pending = false;

/* Ends the worker: a request that waits for a lock, or takes long, now, others after their answer. */
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

/* Answers a request that has no token, or a wrong one; error is NULL or says why, in ASCII. */
static void
answer_unauthorized(const ServerRequest *request, HttpAnswer *answer, const char *error)
{
	StringInfoData challenge;

	entry->refuse(&request->http, answer, HTTP_UNAUTHORIZED, "Unauthorized");
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
	message_add(answer, "WWW-Authenticate", challenge.data);
}

/* Answers a request that raised an error. */
static void
answer_error(const ServerRequest *request, HttpAnswer *answer, int sqlstate)
{
	int category = ERRCODE_TO_CATEGORY(sqlstate);

	/* An object that is not there is one of the extension, which is being dropped. */
	if (category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_OPERATOR_INTERVENTION ||
	    category == ERRCODE_TRANSACTION_ROLLBACK || sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
	    sqlstate == ERRCODE_UNDEFINED_OBJECT || sqlstate == ERRCODE_UNDEFINED_TABLE)
		entry->refuse(&request->http, answer, HTTP_UNAVAILABLE, "Service Unavailable");
	else if (sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE)
		entry->refuse(&request->http, answer, HTTP_FORBIDDEN, "Forbidden");
	else
		entry->refuse(&request->http, answer, HTTP_INTERNAL_ERROR, "Internal Server Error");
}

/* Appends what a client sent as printable ASCII, percent-encoded where it is not: that is valid in every encoding, wherever it is cut. */
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

/* Shows the request in pg_stat_activity, and in what is logged of it. */
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

/* Answers in a transaction of the role, or of the one that the worker has logged in as. */
static void
run_transaction(const ServerRequest *request, const char *role, HttpAnswer *answer)
{
	StartTransactionCommand();
	MemoryContextSwitchTo(request_context);
	XactReadOnly = true;
	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	if (role != NULL)
		identity_become(role);
	PushActiveSnapshot(GetTransactionSnapshot());
	entry->answer(&request->http, answer);
	PopActiveSnapshot();
	if (StatementTimeout > 0)
		disable_timeout(STATEMENT_TIMEOUT, false);
	CommitTransactionCommand();
	MemoryContextSwitchTo(request_context);
}

/* Ends the transaction after an error, which becomes the answer. */
static void
recover(const ServerRequest *request, HttpAnswer *answer)
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
	answer_error(request, answer, sqlstate);
}

static void
try_transaction(const ServerRequest *request, const char *role, HttpAnswer *answer)
{
	/* A cancellation of the request before this one came too late. */
	QueryCancelPending = false;
	SetCurrentStatementStartTimestamp();
	begin_activity(request);
	PG_TRY();
	{
		run_transaction(request, role, answer);
	}
	PG_CATCH();
	{
		recover(request, answer);
	}
	PG_END_TRY();
	end_activity();
}

/* Answers GET /metrics, which touches no table. */
static bool
answer_metrics(const ServerRequest *request, HttpAnswer *answer)
{
	if (!span_equals(request->http.target, "/metrics"))
		return false;
	if (!span_equals(request->http.method, "GET") && !span_equals(request->http.method, "HEAD"))
	{
		entry->refuse(&request->http, answer, HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
		message_add(answer, "Allow", "GET, HEAD");
		return true;
	}
	message_begin(answer, HTTP_OK);
	message_add(answer, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
	metrics_write(&answer->body);
	return true;
}

/* Refuses an answer for which there is no room, whatever it is; answers that are not read make room for the next try. */
static void
make_room(const ServerRequest *request, HttpAnswer *answer)
{
	if (answer->body.len > request->http.room)
		entry->refuse(&request->http, answer, HTTP_UNAVAILABLE, "Service Unavailable");
	metrics_count_no_room();
	connections_drop_unread();
}

/* Answers a request: the server's handler. */
static void
handle(const ServerRequest *request, HttpAnswer *answer)
{
	instr_time start;
	instr_time end;

	request_start = clock_ms();
	INSTR_TIME_SET_CURRENT(start);
	MemoryContextReset(request_context);
	MemoryContextSwitchTo(request_context);
	if (!answer_metrics(request, answer))
	{
		bool is_public = entry->is_public(&request->http);
		const char *role;
		const char *error = identity_read(request, &role);

		if (is_public)
			try_transaction(request, NULL, answer);
		else if (error != NULL || role == NULL)
			answer_unauthorized(request, answer, error);
		else
			try_transaction(request, role, answer);
	}
	if (answer->no_room || answer->body.len > request->http.room)
		make_room(request, answer);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	metrics_count_request(answer->status, (int64) INSTR_TIME_GET_MICROSEC(end));
	request_start = 0;
}

/* Answers a request that the server does not read further. */
static void
refuse(const ServerRequest *request, HttpAnswer *answer, int status, const char *reason)
{
	MemoryContextReset(request_context);
	MemoryContextSwitchTo(request_context);
	entry->refuse(&request->http, answer, status, reason);
	metrics_count_refusal(status);
}

/*
 * Sees to it that the process may have as many connections as the settings say, beside what PostgreSQL needs; returns how many it can have,
 * and logs if that is fewer.
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
	const HttpSettings *settings = entry->settings;
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

/* Says what a worker that cannot connect was about to do. */
static void
add_context(void *arg)
{
	errcontext(
		"HTTP worker for the database \"%s\" (session_files.http_database), as role \"%s\" (session_files.http_role)",
		entry->settings->database, entry->settings->role);
}

/* Connects to the database, as a role that is no superuser. PostgreSQL starts the worker again if that fails. */
static void
connect_database(void)
{
	const HttpSettings *settings = entry->settings;
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
	/* Between requests there is nothing to cancel: it would end the worker. */
	HOLD_CANCEL_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	QueryCancelPending = false;
	RESUME_CANCEL_INTERRUPTS();
	server_run(server);
	/* What the last request has taken. */
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

/* Answers what is under way, and ends the server. */
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
	const Entry *(*get_entry)(void) =
		(const Entry *(*) (void) ) load_external_function("session_files", "session_files_entry", true, NULL);

	entry = get_entry();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* Until it serves, it ends at once, wherever it waits. */
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	connect_database();
	pqsignal(SIGTERM, on_terminate);
	metrics_start_worker(DatumGetInt32(number));
	request_context = AllocSetContextCreate(TopMemoryContext, "session_files http request", ALLOCSET_DEFAULT_SIZES);
	identity_init(entry);
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
	/* Not 0: PostgreSQL starts it again, unless the server stops. */
	proc_exit(1);
}
