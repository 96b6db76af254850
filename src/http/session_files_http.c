/*
 * session_files_http.c
 *		The library's entry: an HTTP server inside PostgreSQL.
 *
 * Does nothing unless it is preloaded by the server. Then it takes the port, and has PostgreSQL run the workers: start them, and start
 * again those that have ended.
 */
#include "../compat.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "../entry.h"
#include "listener.h"
#include "metrics.h"

/* How long PostgreSQL waits before it starts a worker again that has ended, in s. */
#define RESTART_TIME 2

PG_MODULE_MAGIC;

void _PG_init(void);

static void
register_worker(int number)
{
	BackgroundWorker worker = {.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
	                           .bgw_start_time = BgWorkerStart_ConsistentState,
	                           .bgw_restart_time = RESTART_TIME,
	                           .bgw_main_arg = Int32GetDatum(number)};

	snprintf(worker.bgw_name, BGW_MAXLEN, "session_files http worker %d", number + 1);
	strlcpy(worker.bgw_type, "session_files http worker", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "session_files_http", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "session_files_http_worker", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* Takes the port and registers the workers. A port that cannot be had is no reason to keep the whole server from starting. */
static void
start_serving(const HttpSettings *settings)
{
	const char *failed;

	if (settings->workers == 0)
		return;
	if (!listener_open(settings->listen_address, settings->port, &failed))
	{
		ereport(LOG, (errcode_for_socket_access(),
		              errmsg("cannot serve HTTP: could not %s the address \"%s\", port %d: %m", failed,
		                     settings->listen_address, settings->port),
		              errhint("Set session_files.http_listen_address to an IP address of this machine, and "
		                      "session_files.http_port to a port that is free, and restart the server.")));
		return;
	}
	ereport(LOG, (errmsg(strchr(settings->listen_address, ':') ? "session_files: listening on http://[%s]:%d"
	                                                           : "session_files: listening on http://%s:%d",
	                     settings->listen_address, settings->port)));
	for (int i = 0; i < settings->workers; i++)
		register_worker(i);
}

void
_PG_init(void)
{
	const Entry *(*get_entry)(void);

	if (!process_shared_preload_libraries_in_progress)
		return;
	/* It defines the settings; and is preloaded thereby, if it is not yet. */
	get_entry = (const Entry *(*) (void) ) load_external_function("session_files", "session_files_entry", true, NULL);
	if (get_entry()->version != ENTRY_VERSION)
		ereport(ERROR,
		        (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		         errmsg("the libraries session_files and session_files_http are not of the same version"),
		         errdetail("The one offers the interface %d, the other takes %d.", get_entry()->version, ENTRY_VERSION),
		         errhint("Install both from the same source.")));
	metrics_init();
	/* pg_upgrade wants to be alone, and the cluster is not yet, or no more, one to be shown. */
	if (!IsBinaryUpgrade && IsPostmasterEnvironment)
		start_serving(get_entry()->settings);
}
