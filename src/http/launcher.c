/*
 * launcher.c
 *		The process that keeps the HTTP workers running.
 *
 * It is in no database, so that none is in use because of it, and looks before it starts a worker whether
 * that can serve: what is wrong is said once, with a hint, and looked at again now and then. A worker that
 * ends is started anew, at growing intervals if it ends at once. Workers that an earlier launcher has
 * started go on: all it knows of them is in shared memory.
 */
#include "launcher.h"

#include <signal.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "../entry.h"
#include "metrics.h"
#include "server.h"
#include "worker.h"

#define LIBRARY "session_files_http"

/* How long to wait before another look at what keeps workers from serving, in ms. */
#define LOOK_EVERY 2000

/* The first wait before a worker is started anew that has ended at once, and the longest, in ms. */
#define RESTART_WAIT 1000
#define MAX_RESTART_WAIT 60000

/* A worker that has lived for so long did not end at once, in ms. */
#define SHORT_LIFE 10000

/* What the launcher knows of a worker beside what is in shared memory. */
typedef struct Worker
{
	bool was_started;
	bool told_to_end;
	TimestampTz started;
	TimestampTz next_start;
	int wait; /* in ms; 0: it did not end at once */
} Worker;

/* What is wrong, or nothing. */
typedef struct Problem
{
	char *message; /* NULL: nothing */
	char *hint;
} Problem;

/* The settings that a worker reads when it starts, as text: when it changes, workers start anew. */
static char *known_settings = NULL;
static char *known_problem = NULL;

/* Where the workers that were started last listen. */
static char *served_address = NULL;
static int served_port = 0;

static const Entry *entry = NULL;
static Worker workers[HTTP_MAX_WORKERS];

static bool
is_running(int number)
{
	pid_t pid = metrics_worker(number);

	return pid != 0 && (kill(pid, 0) == 0 || errno != ESRCH);
}

static int
count_running(void)
{
	int count = 0;

	for (int i = 0; i < HTTP_MAX_WORKERS; i++)
		count += is_running(i);
	return count;
}

/*
 * Finds a row of a shared catalog by a name; returns a copy, or NULL. No index: a process without a database may
 * not be able to open one.
 */
static HeapTuple
find_row(Oid catalog, AttrNumber column, const char *value)
{
	Relation relation = table_open(catalog, AccessShareLock);
	NameData name;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;

	namestrcpy(&name, value);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&name));
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return row;
}

/* Tells what is wrong with the database or the role. Needs a transaction. */
static Problem
find_catalog_problem(void)
{
	const HttpSettings *settings = entry->settings;
	HeapTuple database = find_row(DatabaseRelationId, Anum_pg_database_datname, settings->database);
	HeapTuple role = find_row(AuthIdRelationId, Anum_pg_authid_rolname, settings->role);

	if (database == NULL)
		return (Problem){psprintf("the database \"%s\" does not exist", settings->database),
		                 "Create it, or set session_files.http_database."};
	if (!((Form_pg_database) GETSTRUCT(database))->datallowconn)
		return (Problem){psprintf("the database \"%s\" does not allow connections", settings->database),
		                 "Alter it WITH ALLOW_CONNECTIONS true, or set session_files.http_database."};
	if (role == NULL)
		return (Problem){psprintf("the role \"%s\" does not exist", settings->role),
		                 "Create it as http/roles.sql does, or set session_files.http_role."};
	if (!((Form_pg_authid) GETSTRUCT(role))->rolcanlogin)
		return (Problem){psprintf("the role \"%s\" cannot log in", settings->role),
		                 "Alter it WITH LOGIN, or set session_files.http_role."};
	if (((Form_pg_authid) GETSTRUCT(role))->rolsuper)
		return (Problem){psprintf("the role \"%s\" is a superuser", settings->role),
		                 "Set session_files.http_role to a role that can do nothing but become others."};
	return (Problem){NULL, NULL};
}

/* Notes where workers listen that start now. */
static void
note_address(void)
{
	if (served_address != NULL)
		pfree(served_address);
	served_address = MemoryContextStrdup(TopMemoryContext, entry->settings->listen_address);
	served_port = entry->settings->port;
}

/* Tells whether another program has the port. Ours share it, so this can be seen only while none of them has it. */
static Problem
find_port_problem(void)
{
	const HttpSettings *settings = entry->settings;
	const char *failed;
	int fd;

	if (count_running() > 0 && served_port == settings->port && strcmp(served_address, settings->listen_address) == 0)
		return (Problem){NULL, NULL};
	fd = server_listen(settings->listen_address, settings->port, false, &failed);
	if (fd < 0)
		return (Problem){psprintf("could not %s the address \"%s\", port %d: %s", failed, settings->listen_address,
		                          settings->port, strerror(errno)),
		                 "Set session_files.http_listen_address to an IP address of this machine, and "
		                 "session_files.http_port to a port that is free."};
	close(fd);
	return (Problem){NULL, NULL};
}

/* Forgets what was wrong: it is said again when it is still so, or once more. */
static void
forget_problem(void)
{
	if (known_problem != NULL)
		pfree(known_problem);
	known_problem = NULL;
}

/* Logs what is wrong, unless it was said before. */
static void
tell(Problem problem)
{
	if (known_problem != NULL && strcmp(known_problem, problem.message) == 0)
		return;
	forget_problem();
	known_problem = MemoryContextStrdup(TopMemoryContext, problem.message);
	ereport(LOG, (errmsg("cannot serve HTTP: %s", problem.message), errhint("%s", problem.hint)));
}

