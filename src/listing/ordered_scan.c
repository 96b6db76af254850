/*
 * ordered_scan.c
 *		The files of a session in the order that a request asks for.
 *
 * Chooses the indexes and the bounds, and knows nothing of pages. An order consists of parts, each a range of one index:
 *
 *	created_at					files_pkey				(session, id)
 *	  with a filter				files_status_idx		(session, status, id)
 *	ingestion_status			files_status_idx		(session, status, id), a part for each status
 *	ingestion_status_reason		files_reason_idx		(session, (reason, id)), then the files without a
 *								reason: FINISHED and PENDING of files_status_idx, merged by id
 *	  of FAILED files			files_reason_idx
 *	  of others					files_status_idx
 *	name						files_name_idx			(session, name key)
 *	  with a filter				files_status_name_idx	(session, status, name key)
 *
 * Parts have ranks. Parts of one rank are merged by id; parts of different ranks follow each other. A bound is the position of a cursor's
 * file among all files of the session. It has a rank too: it cuts the parts of its rank, and excludes the parts on its other side.
 *
 * All parts are read under the active snapshot, so a file that changes its status meanwhile is not read twice, nor missed.
 *
 * The counts, of the same snapshot, say how many files a part has. When so many were read, its end is not looked for: behind the last
 * PENDING file there can be the dead index tuples of millions that were. A session without any counts is one that no trigger has
 * counted; it is read to its end.
 */
#include "compat.h"

#include "listing/ordered_scan.h"

#include "access/stratnum.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"

#include "index/name_key.h"
#include "index/scan.h"

#define MAX_PARTS 3
#define MAX_MERGED 2

/* The index column after session_id, or after session_id and ingestion_status. */
#define SECOND_COLUMN 2
#define THIRD_COLUMN 3

/* What the files of a part are ordered by. */
typedef enum PartKey
{
	KEY_ID,
	KEY_REASON_ID,
	KEY_NAME
} PartKey;

typedef struct Part
{
	int rank;
	Oid index;
	int status; /* the only status of the part, if its index has a column for it, or STATUS_ANY */
	PartKey key;
} Part;

/* A part that is being read. */
typedef struct Source
{
	KeyScan scan;
	int64 left;  /* how many files it has at most */
	bool loaded; /* the scan is at a file that was not returned yet */
	bool done;
} Source;

struct OrderedScan
{
	OrderedScanRequest request;
	ScanDirection direction;
	Part parts[MAX_PARTS];
	int part_count;
	int parts_done;
	Source sources[MAX_MERGED];
	int source_count;
	Source *current;
};

static bool
by_reason(const OrderedScanRequest *request)
{
	return request->field == FIELD_INGESTION_STATUS_REASON;
}

static void
add_part(OrderedScan *ordered, int rank, Oid index, int status, PartKey key)
{
	ordered->parts[ordered->part_count++] = (Part){rank, index, status, key};
}

/* Chooses the parts, in ascending order. */
static void
choose_parts(OrderedScan *ordered)
{
	const Catalog *catalog = ordered->request.catalog;
	int status = ordered->request.status;
	bool any = (status == STATUS_ANY);

	switch (ordered->request.field)
	{
		case FIELD_CREATED_AT:
			add_part(ordered, 0, any ? catalog->files_pkey : catalog->files_status_idx, status, KEY_ID);
			break;
		case FIELD_INGESTION_STATUS:
			for (int each = 0; each < STATUS_COUNT; each++)
			{
				if (any || status == each)
					add_part(ordered, each, catalog->files_status_idx, each, KEY_ID);
			}
			break;
		case FIELD_INGESTION_STATUS_REASON:
			if (any || status == STATUS_FAILED)
				add_part(ordered, 0, catalog->files_reason_idx, STATUS_ANY, KEY_REASON_ID);
			if (any || status == STATUS_FINISHED)
				add_part(ordered, 1, catalog->files_status_idx, STATUS_FINISHED, KEY_ID);
			if (any || status == STATUS_PENDING)
				add_part(ordered, 1, catalog->files_status_idx, STATUS_PENDING, KEY_ID);
			break;
		case FIELD_NAME:
			add_part(ordered, 0, any ? catalog->files_name_idx : catalog->files_status_name_idx, status, KEY_NAME);
			break;
	}
}

