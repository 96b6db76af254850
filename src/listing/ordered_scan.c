/*
 * ordered_scan.c
 *		The files of a session in the order that a request asks for.
 *
 * Chooses the index and the bounds. An order is made of parts, each a range of one index:
 *
 *	created_at					files_pkey				(session, id)
 *	  with a filter				files_status_idx		(session, status, id)
 *	ingestion_status			files_status_idx		(session, (status, id))
 *	ingestion_status_reason		files_reason_idx		(session, (reason, id)), then, all of
 *								no reason, the FINISHED and the PENDING of files_status_idx merged by id
 *	  of FAILED files			files_reason_idx
 *	  of others					files_status_idx
 *	name						files_name_idx			(session, name key)
 *	  with a filter				files_status_name_idx	(session, status, name key)
 *
 * Parts have ranks; those of one rank are merged by id, those of different ranks follow one
 * another. A bound, the position of a cursor's file in the whole session, has a rank too: it cuts
 * the parts of its own rank and rules out those on its wrong side.
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

/* The index column behind session_id, or behind session_id and ingestion_status. */
#define SECOND_COLUMN 2
#define THIRD_COLUMN 3

/* What orders the entries of a part. */
typedef enum PartKey
{
	KEY_ID,
	KEY_LABEL_ID, /* a status or reason, then the id */
	KEY_NAME
} PartKey;

typedef struct Part
{
	int rank;
	Oid index;
	int status; /* the part's only status, if the index has it first, or STATUS_ANY */
	PartKey key;
} Part;

/* A part under way. */
typedef struct Source
{
	KeyScan scan;
	bool loaded; /* the scan stands on an entry that was not yet passed on */
	bool done;
} Source;

struct Order
{
	OrderRequest request;
	ScanDirection direction;
	Part parts[MAX_PARTS];
	int part_count;
	int parts_done;
	Source sources[MAX_MERGED];
	int source_count;
	Source *current;
};

static bool
by_reason(const OrderRequest *request)
{
	return request->field == FIELD_INGESTION_STATUS_REASON;
}

static void
add_part(Order *order, int rank, Oid index, int status, PartKey key)
{
	order->parts[order->part_count++] = (Part){rank, index, status, key};
}

/* Chooses the parts, in ascending order. */
static void
choose_parts(Order *order)
{
	const Catalog *catalog = order->request.catalog;
	int status = order->request.status;
	bool any = (status == STATUS_ANY);

	switch (order->request.field)
	{
		case FIELD_CREATED_AT:
			add_part(order, 0, any ? catalog->files_pkey : catalog->files_status_idx, status, KEY_ID);
			break;
		case FIELD_INGESTION_STATUS:
			if (any)
				add_part(order, 0, catalog->files_status_idx, STATUS_ANY, KEY_LABEL_ID);
			else
				add_part(order, status, catalog->files_status_idx, status, KEY_ID);
			break;
		case FIELD_INGESTION_STATUS_REASON:
			if (any || status == STATUS_FAILED)
				add_part(order, 0, catalog->files_reason_idx, STATUS_ANY, KEY_LABEL_ID);
			if (any || status == STATUS_FINISHED)
				add_part(order, 1, catalog->files_status_idx, STATUS_FINISHED, KEY_ID);
			if (any || status == STATUS_PENDING)
				add_part(order, 1, catalog->files_status_idx, STATUS_PENDING, KEY_ID);
			break;
		case FIELD_NAME:
			add_part(order, 0, any ? catalog->files_name_idx : catalog->files_status_name_idx, status, KEY_NAME);
			break;
	}
}

/* Returns the rank among the parts that a cursor's file has. */
static int
bound_rank(const OrderRequest *request, const FileEntry *bound)
{
	if (by_reason(request))
		return bound->reason == REASON_NONE ? 1 : 0;
	if (request->field == FIELD_INGESTION_STATUS && request->status != STATUS_ANY)
		return bound->status;
	return 0;
}

/* Adds to a scan of a part that it ends at a file's position. */
static void
add_bound(Order *order, const Part *part, KeyScan *scan, const FileEntry *bound, bool is_lower)
{
	const Catalog *catalog = order->request.catalog;
	StrategyNumber strategy = is_lower ? BTGreaterStrategyNumber : BTLessStrategyNumber;
	AttrNumber column = part->status == STATUS_ANY ? SECOND_COLUMN : THIRD_COLUMN;
	Oid label;

	switch (part->key)
	{
		case KEY_ID:
			scan_key_beyond(scan, column, strategy, is_lower ? F_UUID_GT : F_UUID_LT, UUIDPGetDatum(&bound->id));
			break;
		case KEY_LABEL_ID:
			label = by_reason(&order->request) ? catalog->reasons[bound->reason] : catalog->statuses[bound->status];
			scan_key_row_beyond(scan, column, strategy, ObjectIdGetDatum(label), UUIDPGetDatum(&bound->id));
			break;
		case KEY_NAME:
			scan_key_beyond(scan, column, strategy, is_lower ? F_BYTEAGT : F_BYTEALT,
			                PointerGetDatum(name_key(bound->name.bytes, bound->name.len)));
			break;
	}
}

