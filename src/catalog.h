/*
 * catalog.h
 *		OIDs of the extension's own relations, functions and enum labels, and the columns of its tables.
 */
#ifndef SESSION_FILES_CATALOG_H
#define SESSION_FILES_CATALOG_H

#include "compat.h"

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* Ingestion statuses in the order of their labels, which is the order of the enum. */
typedef enum IngestionStatus
{
	STATUS_FAILED,
	STATUS_FINISHED,
	STATUS_PENDING
} IngestionStatus;

/* Write modes of a session, also in the order of their labels. */
typedef enum WriteMode
{
	WRITE_MODE_FAIL,
	WRITE_MODE_KEEP,
	WRITE_MODE_OVERWRITE
} WriteMode;

#define STATUS_COUNT 3
#define REASON_COUNT 8
#define KIND_COUNT 5
#define WRITE_MODE_COUNT 3

/* How often to start again when the catalogs change while they are read. */
#define CATALOG_ATTEMPTS 10

/* Stands for "no filter" and "no reason". */
#define STATUS_ANY (-1)
#define REASON_NONE (-1)

/* The reasons that the triggers of the table files set: a name has over 800 characters, or exists already. */
#define REASON_NAME_TOO_LONG 2
#define REASON_ALREADY_EXISTS 3

extern const char *const status_labels[STATUS_COUNT];
extern const char *const reason_labels[REASON_COUNT];
extern const char *const kind_labels[KIND_COUNT];

/* Columns by position, as sql/parts creates them. */
#define Anum_upload_sessions_session_id 1
#define Anum_upload_sessions_workspace_name 2
#define Anum_upload_sessions_status 3
#define Anum_upload_sessions_write_mode 4
#define Anum_upload_sessions_expires_at 6
#define Anum_upload_sessions_priority 7

#define Anum_files_session_id 1
#define Anum_files_file_ingestion_id 2
#define Anum_files_ingestion_status 3
#define Anum_files_ingestion_status_reason 4
#define Anum_files_name 5
#define Anum_files_generation 6
#define Anum_files_name_hash 7
#define Anum_files_superseded_by 8
#define Anum_files_error 9
#define Anum_files_size 10 /* the details, side by side */
#define Anum_files_type 11
#define Anum_files_location 12
#define Anum_files_metadata 13

#define Anum_file_counts_session_id 1
#define Anum_file_counts_slot 2
#define Anum_file_counts_first_status 3 /* failed, finished, pending */
#define Anum_file_counts_digest 6

#define Anum_workspaces_name 1
#define Anum_workspaces_workspace_id 3

#define Anum_workspace_grants_role 2
#define Anum_workspace_grants_workspace_name 3
#define Anum_workspace_grants_kind 4

#define Anum_file_queue_row_id 1
#define Anum_file_queue_session_id 2
#define Anum_file_queue_workspace_name 3
#define Anum_file_queue_priority 4
#define Anum_file_queue_due_at 5
#define Anum_file_queue_file_ingestion_ids 6
#define Anum_file_queue_generation 7
#define Anum_file_queue_attempt 8
#define Anum_file_queue_claimed_at 9
#define Anum_file_queue_last_reason 10
#define Anum_file_queue_lease_token 11
#define Anum_file_queue_worker 12
#define Anum_file_queue_company 13

/* An index may be missing or invalid, so its field is only for catalog_open_index. */
typedef struct Catalog
{
	Oid upload_sessions;
	Oid upload_sessions_pkey;
	Oid files;
	Oid files_generation_seq;
	Oid files_pkey;
	Oid files_status_idx;
	Oid files_reason_idx;
	Oid files_name_idx;
	Oid files_status_name_idx;
	Oid file_counts;
	Oid file_counts_pkey;
	Oid file_queue;
	Oid file_queue_due_idx;
	Oid file_queue_new_idx;
	Oid file_queue_returned_idx;
	Oid file_queue_workspace_returned_idx;
	Oid workspaces;
	Oid workspaces_pkey;
	Oid workspace_grants;
	Oid workspace_grants_key;
	Oid schema;
	Oid handle_request; /* functions */
	Oid may_see_workspace;
	Oid may_see_session;
	Oid session_open; /* the label of session_status */
	Oid statuses[STATUS_COUNT];
	Oid reasons[REASON_COUNT];
	Oid kinds[KIND_COUNT];
	Oid write_modes[WRITE_MODE_COUNT];
} Catalog;

/* Registers the callbacks that invalidate the cache. To be called once, when the library is loaded. */
extern void catalog_init(void);

/* Returns whether this database has the extension's tables. */
extern bool catalog_exists(void);

/*
 * Returns the OIDs, which are true until the next lock is taken. A caller that goes on to an index calls this again once it has locked
 * the index's table: while it waited, REINDEX CONCURRENTLY may have put another index in its place. Raises 42704 when the extension is
 * not in the database, 55000 when its tables are not those that this library knows.
 */
extern const Catalog *catalog_get(void);

/* Opens an index by its field in Catalog. Its table is locked. Raises 55000, with the index's name, when it is missing or invalid. */
extern Relation catalog_open_index(Oid oid, LOCKMODE mode);

/* Returns whether what catalog_get returned last is still true. */
extern bool catalog_is_current(void);

/* Returns whether the current user may call session_files.handle_request. */
extern bool catalog_may_handle_requests(void);

extern int catalog_status(const Catalog *catalog, Oid label);
extern int catalog_reason(const Catalog *catalog, Oid label);
extern int catalog_kind(const Catalog *catalog, Oid label);

#endif
