/*
 * session_files_http.c
 *		The library's entry: an HTTP server inside PostgreSQL.
 *
 * Does nothing unless it is preloaded by the server.
 */
#include "../compat.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "../entry.h"
#include "launcher.h"
#include "metrics.h"

PG_MODULE_MAGIC;

void _PG_init(void);

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
	launcher_init();
}
