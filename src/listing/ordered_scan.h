/*
 * ordered_scan.h
 *		The files of a session in the order that a request asks for.
 */
#ifndef SESSION_FILES_ORDERED_SCAN_H
#define SESSION_FILES_ORDERED_SCAN_H

#include "compat.h"

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "catalog.h"
#include "listing/request.h"

typedef struct FileEntry
{
	pg_uuid_t id;
	int status; /* IngestionStatus */
	int reason; /* index into reason_labels, or REASON_NONE */
	Span name;
} FileEntry;

typedef struct Order Order;

typedef struct OrderRequest
{
	const Catalog *catalog;
	Relation files;
	const pg_uuid_t *session_id;
	ListField field;
	int status;             /* IngestionStatus, or STATUS_ANY */
	bool ascending;         /* the direction of travel */
	const FileEntry *lower; /* only what is above it, in ascending order; NULL: no bound */
	const FileEntry *upper; /* only what is below it */
	int wanted;             /* how many files, at most: order_next will be called no more often */
	bool skips;             /* order_skip will be called */
} OrderRequest;

extern Order *order_open(const OrderRequest *request);

/* Passes over the next file, by the index alone where that can be; false at the end. */
extern bool order_skip(Order *order);

/* Reads the next file; false at the end. */
extern bool order_next(Order *order, FileEntry *entry);

extern void order_close(Order *order);

/* Reads a row of files from a slot; the name is copied. */
extern void order_read_row(const Catalog *catalog, TupleTableSlot *slot, FileEntry *entry);

#endif