/* Looks whether workers could serve. */
static bool
can_serve(void)
{
	Problem problem;
	bool result;

	StartTransactionCommand();
	problem = find_catalog_problem();
	if (problem.message == NULL)
		problem = find_port_problem();
	result = problem.message == NULL;
	if (!result)
		tell(problem);
	CommitTransactionCommand();
	return result;
}

static bool
register_worker(int number, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
	                           .bgw_start_time = BgWorkerStart_ConsistentState,
	                           .bgw_restart_time = BGW_NEVER_RESTART,
	                           .bgw_main_arg = Int32GetDatum(number),
	                           .bgw_notify_pid = MyProcPid};

	snprintf(worker.bgw_name, BGW_MAXLEN, WORKER_TYPE " %d", number + 1);
	strlcpy(worker.bgw_type, WORKER_TYPE, BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, LIBRARY, sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, WORKER_FUNCTION, BGW_MAXLEN);
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/* Starts a worker, and waits until it runs. */
static void
start_worker(int number)
{
	Worker *worker = &workers[number];
	BackgroundWorkerHandle *handle;
	pid_t pid;

	if (!register_worker(number, &handle))
	{
		tell((Problem){
			psprintf("no background worker is free for the HTTP worker %d of %d", number + 1, entry->settings->workers),
			"Raise max_worker_processes, or lower session_files.http_workers."});
		return;
	}
	forget_problem();
	note_address();
	if (worker->was_started)
		metrics_count_restart();
	worker->was_started = true;
	worker->told_to_end = false;
	worker->started = GetCurrentTimestamp();
	(void) WaitForBackgroundWorkerStartup(handle, &pid);
	pfree(handle);
	/* It ends at once, until it has lived for a while. */
	worker->wait = worker->wait == 0 ? RESTART_WAIT : Min(worker->wait * 2, MAX_RESTART_WAIT);
	worker->next_start = TimestampTzPlusMilliseconds(worker->started, worker->wait);
}

static void
end_worker(int number)
{
	if (workers[number].told_to_end)
		return;
	workers[number].told_to_end = true;
	(void) kill(metrics_worker(number), SIGTERM);
}

/* Starts a worker that does not run, when its time has come; returns how long until then, in ms. */
static long
supervise_worker(int number, TimestampTz now)
{
	Worker *worker = &workers[number];

	if (is_running(number))
	{
		if (number >= entry->settings->workers)
			end_worker(number);
		return -1;
	}
	if (number >= entry->settings->workers)
		return -1;
	if (worker->was_started && TimestampDifferenceExceeds(worker->started, now, SHORT_LIFE))
		worker->wait = 0;
	if (worker->told_to_end)
		worker->next_start = now;
	if (worker->next_start > now)
		return TimestampDifferenceMilliseconds(now, worker->next_start);
	if (!can_serve())
		return LOOK_EVERY;
	start_worker(number);
	return LOOK_EVERY;
}

/* Starts and ends workers; returns how long to wait for the next look, in ms, or -1. */
static long
supervise(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long wait = -1;

	for (int i = 0; i < HTTP_MAX_WORKERS; i++)
	{
		long own_wait = supervise_worker(i, now);

		if (own_wait >= 0 && (wait < 0 || own_wait < wait))
			wait = own_wait;
	}
	return wait;
}

/* Renders the settings that a worker reads when it starts. */
static char *
render_settings(void)
{
	const HttpSettings *s = entry->settings;

	return MemoryContextStrdup(TopMemoryContext,
	                           psprintf("%s %d %s %s %d %d %d %d", s->listen_address, s->port, s->database, s->role,
	                                    s->max_connections, s->header_size, s->body_size, s->idle_timeout));
}

/* Reads the settings anew; if workers have to, they start anew. */
static void
reload(void)
{
	char *settings;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	forget_problem();
	settings = render_settings();
	if (strcmp(settings, known_settings) != 0)
	{
		for (int i = 0; i < HTTP_MAX_WORKERS; i++)
		{
			if (is_running(i))
				end_worker(i);
		}
	}
	pfree(known_settings);
	known_settings = settings;
}

void
session_files_http_launcher(Datum unused)
{
	const Entry *(*get_entry)(void) =
		(const Entry *(*) (void) ) load_external_function("session_files", "session_files_entry", true, NULL);
	MemoryContext context;

	entry = get_entry();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "session_files http launcher", ALLOCSET_DEFAULT_SIZES);
	metrics_set_launcher(MyProcPid);
	known_settings = render_settings();
	/* For workers of an earlier launcher. */
	note_address();
	pgstat_report_activity(STATE_IDLE, NULL);
	while (!ShutdownRequestPending)
	{
		long wait;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		if (ConfigReloadPending)
			reload();
		wait = supervise();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (wait >= 0 ? WL_TIMEOUT : 0), wait,
		                 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	/* Not 0: the postmaster is to start it anew, unless the server stops. */
	metrics_set_launcher(0);
	proc_exit(1);
}

void
launcher_init(void)
{
	BackgroundWorker worker = {.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
	                           .bgw_start_time = BgWorkerStart_ConsistentState,
	                           .bgw_restart_time = 1};

	/* pg_upgrade wants to be alone, and the cluster is not yet, or no more, one to be shown. */
	if (IsBinaryUpgrade)
		return;
	strlcpy(worker.bgw_name, "session_files http launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "session_files http launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, LIBRARY, sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "session_files_http_launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
