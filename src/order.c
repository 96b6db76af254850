/*
 * order.c
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
 *
 * Keys of names of over 800 characters say only where the group that shares the first 800 is: such
 * a group is read as a whole and sorted here.
 */
#include "compat.h"

#include "order.h"

#include "access/stratnum.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "name_key.h"
#include "scan.h"

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
	/* Files whose names share their first 800 characters, sorted; group_next is the next one. */
	FileEntry *group;
	int group_count;
	int group_next;
	int group_size;
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

static bool
has_long_name(const FileEntry *entry)
{
	return name_prefix_len(entry->name.bytes, entry->name.len, NAME_MAX_CHARS) < entry->name.len;
}

/* Returns the key that bounds names; that of a whole group where keys do not order names. */
static bytea *
name_bound(const FileEntry *bound, bool is_lower)
{
	if (has_long_name(bound))
		return name_key_group_bound(bound->name.bytes, bound->name.len, !is_lower);
	return name_key(bound->name.bytes, bound->name.len);
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
			                PointerGetDatum(name_bound(bound, is_lower)));
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

static void
read_current(Order *order, FileEntry *entry)
{
	scan_read_row(&order->current->scan);
	order_read_row(order->request.catalog, order->current->scan.slot, entry);
}

/* Tells whether the current entry belongs to a group of long names; by its key if there may be no row. */
static bool
stands_on_group(Order *order)
{
	KeyScan *scan = &order->current->scan;
	Datum value;
	struct varlena *bytes;
	bool is_long;

	if (order->request.field != FIELD_NAME)
		return false;
	if (order->request.skips)
	{
		value = scan_index_value(scan, order->request.status == STATUS_ANY ? SECOND_COLUMN : THIRD_COLUMN);
		bytes = PG_DETOAST_DATUM_PACKED(value);
		is_long = name_key_is_long(bytes);
	}
	else
	{
		int len;

		value = scan_value(scan, Anum_files_name);
		bytes = PG_DETOAST_DATUM_PACKED(value);
		len = VARSIZE_ANY_EXHDR(bytes);
		is_long = name_prefix_len(VARDATA_ANY(bytes), len, NAME_MAX_CHARS) < len;
	}
	if ((Pointer) bytes != DatumGetPointer(value))
		pfree(bytes);
	return is_long;
}

static int
compare_names(const FileEntry *a, const FileEntry *b)
{
	int compared;

	/* As tuplesort does: a group can be large, and one of its names long. */
	CHECK_FOR_INTERRUPTS();
	compared = memcmp(a->name.bytes, b->name.bytes, Min(a->name.len, b->name.len));

	return compared != 0 ? compared : a->name.len - b->name.len;
}

static int
ascending_names(const void *a, const void *b)
{
	return compare_names(a, b);
}

static int
descending_names(const void *a, const void *b)
{
	return compare_names(b, a);
}

static void
add_to_group(Order *order, const FileEntry *entry)
{
	const OrderRequest *request = &order->request;

	if ((request->lower != NULL && compare_names(entry, request->lower) <= 0) ||
	    (request->upper != NULL && compare_names(entry, request->upper) >= 0))
		return;
	if (order->group_count == order->group_size)
	{
		order->group_size = Max(2 * order->group_size, 16);
		if (order->group == NULL)
			order->group = palloc(order->group_size * sizeof(FileEntry));
		else
			order->group = repalloc_huge(order->group, order->group_size * sizeof(FileEntry));
	}
	order->group[order->group_count++] = *entry;
}

/* Reads the group that the current entry begins, and sorts what the bounds leave of it. */
static void
read_group(Order *order)
{
	Source *source = order->current;
	FileEntry entry;
	Span prefix;

	read_current(order, &entry);
	prefix = entry.name;
	prefix.len = name_prefix_len(prefix.bytes, prefix.len, NAME_MAX_CHARS);
	order->group_count = 0;
	order->group_next = 0;
	do
	{
		CHECK_FOR_INTERRUPTS();
		add_to_group(order, &entry);
		source->loaded = scan_next(&source->scan);
		source->done = !source->loaded;
		if (source->loaded)
			read_current(order, &entry);
	} while (source->loaded && entry.name.len > prefix.len && memcmp(entry.name.bytes, prefix.bytes, prefix.len) == 0);
	/* The entry behind the group, if any, is still to come. */
	order->current = NULL;
	if (order->group_count > 1)
		qsort(order->group, order->group_count, sizeof(FileEntry),
		      order->request.ascending ? ascending_names : descending_names);
}

/* Goes to the next file: the current entry, or the one before group_next. False at the end. */
static bool
advance(Order *order, bool need_row)
{
	while (order->group_next == order->group_count)
	{
		if (!advance_parts(order, need_row))
			return false;
		if (!stands_on_group(order))
			return true;
		read_group(order);
	}
	order->group_next++;
	return true;
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
	order->group = NULL;
	order->group_count = 0;
	order->group_next = 0;
	order->group_size = 0;
	choose_parts(order);
	return order;
}

bool
order_skip(Order *order)
{
	CHECK_FOR_INTERRUPTS();
	return advance(order, false);
}

bool
order_next(Order *order, FileEntry *entry)
{
	if (!advance(order, true))
		return false;
	if (order->current != NULL)
		read_current(order, entry);
	else
		*entry = order->group[order->group_next - 1];
	return true;
}

void
order_close(Order *order)
{
	close_sources(order);
}