/* Returns the rank of a cursor's file. */
static int
bound_rank(const OrderedScanRequest *request, const FileRow *bound)
{
	if (by_reason(request))
		return bound->reason == REASON_NONE ? 1 : 0;
	if (request->field == FIELD_INGESTION_STATUS)
		return bound->status;
	return 0;
}

/* Bounds the scan of a part by a file's position. */
static void
add_bound(OrderedScan *ordered, const Part *part, KeyScan *scan, const FileRow *bound, bool is_lower)
{
	const Catalog *catalog = ordered->request.catalog;
	StrategyNumber strategy = is_lower ? BTGreaterStrategyNumber : BTLessStrategyNumber;
	AttrNumber column = part->status == STATUS_ANY ? SECOND_COLUMN : THIRD_COLUMN;

	switch (part->key)
	{
		case KEY_ID:
			scan_key_beyond(scan, column, strategy, is_lower ? F_UUID_GT : F_UUID_LT, UUIDPGetDatum(&bound->id));
			break;
		case KEY_REASON_ID:
			scan_key_row_beyond(scan, column, strategy, ObjectIdGetDatum(catalog->reasons[bound->reason]),
			                    UUIDPGetDatum(&bound->id));
			break;
		case KEY_NAME:
			scan_key_beyond(scan, column, strategy, is_lower ? F_BYTEAGT : F_BYTEALT,
			                PointerGetDatum(name_key(bound->name.bytes, bound->name.len)));
			break;
	}
}

/* Returns how many files a part has at most. */
static int64
count_files(const OrderedScanRequest *request, const Part *part)
{
	const int64 *by_status = request->counts->by_status;
	int64 files;

	if (request->counts->slots == 0)
		return PG_INT64_MAX;
	if (part->key == KEY_REASON_ID)
		files = by_status[STATUS_FAILED];
	else if (part->status != STATUS_ANY)
		files = by_status[part->status];
	else
		files = by_status[STATUS_FAILED] + by_status[STATUS_FINISHED] + by_status[STATUS_PENDING];
	return files;
}

/* Returns whether a part has no files, or is excluded by one of the bounds. */
static bool
is_ruled_out(const OrderedScan *ordered, const Part *part)
{
	const OrderedScanRequest *request = &ordered->request;

	return count_files(request, part) <= 0 ||
	       (request->lower != NULL && bound_rank(request, request->lower) > part->rank) ||
	       (request->upper != NULL && bound_rank(request, request->upper) < part->rank);
}

static void
open_source(OrderedScan *ordered, const Part *part)
{
	const OrderedScanRequest *request = &ordered->request;
	Source *source = &ordered->sources[ordered->source_count++];
	KeyScan *scan = &source->scan;

	source->left = count_files(request, part);
	source->loaded = false;
	source->done = false;
	scan_init(scan, request->files, part->index);
	scan_key_equal(scan, 1, F_UUID_EQ, UUIDPGetDatum(request->session_id));
	if (part->status != STATUS_ANY)
		scan_key_equal(scan, SECOND_COLUMN, F_ENUM_EQ, ObjectIdGetDatum(request->catalog->statuses[part->status]));
	if (request->lower != NULL && bound_rank(request, request->lower) == part->rank)
		add_bound(ordered, part, scan, request->lower, true);
	if (request->upper != NULL && bound_rank(request, request->upper) == part->rank)
		add_bound(ordered, part, scan, request->upper, false);
	scan_begin(scan, ordered->direction, (int) Min(request->wanted, source->left));
}

static void
close_sources(OrderedScan *ordered)
{
	for (int i = 0; i < ordered->source_count; i++)
		scan_end(&ordered->sources[i].scan);
	ordered->source_count = 0;
	ordered->current = NULL;
}

static const Part *
next_part(const OrderedScan *ordered)
{
	int i = ordered->parts_done;

	return &ordered->parts[ordered->request.ascending ? i : ordered->part_count - 1 - i];
}

