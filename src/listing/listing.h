/*
 * listing.h
 *		Reads a page of a session's files, and their total, under one snapshot.
 */
#ifndef SESSION_FILES_LISTING_H
#define SESSION_FILES_LISTING_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "ingestion/counts.h"
#include "listing/etag.h"
#include "listing/ordered_scan.h"
#include "listing/request.h"

typedef enum ListingOutcome
{
	LISTING_DONE,
	LISTING_NOT_MODIFIED, /* the caller has this version; the page is not read */
	LISTING_FORBIDDEN,    /* an administrator gave the table files policies */
	LISTING_NO_SESSION,   /* no such session in the workspace */
	LISTING_NO_CURSOR,    /* a cursor is no file of the session */
	LISTING_TOO_LARGE     /* the page is larger than the request's room */
} ListingOutcome;

typedef struct ListPage
{
	TimestampTz expires_at;
	char etag[ETAG_LEN + 1]; /* with LISTING_DONE and LISTING_NOT_MODIFIED */
	bool unknown_before;     /* with LISTING_NO_CURSOR: which one */
	bool unknown_after;
	int count;
	FileRow files[LIMIT_MAX];
	bool has_more;
	Counts counts; /* of the session */
	int64 total;
} ListPage;

/* Reads under the active snapshot. */
extern ListingOutcome listing_read(Span workspace_name, const ListRequest *request, ListPage *page);

/* Counts a session's files under the active snapshot: LISTING_DONE, LISTING_FORBIDDEN or LISTING_NO_SESSION. */
extern ListingOutcome listing_count(const pg_uuid_t *session_id, Counts *counts);

#endif
