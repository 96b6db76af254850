/*
 * json.c
 *		JSON: a page, errors, strings.
 *
 * The contract defines the bodies byte by byte: the order of keys, no white space, UTF-8 without escapes. This file knows no table and no
 * HTTP.
 */
#include "compat.h"

#include "listing/json.h"

#include "datatype/timestamp.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "settings.h"

/* Room for all that is written of a file except its name, with the longest labels. */
#define FILE_SIZE 256

/* Returns the short escape of a byte, or NULL. */
static const char *
short_escape(unsigned char c)
{
	switch (c)
	{
		case '"':
			return "\\\"";
		case '\\':
			return "\\\\";
		case '\b':
			return "\\b";
		case '\t':
			return "\\t";
		case '\n':
			return "\\n";
		case '\f':
			return "\\f";
		case '\r':
			return "\\r";
		default:
			return NULL;
	}
}

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

/* Returns a value that has the high bit set in each byte that is zero in x, and perhaps in bytes above such a byte. */
static uint64
zero_bytes(uint64 x)
{
	return (x - UINT64CONST(0x0101010101010101)) & ~x & UINT64CONST(0x8080808080808080);
}

/* Returns how many bytes from the start need no escape; looks at eight at a time. */
static int
plain_length(const char *bytes, int len)
{
	int i = 0;

	for (; i + (int) sizeof(uint64) <= len; i += sizeof(uint64))
	{
		uint64 word;

		memcpy(&word, bytes + i, sizeof(word));
		if (zero_bytes(word & UINT64CONST(0xe0e0e0e0e0e0e0e0)) | zero_bytes(word ^ UINT64CONST(0x2222222222222222)) |
		    zero_bytes(word ^ UINT64CONST(0x5c5c5c5c5c5c5c5c)))
			break;
	}
	while (i < len && is_plain((unsigned char) bytes[i]))
		i++;
	return i;
}

/* Appends text with JSON's escapes, in the longest possible pieces. */
static void
append_escaped(StringInfo out, Span text)
{
	for (;;)
	{
		int plain = plain_length(text.bytes, text.len);
		unsigned char c;
		const char *escape;

		appendBinaryStringInfo(out, text.bytes, plain);
		if (plain == text.len)
			return;
		c = (unsigned char) text.bytes[plain];
		escape = short_escape(c);
		if (escape != NULL)
			appendStringInfoString(out, escape);
		else
			appendStringInfo(out, "\\u%04x", c);
		text.bytes += plain + 1;
		text.len -= plain + 1;
	}
}

void
json_write_string(StringInfo out, Span text)
{
	appendStringInfoCharMacro(out, '"');
	append_escaped(out, text);
	appendStringInfoCharMacro(out, '"');
}

static void
append_uuid(StringInfo out, const pg_uuid_t *id)
{
	char text[UUID_TEXT_LEN];

	uuid7_format(id, text);
	appendBinaryStringInfo(out, text, UUID_TEXT_LEN);
}

static void
append_integer(StringInfo out, int64 value)
{
	char text[MAXINT8LEN + 1];

	pg_lltoa(value, text);
	appendStringInfoString(out, text);
}

/* Appends text for which there is room. A literal costs a few stores. */
static inline void
put(StringInfo out, const char *text)
{
	size_t len = strlen(text);

	memcpy(out->data + out->len, text, len);
	out->len += (int) len;
}

static void
append_file(StringInfo out, const FileRow *file)
{
	enlargeStringInfo(out, FILE_SIZE);
	put(out, "{\"file_ingestion_id\":\"");
	uuid7_format(&file->id, out->data + out->len);
	out->len += UUID_TEXT_LEN;
	put(out, "\",\"ingestion_status\":\"");
	put(out, status_labels[file->status]);
	if (file->reason == REASON_NONE)
		put(out, "\",\"ingestion_status_reason\":null,\"name\":\"");
	else
	{
		put(out, "\",\"ingestion_status_reason\":\"");
		put(out, reason_labels[file->reason]);
		put(out, "\",\"name\":\"");
	}
	append_escaped(out, file->name);
	appendStringInfoString(out, "\"}");
}