/* Opens the parts of the next rank; false if there is none. */
static bool
open_next_sources(OrderedScan *ordered)
{
	int rank;

	close_sources(ordered);
	if (ordered->parts_done == ordered->part_count)
		return false;
	rank = next_part(ordered)->rank;
	while (ordered->parts_done < ordered->part_count && next_part(ordered)->rank == rank)
	{
		if (!is_ruled_out(ordered, next_part(ordered)))
			open_source(ordered, next_part(ordered));
		ordered->parts_done++;
	}
	return true;
}

/* Returns the id of a source's current file. The index of a source that is merged has the id in its third column. */
static pg_uuid_t *
source_id(Source *source)
{
	if (source->scan.has_row)
		return DatumGetUUIDP(scan_value(&source->scan, Anum_files_file_ingestion_id));
	return DatumGetUUIDP(scan_index_value(&source->scan, THIRD_COLUMN));
}

static bool
comes_first(const OrderedScan *ordered, Source *a, Source *b)
{
	int compared = uuid7_compare(source_id(a), source_id(b));

	return ordered->request.ascending ? compared < 0 : compared > 0;
}

/* Goes to the next file of the open sources; false at their end. */
static bool
advance_sources(OrderedScan *ordered, bool need_row)
{
	if (ordered->current != NULL)
		ordered->current->loaded = false;
	ordered->current = NULL;
	for (int i = 0; i < ordered->source_count; i++)
	{
		Source *source = &ordered->sources[i];

		if (!source->loaded && !source->done)
		{
			source->loaded = source->left-- > 0 && (need_row ? scan_next(&source->scan) : scan_skip(&source->scan));
			source->done = !source->loaded;
		}
		if (source->loaded && (ordered->current == NULL || comes_first(ordered, source, ordered->current)))
			ordered->current = source;
	}
	return ordered->current != NULL;
}

/* Goes to the next file of all parts; false at the end. */
static bool
advance_parts(OrderedScan *ordered, bool need_row)
{
	while (!advance_sources(ordered, need_row))
	{
		if (!open_next_sources(ordered))
			return false;
	}
	return true;
}

void
ordered_scan_read_row(const Catalog *catalog, TupleTableSlot *slot, FileRow *file)
{
	bool isnull;
	Datum value;
	text *name;

	slot_getsomeattrs(slot, Anum_files_name);
	memcpy(&file->id, DatumGetUUIDP(slot->tts_values[Anum_files_file_ingestion_id - 1]), sizeof(pg_uuid_t));
	file->status = catalog_status(catalog, DatumGetObjectId(slot->tts_values[Anum_files_ingestion_status - 1]));
	value = slot_getattr(slot, Anum_files_ingestion_status_reason, &isnull);
	file->reason = isnull ? REASON_NONE : catalog_reason(catalog, DatumGetObjectId(value));

	name = DatumGetTextPP(slot->tts_values[Anum_files_name - 1]);
	file->name.len = VARSIZE_ANY_EXHDR(name);
	file->name.bytes = memcpy(palloc(file->name.len + 1), VARDATA_ANY(name), file->name.len);
}

OrderedScan *
ordered_scan_open(const OrderedScanRequest *request)
{
	OrderedScan *ordered = palloc(sizeof(OrderedScan));

	ordered->request = *request;
	ordered->direction = request->ascending ? ForwardScanDirection : BackwardScanDirection;
	ordered->part_count = 0;
	ordered->parts_done = 0;
	ordered->source_count = 0;
	ordered->current = NULL;
	choose_parts(ordered);
	return ordered;
}

bool
ordered_scan_skip(OrderedScan *ordered)
{
	CHECK_FOR_INTERRUPTS();
	return advance_parts(ordered, false);
}

bool
ordered_scan_next(OrderedScan *ordered, FileRow *file)
{
	if (!advance_parts(ordered, true))
		return false;
	scan_read_row(&ordered->current->scan);
	ordered_scan_read_row(ordered->request.catalog, ordered->current->scan.slot, file);
	return true;
}

void
ordered_scan_close(OrderedScan *ordered)
{
	close_sources(ordered);
}
