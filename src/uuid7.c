/*
 * uuid7.c
 *		UUIDs: text to bytes and back, and generation of version 7.
 *
 * Version 7 (RFC 9562) begins with the milliseconds since 1970 in 48 bits. The 12 bits after the version hold the fraction of the
 * millisecond (method 3). The ids that one backend makes are strictly increasing: each is at least one step of the fraction after the
 * one before, even when the clock stands still or is set back. Ids of different backends have no such order.
 */
#include "compat.h"

#include "uuid7.h"

#include <time.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port.h"
#include "utils/timestamp.h"

#define NANOSECONDS_PER_MILLISECOND INT64CONST(1000000)
#define FRACTION_BITS 12
/* One step of the fraction, rounded up, so that each step changes it. */
#define STEP_NANOSECONDS (NANOSECONDS_PER_MILLISECOND / (1 << FRACTION_BITS) + 1)

#define HYPHEN_COUNT 4
#define URN_PREFIX "urn:uuid:"
#define URN_PREFIX_LEN ((int) sizeof(URN_PREFIX) - 1)
#define SIMPLE_LEN (2 * UUID_LEN)

PG_FUNCTION_INFO_V1(session_files_uuid7);
PG_FUNCTION_INFO_V1(session_files_uuid7_time);

static bool
is_hyphen_place(int i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

/* Parses 32 digits, or groups of 8-4-4-4-12; returns whether the text has that form. */
static bool
parse_digits(const char *text, int len, bool hyphenated, pg_uuid_t *id)
{
	int byte = 0;

	if (len != (hyphenated ? UUID_TEXT_LEN : SIMPLE_LEN))
		return false;
	for (int i = 0; i < len;)
	{
		int high;
		int low;

		if (hyphenated && is_hyphen_place(i))
		{
			if (text[i] != '-')
				return false;
			i++;
			continue;
		}
		high = span_hex_digit(text[i]);
		low = span_hex_digit(text[i + 1]);
		if (high < 0 || low < 0)
			return false;
		id->data[byte++] = (high << 4) | low;
		i += 2;
	}
	return true;
}

static bool
has_urn_prefix(Span text)
{
	return text.len >= URN_PREFIX_LEN && memcmp(text.bytes, URN_PREFIX, URN_PREFIX_LEN) == 0;
}

static bool
has_braces(Span text)
{
	return text.len >= 2 && text.bytes[0] == '{' && text.bytes[text.len - 1] == '}';
}

/* Returns the text without braces around it or "urn:uuid:" before it. */
static Span
strip_wrapping(Span text)
{
	if (has_braces(text))
		return (Span){text.bytes + 1, text.len - 2};
	if (has_urn_prefix(text))
		return (Span){text.bytes + URN_PREFIX_LEN, text.len - URN_PREFIX_LEN};
	return text;
}

/* Describes a character that is neither a digit nor a hyphen; it may be NUL. */
static Span
describe_character(const char *character, int index)
{
	StringInfoData message;

	initStringInfo(&message);
	appendStringInfoString(&message, "invalid character: found `");
	appendBinaryStringInfo(&message, character, pg_utf_mblen((const unsigned char *) character));
	appendStringInfo(&message, "` at %d", index);
	return (Span){message.data, message.len};
}

/* Describes what is wrong with the groups between hyphens. */
static Span
describe_groups(const int *hyphens, int hyphen_count, int len)
{
	static const int group_starts[HYPHEN_COUNT + 1] = {0, 9, 14, 19, 24};
	static const int group_lengths[HYPHEN_COUNT + 1] = {8, 4, 4, 4, 12};

	if (hyphen_count != HYPHEN_COUNT)
		return span_of(psprintf("invalid group count: expected 5, found %d", hyphen_count + 1));
	for (int group = 0;; group++)
	{
		int end = group < HYPHEN_COUNT ? hyphens[group] : len;
		int found = end - group_starts[group];

		if (found != group_lengths[group] || group == HYPHEN_COUNT)
			return span_of(psprintf("invalid group length in group %d: expected %d, found %d", group,
			                        group_lengths[group], found));
	}
}

/* Describes what is wrong with a UUID that parse_digits refused. */
static Span
describe_error(Span text)
{
	int hyphens[HYPHEN_COUNT] = {0};
	int hyphen_count = 0;
	Span digits = strip_wrapping(text);
	int start = (int) (digits.bytes - text.bytes);
	int end = start + digits.len;

	for (int i = start; i < end; i++)
	{
		if (text.bytes[i] == '-')
		{
			if (hyphen_count < HYPHEN_COUNT)
				hyphens[hyphen_count] = i - start;
			hyphen_count++;
		}
		else if (span_hex_digit(text.bytes[i]) < 0)
			return describe_character(text.bytes + i, i + 1);
	}
	if (hyphen_count == 0 && start == 0)
		return span_of(psprintf("invalid length: expected length 32 for simple format, found %d", text.len));
	return describe_groups(hyphens, hyphen_count, end - start);
}

bool
uuid7_parse(Span text, pg_uuid_t *id, Span *error)
{
	Span digits = strip_wrapping(text);
	bool wrapped = digits.len < text.len;

	if (parse_digits(digits.bytes, digits.len, true, id) ||
	    (!wrapped && parse_digits(digits.bytes, digits.len, false, id)))
		return true;
	/* When what is wrapped has the right length, the reference describes that alone. */
	*error = describe_error(digits.len == UUID_TEXT_LEN ? digits : text);
	return false;
}

static char *
put_hex(char *text, const unsigned char *bytes, int count)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < count; i++)
	{
		*text++ = digits[bytes[i] >> 4];
		*text++ = digits[bytes[i] & 0x0f];
	}
	return text;
}

