/*
 * postgres_shim.c
 *		What stands in for PostgreSQL around the files that are fuzzed.
 *
 * Each allocation is one of malloc, so that AddressSanitizer knows its bounds. An ereport ends the process, as no request
 * may raise an error here. What is neither here nor in PostgreSQL's libpgcommon and libpgport does not link: code that uses more of
 * PostgreSQL in a file that is fuzzed adds it here.
 */
#include "postgres.h"

#include <time.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "postgres_shim.h"

static void **allocations = NULL;
static int allocation_count = 0;

MemoryContext CurrentMemoryContext = NULL;

/* Returns where an allocation is noted; most are not old. */
static void **
find_allocation(void *pointer)
{
	for (int i = allocation_count; i-- > 0;)
	{
		if (allocations[i] == pointer)
			return &allocations[i];
	}
	abort();
}

void *
palloc(Size size)
{
	void *pointer = malloc(size);

	allocations = realloc(allocations, (allocation_count + 1) * sizeof(void *));
	if (pointer == NULL || allocations == NULL)
		abort();
	allocations[allocation_count++] = pointer;
	return pointer;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
repalloc(void *pointer, Size size)
{
	void **place = find_allocation(pointer);

	*place = realloc(pointer, size);
	if (*place == NULL)
		abort();
	return *place;
}

void
pfree(void *pointer)
{
	*find_allocation(pointer) = allocations[--allocation_count];
	free(pointer);
}

void
shim_reset(void)
{
	while (allocation_count > 0)
		free(allocations[--allocation_count]);
}

char *
pstrdup(const char *text)
{
	return strcpy(palloc(strlen(text) + 1), text);
}

char *
pnstrdup(const char *text, Size len)
{
	char *copy = palloc(len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *
psprintf(const char *format, ...)
{
	StringInfoData text;
	va_list arguments;
	int needed;

	initStringInfo(&text);
	for (;;)
	{
		va_start(arguments, format);
		needed = appendStringInfoVA(&text, format, arguments);
		va_end(arguments);
		if (needed == 0)
			return text.data;
		enlargeStringInfo(&text, needed);
	}
}

#if PG_VERSION_NUM >= 160000
#define BYTES const void
#define ASSERTION const char *condition, const char *file, int line
#else
#define BYTES const char
#define ASSERTION const char *condition, const char *type, const char *file, int line
#endif

#define INITIAL_SIZE 1024

void
initStringInfo(StringInfo text)
{
	text->data = palloc(INITIAL_SIZE);
	text->maxlen = INITIAL_SIZE;
	resetStringInfo(text);
}

void
resetStringInfo(StringInfo text)
{
	text->data[0] = '\0';
	text->len = 0;
	text->cursor = 0;
}

void
enlargeStringInfo(StringInfo text, int needed)
{
	if (needed < 0)
		abort();
	if (text->len + needed + 1 <= text->maxlen)
		return;
	/* As much as is asked for and no more, so that a request for too little is caught. */
	text->maxlen = text->len + needed + 1;
	text->data = repalloc(text->data, text->maxlen);
}

int
appendStringInfoVA(StringInfo text, const char *format, va_list arguments)
{
	int room = text->maxlen - text->len;
	int written = vsnprintf(text->data + text->len, room, format, arguments);

	if (written < 0)
		abort();
	if (written >= room)
	{
		text->data[text->len] = '\0';
		return written + 1;
	}
	text->len += written;
	return 0;
}

void
appendStringInfo(StringInfo text, const char *format, ...)
{
	va_list arguments;
	int needed;

	for (;;)
	{
		va_start(arguments, format);
		needed = appendStringInfoVA(text, format, arguments);
		va_end(arguments);
		if (needed == 0)
			return;
		enlargeStringInfo(text, needed);
	}
}

void
appendBinaryStringInfo(StringInfo text, BYTES *bytes, int len)
{
	enlargeStringInfo(text, len);
	memcpy(text->data + text->len, bytes, len);
	text->len += len;
	text->data[text->len] = '\0';
}

void
appendStringInfoString(StringInfo text, const char *string)
{
	appendBinaryStringInfo(text, string, (int) strlen(string));
}

void
appendStringInfoChar(StringInfo text, char c)
{
	appendBinaryStringInfo(text, &c, 1);
}

int
pg_ltoa(int32 value, char *text)
{
	return sprintf(text, "%d", value);
}

int
pg_lltoa(int64 value, char *text)
{
	return sprintf(text, INT64_FORMAT, value);
}

/* Splits a time in UTC; the stub of the listing makes none that is infinite. */
int
timestamp2tm(TimestampTz time, int *zone, struct pg_tm *tm, fsec_t *microseconds, const char **zone_name,
             pg_tz *attimezone)
{
	int64 since_1970 = time + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	time_t seconds = (time_t) (since_1970 / USECS_PER_SEC);
	struct tm parts;

	if (since_1970 < 0 || gmtime_r(&seconds, &parts) == NULL)
		return -1;
	*tm = (struct pg_tm){.tm_year = parts.tm_year + 1900,
	                     .tm_mon = parts.tm_mon + 1,
	                     .tm_mday = parts.tm_mday,
	                     .tm_hour = parts.tm_hour,
	                     .tm_min = parts.tm_min,
	                     .tm_sec = parts.tm_sec};
	*microseconds = (fsec_t) (since_1970 % USECS_PER_SEC);
	return 0;
}

bool
errstart(int level, const char *domain)
{
	return true;
}

bool
errstart_cold(int level, const char *domain)
{
	return true;
}

int
errcode(int code)
{
	return 0;
}

int
errmsg(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	return 0;
}

int
errmsg_internal(const char *format, ...)
{
	return errmsg("%s", format);
}

void
errfinish(const char *file, int line, const char *function)
{
	fprintf(stderr, " (an error was raised in %s, %s:%d)\n", function, file, line);
	abort();
}

void
ExceptionalCondition(ASSERTION)
{
	fprintf(stderr, "assertion failed: %s, %s:%d\n", condition, file, line);
	abort();
}
