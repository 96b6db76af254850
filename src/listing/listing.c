/*
 * listing.c
 *		Reads a page of a session's files, and their total, under one snapshot.
 *
 * Opens the tables, finds the session and the files of the cursors, reads the counts, and walks the files in order: from the cursor, from
 * the start or, for a late page, from the end.
 *
 * All of it is read under the active snapshot: so page, total and entity tag belong together, whatever other transactions commit
 * meanwhile. A role needs no right on the tables: a grant of any kind lets it see the session (access.c). It takes AccessShareLock on the
 * tables, as a query does.
 */
#include "compat.h"

#include "listing/listing.h"

#include "access/relation.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "access.h"
#include "index/scan.h"
#include "ingestion/counts.h"
#include "listing/etag.h"

typedef struct Tables
{
	Catalog catalog;
	Relation upload_sessions;
	Relation files;
	Relation file_counts;
} Tables;

static void
close_table(Relation *table)
{
	/* The lock stays until the transaction ends, as for any query. */
	if (*table != NULL)
		relation_close(*table, NoLock);
	*table = NULL;
}

static void
close_tables(Tables *tables)
{
	close_table(&tables->file_counts);
	close_table(&tables->files);
	close_table(&tables->upload_sessions);
}

/* Opens the tables. Starts again when the extension is dropped and created meanwhile. */
static void
open_tables(Tables *tables)
{
	for (int attempt = 0; attempt < CATALOG_ATTEMPTS; attempt++)
	{
		tables->catalog = *catalog_get();
		tables->upload_sessions = try_relation_open(tables->catalog.upload_sessions, AccessShareLock);
		tables->files = try_relation_open(tables->catalog.files, AccessShareLock);
		tables->file_counts = try_relation_open(tables->catalog.file_counts, AccessShareLock);
		if (tables->upload_sessions && tables->files && tables->file_counts &&
		    (catalog_is_current() || attempt == CATALOG_ATTEMPTS - 1))
			return;
		close_tables(tables);
	}
	ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("the tables of the extension session_files keep changing")));
}

/* Sets up access for the sessions. Returns false if the current user has policies on files that a listing cannot apply. */
static bool
may_list(const Tables *tables, Access *access)
{
	access_begin(access, &tables->catalog, tables->upload_sessions, KIND_ANY);
	return access_covers(access, tables->files);
}

/* Finds the session in the workspace, or in any if that has no bytes, and when it expires. A session that the user may not see is not found. */
static bool
find_session(Tables *tables, const Access *access, Span workspace_name, const pg_uuid_t *session_id,
             TimestampTz *expires_at)
{
	KeyScan scan;
	bool found;

	found = scan_find(&scan, tables->upload_sessions, tables->catalog.upload_sessions_pkey, session_id);
	if (found)
	{
		text *value = DatumGetTextPP(scan_value(&scan, Anum_upload_sessions_workspace_name));
		Span name = {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};

		found = (workspace_name.bytes == NULL ||
		         (name.len == workspace_name.len && memcmp(name.bytes, workspace_name.bytes, name.len) == 0)) &&
		        access_may_see(access, session_id, name);
		*expires_at = DatumGetTimestampTz(scan_value(&scan, Anum_upload_sessions_expires_at));
	}
	scan_end(&scan);
	return found;
}

/* Finds a file of the session. */
static bool
find_file(Tables *tables, const pg_uuid_t *session_id, const pg_uuid_t *id, FileRow *file)
{
	KeyScan scan;
	bool found;

	scan_init(&scan, tables->files, tables->catalog.files_pkey);
	scan_key_equal(&scan, 1, F_UUID_EQ, UUIDPGetDatum(session_id));
	scan_key_equal(&scan, 2, F_UUID_EQ, UUIDPGetDatum(id));
	scan_begin(&scan, ForwardScanDirection, 1);
	found = scan_next(&scan);
	if (found)
		ordered_scan_read_row(&tables->catalog, scan.slot, file);
	scan_end(&scan);
	return found;
}

/* Reads the total, and makes the entity tag. */
static void
read_counts(Tables *tables, const ListRequest *request, ListPage *page)
{
	const Counts *counts = &page->counts;

	counts_read(&tables->catalog, tables->file_counts, &request->session_id, &page->counts);
	for (int status = 0; status < STATUS_COUNT; status++)
	{
		if (request->status == STATUS_ANY || request->status == status)
			page->total += counts->by_status[status];
	}
	etag_make(counts->digest, page->expires_at, page->etag);
}

static void
reverse(FileRow *files, int count)
{
	for (int i = 0, j = count - 1; i < j; i++, j--)
	{
		FileRow swap = files[i];

		files[i] = files[j];
		files[j] = swap;
	}
}

/* What a file takes on a page, besides its name, in bytes. */
#define FILE_SIZE 160

/* To pass over more files than this, it pays to ask the visibility map, which an index scan can. */
#define FEW_SKIPPED 100

/* How to walk to a page. */
typedef struct Walk
{
	bool backward; /* against the requested order; the files are reversed afterwards */
	bool peeks;    /* looks whether another file follows, which the counts do not say */
	int64 skip;
	int take;
} Walk;