/* Tells whether a part lies wholly beyond one of the bounds. */
static bool
is_ruled_out(const Order *order, const Part *part)
{
	const OrderRequest *request = &order->request;

	return (request->lower != NULL && bound_rank(request, request->lower) > part->rank) ||
	       (request->upper != NULL && bound_rank(request, request->upper) < part->rank);
}

static void
open_source(Order *order, const Part *part)
{
	const OrderRequest *request = &order->request;
	Source *source = &order->sources[order->source_count++];
	KeyScan *scan = &source->scan;

	source->loaded = false;
	source->done = false;
	scan_init(scan, request->files, part->index);
	scan_key_equal(scan, 1, F_UUID_EQ, UUIDPGetDatum(request->session_id));
	if (part->status != STATUS_ANY)
		scan_key_equal(scan, SECOND_COLUMN, F_ENUM_EQ, ObjectIdGetDatum(request->catalog->statuses[part->status]));
	if (request->lower != NULL && bound_rank(request, request->lower) == part->rank)
		add_bound(order, part, scan, request->lower, true);
	if (request->upper != NULL && bound_rank(request, request->upper) == part->rank)
		add_bound(order, part, scan, request->upper, false);
	scan_begin(scan, order->direction, request->skips ? 0 : request->wanted);
}

static void
close_sources(Order *order)
{
	for (int i = 0; i < order->source_count; i++)
		scan_end(&order->sources[i].scan);
	order->source_count = 0;
	order->current = NULL;
}

static const Part *
next_part(const Order *order)
{
	int i = order->parts_done;

	return &order->parts[order->request.ascending ? i : order->part_count - 1 - i];
}

/* Goes on to the parts of the next rank; false when there is none. */
static bool
open_next_sources(Order *order)
{
	int rank;

	close_sources(order);
	if (order->parts_done == order->part_count)
		return false;
	rank = next_part(order)->rank;
	while (order->parts_done < order->part_count && next_part(order)->rank == rank)
	{
		if (!is_ruled_out(order, next_part(order)))
			open_source(order, next_part(order));
		order->parts_done++;
	}
	return true;
}

/* Returns the id of the entry that a source stands on. Sources that are merged begin with a status. */
static pg_uuid_t *
source_id(Source *source)
{
	if (source->scan.has_row)
		return DatumGetUUIDP(scan_value(&source->scan, Anum_files_file_ingestion_id));
	return DatumGetUUIDP(scan_index_value(&source->scan, THIRD_COLUMN));
}

static bool
comes_first(const Order *order, Source *a, Source *b)
{
	int compared = uuid7_compare(source_id(a), source_id(b));

	return order->request.ascending ? compared < 0 : compared > 0;
}

/* Goes to the next entry of the sources; false when they have no more. */
static bool
advance_sources(Order *order, bool need_row)
{
	if (order->current != NULL)
		order->current->loaded = false;
	order->current = NULL;
	for (int i = 0; i < order->source_count; i++)
	{
		Source *source = &order->sources[i];

		if (!source->loaded && !source->done)
		{
			source->loaded = need_row ? scan_next(&source->scan) : scan_skip(&source->scan);
			source->done = !source->loaded;
		}
		if (source->loaded && (order->current == NULL || comes_first(order, source, order->current)))
			order->current = source;
	}
	return order->current != NULL;
}

/* Goes to the next entry of the parts; false at the end of the order. */
static bool
advance_parts(Order *order, bool need_row)
{
	while (!advance_sources(order, need_row))
	{
		if (!open_next_sources(order))
			return false;
	}
	return true;
}

void
order_read_row(const Catalog *catalog, TupleTableSlot *slot, FileEntry *entry)
{
	bool isnull;
	Datum value;
	text *name;

	slot_getsomeattrs(slot, Anum_files_name);
	memcpy(&entry->id, DatumGetUUIDP(slot->tts_values[Anum_files_file_ingestion_id - 1]), sizeof(pg_uuid_t));
	entry->status = catalog_status(catalog, DatumGetObjectId(slot->tts_values[Anum_files_ingestion_status - 1]));
	value = slot_getattr(slot, Anum_files_ingestion_status_reason, &isnull);
	entry->reason = isnull ? REASON_NONE : catalog_reason(catalog, DatumGetObjectId(value));

	name = DatumGetTextPP(slot->tts_values[Anum_files_name - 1]);
	entry->name.len = VARSIZE_ANY_EXHDR(name);
	entry->name.bytes = memcpy(palloc(entry->name.len + 1), VARDATA_ANY(name), entry->name.len);
}

Order *
order_open(const OrderRequest *request)
{
	Order *order = palloc(sizeof(Order));

	order->request = *request;
	order->direction = request->ascending ? ForwardScanDirection : BackwardScanDirection;
	order->part_count = 0;
	order->parts_done = 0;
	order->source_count = 0;
	order->current = NULL;
	choose_parts(order);
	return order;
}

bool
order_skip(Order *order)
{
	CHECK_FOR_INTERRUPTS();
	return advance_parts(order, false);
}

bool
order_next(Order *order, FileEntry *entry)
{
	if (!advance_parts(order, true))
		return false;
	scan_read_row(&order->current->scan);
	order_read_row(order->request.catalog, order->current->scan.slot, entry);
	return true;
}

void
order_close(Order *order)
{
	close_sources(order);
}
