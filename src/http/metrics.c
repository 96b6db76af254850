/*
 * metrics.c
 *		The counters of the HTTP workers, in shared memory.
 *
 * Each worker has a row that only it writes, so no lock is needed: readers may see one counter before another. A row outlives its worker,
 * so counters only go up until the server restarts.
 */
#include "http/metrics.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "settings.h"

/* The statuses that have a counter each. All others share one. */
static const int statuses[] = {200, 204, 304, 400, 401, 403, 404, 405, 411, 413, 414, 422, 431, 500, 503};

/* Upper bounds of the histogram's buckets, in microseconds, and in the text format. */
static const struct
{
	int64 microseconds;
	const char *seconds;
} buckets[] = {
	{10, "0.00001"}, {25, "0.000025"}, {50, "0.00005"}, {100, "0.0001"}, {250, "0.00025"}, {500, "0.0005"},
	{1000, "0.001"}, {2500, "0.0025"}, {5000, "0.005"}, {10000, "0.01"}, {25000, "0.025"}, {50000, "0.05"},
	{100000, "0.1"}, {250000, "0.25"}, {500000, "0.5"}, {1000000, "1"},  {2500000, "2.5"}, {5000000, "5"},
};

/* A worker's counters. */
typedef struct Row
{
	pid_t pid; /* 0: the worker does not run */
	pg_atomic_uint64 starts;
	pg_atomic_uint64 by_status[lengthof(statuses) + 1];
	pg_atomic_uint64 by_duration[lengthof(buckets) + 1];
	pg_atomic_uint64 microseconds;
	pg_atomic_uint64 connections;
	pg_atomic_uint64 unread;
	pg_atomic_uint64 dropped;
	pg_atomic_uint64 dropped_before; /* by the processes before this one */
	pg_atomic_uint64 no_room;
} Row;

typedef struct Shared
{
	Row rows[HTTP_MAX_WORKERS];
} Shared;

static Shared *shared = NULL;
static Row *own = NULL;

static shmem_startup_hook_type previous_startup = NULL;

static void
init_row(Row *row)
{
	for (int status = 0; status <= lengthof(statuses); status++)
		pg_atomic_init_u64(&row->by_status[status], 0);
	for (int bucket = 0; bucket <= lengthof(buckets); bucket++)
		pg_atomic_init_u64(&row->by_duration[bucket], 0);
	pg_atomic_init_u64(&row->starts, 0);
	pg_atomic_init_u64(&row->microseconds, 0);
	pg_atomic_init_u64(&row->connections, 0);
	pg_atomic_init_u64(&row->unread, 0);
	pg_atomic_init_u64(&row->dropped, 0);
	pg_atomic_init_u64(&row->dropped_before, 0);
	pg_atomic_init_u64(&row->no_room, 0);
}