/* Reads files until the page has so many; returns false if they take more than the room. */
static bool
fill_page(OrderedScan *ordered, int take, int64 room, bool *more, ListPage *page)
{
	while (*more && page->count < take)
	{
		*more = ordered_scan_next(ordered, &page->files[page->count]);
		if (!*more)
			break;
		room -= page->files[page->count++].name.len + FILE_SIZE;
		if (room < 0)
			return false;
	}
	return true;
}

/* Walks and fills the page. Returns false if the files take more than the room. */
static bool
walk_page(Tables *tables, const ListRequest *request, const FileRow *before, const FileRow *after, const Walk *walk,
          ListPage *page)
{
	OrderedScanRequest scan_request = {.catalog = &tables->catalog,
	                                   .files = tables->files,
	                                   .session_id = &request->session_id,
	                                   .counts = &page->counts,
	                                   .field = request->field,
	                                   .status = request->status,
	                                   .ascending = (request->descending == walk->backward),
	                                   .lower = request->descending ? before : after,
	                                   .upper = request->descending ? after : before,
	                                   .wanted =
	                                       walk->skip > FEW_SKIPPED ? 0 : (int) walk->skip + walk->take + walk->peeks};
	OrderedScan *ordered = ordered_scan_open(&scan_request);
	FileRow beyond;
	bool more = true;
	bool has_room;

	for (int64 skipped = 0; more && skipped < walk->skip; skipped++)
		more = ordered_scan_skip(ordered);
	has_room = fill_page(ordered, walk->take, request->room, &more, page);
	if (walk->peeks)
		page->has_more = has_room && more && ordered_scan_next(ordered, &beyond);
	ordered_scan_close(ordered);
	if (walk->backward)
		reverse(page->files, page->count);
	return has_room;
}

/* Reads the page that the cursors ask for. */
static bool
read_page_at_cursor(Tables *tables, const ListRequest *request, const FileRow *before, const FileRow *after,
                    ListPage *page)
{
	Walk walk = {.backward = (after == NULL), .peeks = true, .take = request->limit};

	return walk_page(tables, request, before, after, &walk, page);
}

/* Reads a page by its number, from the nearer end. */
static bool
read_numbered_page(Tables *tables, const ListRequest *request, ListPage *page)
{
	/* A session without any counts is one that no trigger has counted. */
	Walk walk = {.peeks = (page->counts.slots == 0), .take = request->limit};
	int64 left;

	if (request->limit > 0)
	{
		if (request->page_number - 1 > page->total / request->limit)
			return true;
		walk.skip = (request->page_number - 1) * request->limit;
	}
	left = page->total - walk.skip;
	if (walk.skip > 0 && left <= 0)
		return true;
	page->has_more = left > walk.take;
	if (left < walk.skip)
	{
		walk.backward = true;
		walk.take = (int) Min(request->limit, left);
		walk.skip = left - walk.take;
	}
	return walk_page(tables, request, NULL, NULL, &walk, page);
}

/* Reads the page of a session that exists. */
static ListingOutcome
read_session(Tables *tables, const ListRequest *request, ListPage *page)
{
	FileRow before;
	FileRow after;
	bool has_room;

	page->unknown_before = request->has_before && !find_file(tables, &request->session_id, &request->before, &before);
	page->unknown_after = request->has_after && !find_file(tables, &request->session_id, &request->after, &after);
	if (page->unknown_before || page->unknown_after)
		return LISTING_NO_CURSOR;

	page->count = 0;
	page->has_more = false;
	page->total = 0;
	read_counts(tables, request, page);
	if (etag_is_listed(request->if_none_match, page->etag))
		return LISTING_NOT_MODIFIED;
	if (request->has_before || request->has_after)
		has_room = read_page_at_cursor(tables, request, request->has_before ? &before : NULL,
		                               request->has_after ? &after : NULL, page);
	else
		has_room = read_numbered_page(tables, request, page);
	return has_room ? LISTING_DONE : LISTING_TOO_LARGE;
}

ListingOutcome
listing_read(Span workspace_name, const ListRequest *request, ListPage *page)
{
	Tables tables;
	Access access;
	ListingOutcome outcome;

	open_tables(&tables);
	if (!may_list(&tables, &access))
		outcome = LISTING_FORBIDDEN;
	else if (!find_session(&tables, &access, workspace_name, &request->session_id, &page->expires_at))
		outcome = LISTING_NO_SESSION;
	else
		outcome = read_session(&tables, request, page);
	close_tables(&tables);
	return outcome;
}

ListingOutcome
listing_count(const pg_uuid_t *session_id, Counts *counts)
{
	Tables tables;
	Access access;
	TimestampTz expires_at;
	ListingOutcome outcome = LISTING_DONE;

	open_tables(&tables);
	if (!may_list(&tables, &access))
		outcome = LISTING_FORBIDDEN;
	else if (!find_session(&tables, &access, (Span){NULL, 0}, session_id, &expires_at))
		outcome = LISTING_NO_SESSION;
	else
		counts_read(&tables.catalog, tables.file_counts, session_id, counts);
	close_tables(&tables);
	return outcome;
}