void
json_write_page(StringInfo out, const ListPage *page)
{
	appendStringInfoString(out, "{\"data\":[");
	for (int i = 0; i < page->count; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		append_file(out, &page->files[i]);
	}
	appendStringInfoString(out, page->has_more ? "],\"has_more\":true,\"total\":" : "],\"has_more\":false,\"total\":");
	append_integer(out, page->total);
	appendStringInfoCharMacro(out, '}');
}

/* Writes a number with leading zeros, and a separator; returns the end. A call of printf takes ten times as long. */
static char *
put_number(char *text, int number, int digits, char separator)
{
	for (int i = digits - 1; i >= 0; i--, number /= 10)
		text[i] = (char) ('0' + number % 10);
	text[digits] = separator;
	return text + digits + 1;
}

/* The year has four digits: upload_sessions takes no later one. */
const char *
json_format_time(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t microseconds;
	char *text;
	char *end;

	if (timestamp2tm(time, NULL, &tm, &microseconds, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	text = palloc(sizeof("9999-12-31T23:59:59.999999Z"));
	end = put_number(text, tm.tm_year, 4, '-');
	end = put_number(end, tm.tm_mon, 2, '-');
	end = put_number(end, tm.tm_mday, 2, 'T');
	end = put_number(end, tm.tm_hour, 2, ':');
	end = put_number(end, tm.tm_min, 2, ':');
	end = put_number(end, tm.tm_sec, 2, '.');
	end = put_number(end, microseconds, 6, 'Z');
	*end = '\0';
	return text;
}

void
json_write_status(StringInfo out, const pg_uuid_t *session_id, const ListPage *page)
{
	appendStringInfoString(out, "{\"session_id\":\"");
	append_uuid(out, session_id);
	appendStringInfo(out, "\",\"expires_at\":\"%s\",\"documentation_url\":", json_format_time(page->expires_at));
	json_write_string(out, span_of(settings_documentation_url));
	appendStringInfo(out,
	                 ",\"ingestion_status\":{\"failed_files\":" INT64_FORMAT ",\"finished_files\":" INT64_FORMAT
	                 ",\"pending_files\":" INT64_FORMAT "}}",
	                 page->counts.by_status[STATUS_FAILED], page->counts.by_status[STATUS_FINISHED],
	                 page->counts.by_status[STATUS_PENDING]);
}

static void
append_context(StringInfo out, const RequestError *error)
{
	appendStringInfo(out, ",\"ctx\":{\"%s\":", error->context_key);
	if (error->context_text.bytes != NULL)
		json_write_string(out, error->context_text);
	else
		append_integer(out, error->context_number);
	appendStringInfoCharMacro(out, '}');
}

static void
append_error(StringInfo out, const RequestError *error)
{
	appendStringInfo(out, "{\"type\":\"%s\",\"loc\":[\"%s\",\"%s\"],\"msg\":\"%s", error->type,
	                 error->parameter == PARAM_SESSION_ID ? "path" : "query", parameter_names[error->parameter],
	                 error->prefix);
	append_escaped(out, error->message);
	appendStringInfoString(out, "\",\"input\":");
	json_write_string(out, error->input);
	if (error->context_key != NULL)
		append_context(out, error);
	appendStringInfoCharMacro(out, '}');
}

void
json_write_errors(StringInfo out, const RequestErrors *errors)
{
	appendStringInfoString(out, "{\"detail\":[");
	for (int i = 0; i < errors->count; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		append_error(out, &errors->items[i]);
	}
	appendStringInfoString(out, "]}");
}

void
json_write_detail(StringInfo out, const char *detail)
{
	appendStringInfoString(out, "{\"detail\":");
	json_write_string(out, span_of(detail));
	appendStringInfoCharMacro(out, '}');
}

void
json_write_no_session(StringInfo out, const pg_uuid_t *session_id)
{
	appendStringInfoString(out, "{\"detail\":\"There's no session with the ID '");
	append_uuid(out, session_id);
	appendStringInfoString(out, "' in the workspace. Check if the ID is correct. \"}");
}