static void
set_up(void)
{
	bool found;

	if (previous_startup != NULL)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("session_files http", sizeof(Shared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(Shared));
		for (int i = 0; i < HTTP_MAX_WORKERS; i++)
			init_row(&shared->rows[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

COMPAT_SHMEM_REQUEST(request_memory, sizeof(Shared))

void
metrics_init(void)
{
	compat_request_shmem(request_memory);
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = set_up;
}

/* Adds to a counter that only this process writes. */
static void
add(pg_atomic_uint64 *counter, uint64 value)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + value);
}

static void
end_worker(int code, Datum arg)
{
	own->pid = 0;
	pg_atomic_write_u64(&own->connections, 0);
	pg_atomic_write_u64(&own->unread, 0);
}

void
metrics_start_worker(int number)
{
	own = &shared->rows[number];
	own->pid = MyProcPid;
	add(&own->starts, 1);
	pg_atomic_write_u64(&own->dropped_before, pg_atomic_read_u64(&own->dropped));
	before_shmem_exit(end_worker, (Datum) 0);
}

void
metrics_count_refusal(int status)
{
	int i = 0;

	while (i < lengthof(statuses) && statuses[i] != status)
		i++;
	add(&own->by_status[i], 1);
}

void
metrics_count_request(int status, int64 microseconds)
{
	int bucket = 0;

	metrics_count_refusal(status);
	while (bucket < lengthof(buckets) && microseconds > buckets[bucket].microseconds)
		bucket++;
	add(&own->by_duration[bucket], 1);
	add(&own->microseconds, microseconds);
}

void
metrics_count_no_room(void)
{
	add(&own->no_room, 1);
}

void
metrics_set_connections(int count, uint64 unread, uint64 dropped)
{
	pg_atomic_write_u64(&own->connections, count);
	pg_atomic_write_u64(&own->unread, unread);
	pg_atomic_write_u64(&own->dropped, pg_atomic_read_u64(&own->dropped_before) + dropped);
}

/* Sums up a counter over all rows, by its offset in a row. */
static uint64
sum(size_t offset)
{
	uint64 result = 0;

	for (int i = 0; i < HTTP_MAX_WORKERS; i++)
		result += pg_atomic_read_u64((pg_atomic_uint64 *) ((char *) &shared->rows[i] + offset));
	return result;
}

static void
write_head(StringInfo out, const char *name, const char *type, const char *help)
{
	appendStringInfo(out, "# HELP session_files_http_%s %s\n# TYPE session_files_http_%s %s\n", name, help, name, type);
}

static void
write_requests(StringInfo out)
{
	write_head(out, "requests_total", "counter", "Requests by the status of their response.");
	for (int i = 0; i <= lengthof(statuses); i++)
	{
		char label[12] = "other";

		if (i < lengthof(statuses))
			snprintf(label, sizeof(label), "%d", statuses[i]);
		appendStringInfo(out, "session_files_http_requests_total{status=\"%s\"} " UINT64_FORMAT "\n", label,
		                 sum(offsetof(Row, by_status) + i * sizeof(pg_atomic_uint64)));
	}
}

static void
write_durations(StringInfo out)
{
	uint64 below = 0;

	write_head(out, "request_duration_seconds", "histogram",
	           "Time from a request's end to its response, without reading the one and sending the other.");
	for (int i = 0; i <= lengthof(buckets); i++)
	{
		below += sum(offsetof(Row, by_duration) + i * sizeof(pg_atomic_uint64));
		appendStringInfo(out, "session_files_http_request_duration_seconds_bucket{le=\"%s\"} " UINT64_FORMAT "\n",
		                 i < lengthof(buckets) ? buckets[i].seconds : "+Inf", below);
	}
	appendStringInfo(out, "session_files_http_request_duration_seconds_sum %.6f\n",
	                 (double) sum(offsetof(Row, microseconds)) / 1e6);
	appendStringInfo(out, "session_files_http_request_duration_seconds_count " UINT64_FORMAT "\n", below);
}

static void
write_number(StringInfo out, const char *name, const char *type, const char *help, uint64 value)
{
	write_head(out, name, type, help);
	appendStringInfo(out, "session_files_http_%s " UINT64_FORMAT "\n", name, value);
}

void
metrics_write(StringInfo out)
{
	int workers = 0;
	uint64 restarts = 0;

	for (int i = 0; i < HTTP_MAX_WORKERS; i++)
	{
		uint64 starts = pg_atomic_read_u64(&shared->rows[i].starts);

		workers += shared->rows[i].pid != 0;
		restarts += starts > 0 ? starts - 1 : 0;
	}
	write_requests(out);
	write_durations(out);
	write_number(out, "connections", "gauge", "Open connections.", sum(offsetof(Row, connections)));
	write_number(out, "connections_dropped_total", "counter", "Connections that were closed to make room for others.",
	             sum(offsetof(Row, dropped)));
	write_number(out, "unread_bytes", "gauge", "Bytes of responses that clients have not read yet.",
	             sum(offsetof(Row, unread)));
	write_number(out, "answers_without_room_total", "counter",
	             "Requests with status 503, as their response would have gone over session_files.http_unread_size.",
	             sum(offsetof(Row, no_room)));
	write_number(out, "workers", "gauge", "Running workers.", workers);
	write_number(out, "worker_restarts_total", "counter", "Workers that were started again.", restarts);
}
