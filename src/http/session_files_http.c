/*
 * session_files_http.c
 *		_PG_init of the library: an HTTP server inside PostgreSQL.
 *
 * It does nothing unless the server preloads the library. Then it opens the listening socket, and registers the workers with PostgreSQL,
 * which starts them, and restarts those that end.
 */
#include "compat.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "http/listener.h"
#include "http/metrics.h"
#include "http_api.h"

/* How long PostgreSQL waits before it restarts a worker, in s. */
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

/* Opens the socket and registers the workers. If the port is not available, PostgreSQL starts without them. */
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
	const HttpApi *(*get_api)(void);

	if (!process_shared_preload_libraries_in_progress)
		return;
	/* The library session_files defines the settings. This call preloads it, if that has not been done. */
	get_api =
		(const HttpApi *(*) (void) ) load_external_function("session_files", "session_files_http_api", true, NULL);
	if (get_api()->version != HTTP_API_VERSION)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("the libraries session_files and session_files_http are not of the same version"),
		                errdetail("The one offers the interface %d, the other takes %d.", get_api()->version,
		                          HTTP_API_VERSION),
		                errhint("Install both from the same source.")));
	metrics_init();
	/* Not for clients: pg_upgrade's server, and a single-user backend. */
	if (!IsBinaryUpgrade && IsPostmasterEnvironment)
		start_serving(get_api()->settings);
}