void
uuid7_format(const pg_uuid_t *id, char *text)
{
	static const int group_bytes[] = {4, 2, 2, 2, 6};
	const unsigned char *bytes = id->data;

	for (int group = 0; group < lengthof(group_bytes); group++)
	{
		if (group > 0)
			*text++ = '-';
		text = put_hex(text, bytes, group_bytes[group]);
		bytes += group_bytes[group];
	}
}

/* Returns the nanoseconds since 1970, at least one step more than it returned last. */
static int64
next_nanoseconds(void)
{
	static int64 last = 0;
	struct timespec now;
	int64 nanoseconds;

	clock_gettime(CLOCK_REALTIME, &now);
	nanoseconds = (int64) now.tv_sec * INT64CONST(1000000000) + now.tv_nsec;
	if (nanoseconds < last + STEP_NANOSECONDS)
		nanoseconds = last + STEP_NANOSECONDS;
	last = nanoseconds;
	return nanoseconds;
}

static void
put_milliseconds(pg_uuid_t *id, uint64 milliseconds)
{
	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (milliseconds >> (8 * (5 - i)));
}

void
uuid7_lowest(TimestampTz time, pg_uuid_t *id)
{
	memset(id, 0, sizeof(pg_uuid_t));
	put_milliseconds(id, (time + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000);
	id->data[6] = 0x70;
	id->data[8] = 0x80;
}

/* SQL: session_files.uuid7(). */
Datum
session_files_uuid7(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));
	int64 nanoseconds = next_nanoseconds();
	uint64 milliseconds = nanoseconds / NANOSECONDS_PER_MILLISECOND;
	uint32 fraction = ((nanoseconds % NANOSECONDS_PER_MILLISECOND) << FRACTION_BITS) / NANOSECONDS_PER_MILLISECOND;

	put_milliseconds(id, milliseconds);
	id->data[6] = 0x70 | (fraction >> 8);
	id->data[7] = fraction & 0xff;
	if (!pg_strong_random(&id->data[8], 8))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random bytes for a UUID")));
	id->data[8] = 0x80 | (id->data[8] & 0x3f);
	PG_RETURN_UUID_P(id);
}

TimestampTz
uuid7_read_time(const pg_uuid_t *id)
{
	int64 milliseconds = 0;

	for (int i = 0; i < 6; i++)
		milliseconds = (milliseconds << 8) | id->data[i];
	return milliseconds * 1000 - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* SQL: session_files.uuid7_time(uuid). */
Datum
session_files_uuid7_time(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = PG_GETARG_UUID_P(0);

	if (id->data[6] >> 4 != 7)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(uuid7_read_time(id));
}
