/*
 * lease.h
 *		Calls of a worker about files that it holds.
 */
#ifndef SESSION_FILES_LEASE_H
#define SESSION_FILES_LEASE_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog.h"
#include "ingestion/queue.h"
#include "owner.h"

/* What a call becomes for a file. */
typedef struct Outcome
{
	pg_uuid_t id;
	bool has_session; /* else it is not known in which session the file would be */
	pg_uuid_t session_id;
	bool changed;
	int status; /* STATUS_ANY: there is no such file */
	int reason;
	bool has_time; /* when it can be claimed again, or its lease ends */
	TimestampTz time;
} Outcome;

/* A call: for files of a session, or of all sessions of a lease. */
typedef struct LeaseCall
{
	Catalog catalog;
	Relation files;
	Relation file_queue;
	bool has_session;
	pg_uuid_t session_id;
	bool has_token;
	pg_uuid_t token;
	pg_uuid_t *ids; /* sorted, each once */
	int count;
	Outcome *outcomes; /* by id */
	Caller caller;
} LeaseCall;

/* Files that a lease held, with the rest of their row. */
typedef struct HeldFiles
{
	QueueRow row;
	pg_uuid_t *ids;
	int count;
} HeldFiles;

/*
 * Begins a call with the arguments session_id, file_ingestion_ids and, by its number, lease_token; goes on as the owner of the tables. Raises
 * 22004 for NULLs: session_id may be NULL if there is a token.
 */
extern void lease_begin_call(LeaseCall *call, FunctionCallInfo fcinfo, int token_argument);

/* Takes the call's files out of the lease; returns a list of HeldFiles. */
extern List *lease_leave(LeaseCall *call);

/* Finds what becomes of a file. */
extern Outcome *lease_outcome(LeaseCall *call, const pg_uuid_t *id);

/* Ends being the owner. */
extern void lease_end_call(LeaseCall *call);

/* Returns when a lease of this duration, from now, ends. Raises 22004 for NULL, 22023 unless it is more than 0 and at most 1 year. */
extern TimestampTz lease_end(FunctionCallInfo fcinfo, int argument);

#endif
