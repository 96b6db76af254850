/*
 * maintenance.c
 *		The maintenance worker: calls session_files.maintain() at intervals.
 *
 * It runs where the library is preloaded, in the database that session_files.maintenance_database names, or else in the one that is served
 * over HTTP. If there is neither, a line in the log says so, and any scheduler can call maintain(). Each call is a transaction of its own,
 * and while there is more to do, calls follow each other. An error of a call is logged, and the worker goes on. In a database without the
 * extension it does nothing.
 */
#include "compat.h"

#include "ingestion/maintenance.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "catalog.h"
#include "settings.h"

/* How long the postmaster waits before it restarts a worker that has died, in seconds. */
#define RESTART_SECONDS 60

#define MAINTAIN "SELECT more FROM session_files.maintain()"

PGDLLEXPORT void maintenance_main(Datum arg);

/* Returns the worker's database, or NULL. The settings cannot change while the server runs. */
static const char *
database(void)
{
	if (settings_maintenance_database[0] != '\0')
		return settings_maintenance_database;
	return settings_http.workers > 0 ? settings_http.database : NULL;
}

/* Logs, once, that there is nothing to look after. */
static void
report_no_extension(void)
{
	static bool reported = false;

	if (!reported)
		ereport(
			LOG,
			(errmsg(
				 "the database \"%s\" does not have the extension session_files: until then there is nothing to maintain",
				 database()),
		     errhint("CREATE EXTENSION session_files in it, or set session_files.maintenance_database to another.")));
	reported = true;
}

/* Calls maintain() in a transaction; returns whether there is more to do. */
static bool
maintain(void)
{
	bool more = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (catalog_exists())
	{
		bool isnull;

		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, MAINTAIN);
		if (SPI_execute(MAINTAIN, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
			elog(ERROR, "maintain() returned no row");
		more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		SPI_finish();
		PopActiveSnapshot();
	}
	else
		report_no_extension();
	CommitTransactionCommand();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return more;
}

/* Calls maintain(). An error is logged, and its transaction rolled back. */
static bool
try_maintain(void)
{
	MemoryContext context = CurrentMemoryContext;
	bool more = false;

	PG_TRY();
	{
		more = maintain();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		pgstat_report_activity(STATE_IDLE, NULL);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return more;
}

/* The worker's main function. */
void
maintenance_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(database(), NULL, 0);
	for (;;)
	{
		bool paused;
		bool more;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		paused = settings_maintenance_interval == 0;
		more = !paused && try_maintain();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (paused ? 0 : WL_TIMEOUT),
		                 more ? 0 : settings_maintenance_interval * 1000L, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

void
maintenance_init(void)
{
	BackgroundWorker worker = {.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
	                           .bgw_start_time = BgWorkerStart_RecoveryFinished,
	                           .bgw_restart_time = RESTART_SECONDS};

	/* What is written while pg_upgrade reads or fills a cluster would be lost, or have transaction IDs that are assigned again. */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	if (database() == NULL)
	{
		if (settings_maintenance_interval > 0)
			ereport(LOG,
			        (errmsg("no database is set in which session_files expires sessions by itself"),
			         errhint("Set session_files.maintenance_database. If a scheduler calls session_files.maintain(), "
			                 "set session_files.maintenance_interval to 0.")));
		return;
	}
	strlcpy(worker.bgw_name, "session_files maintenance", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "session_files maintenance", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "session_files", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "maintenance_main", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
