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
#include "ingestion/counts.h"
#include "listing/request.h"

typedef struct FileRow
{
	pg_uuid_t id;
	int status; /* IngestionStatus */
	int reason; /* index into reason_labels, or REASON_NONE */
	Span name;
} FileRow;

typedef struct OrderedScan OrderedScan;

typedef struct OrderedScanRequest
{
	const Catalog *catalog;
	Relation files;
	const pg_uuid_t *session_id;
	const Counts *counts; /* of the session, under the same snapshot */
	ListField field;
	int status;           /* IngestionStatus, or STATUS_ANY */
	bool ascending;       /* the direction of the walk */
	const FileRow *lower; /* only files after it, in ascending order; NULL: no bound */
	const FileRow *upper; /* only files before it, in ascending order */
	int wanted;           /* so many files will be read or passed over; 0: any number, of which few are read */
} OrderedScanRequest;

extern OrderedScan *ordered_scan_open(const OrderedScanRequest *request);

/* Passes over the next file, without reading its row where the visibility map allows that; false at the end. */
extern bool ordered_scan_skip(OrderedScan *ordered);

/* Reads the next file; false at the end. */
extern bool ordered_scan_next(OrderedScan *ordered, FileRow *file);

extern void ordered_scan_close(OrderedScan *ordered);

/* Reads a row of files from a slot; the name is copied. */
extern void ordered_scan_read_row(const Catalog *catalog, TupleTableSlot *slot, FileRow *file);

#endif
