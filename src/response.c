/*
 * response.c
 *		Bodies: a page or errors as JSON.
 *
 * What the contract gives to the byte: order of keys, no white space, UTF-8 as it is. It knows no
 * table and no HTTP.
 */
#include "compat.h"

#include "response.h"

#include "utils/builtins.h"

/* The short escapes of JSON, or NULL. */
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

/* Appends text with JSON's escapes, in pieces as long as can be. */
static void
append_escaped(StringInfo out, Span text)
{
	int start = 0;

	for (int i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.bytes[i];
		const char *escape;

		if (likely(c >= 0x20 && c != '"' && c != '\\'))
			continue;
		appendBinaryStringInfo(out, text.bytes + start, i - start);
		start = i + 1;
		escape = short_escape(c);
		if (escape != NULL)
			appendStringInfoString(out, escape);
		else
			appendStringInfo(out, "\\u%04x", c);
	}
	appendBinaryStringInfo(out, text.bytes + start, text.len - start);
}

void
response_string(StringInfo out, Span text)
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

static void
append_entry(StringInfo out, const FileEntry *entry)
{
	appendStringInfoString(out, "{\"file_ingestion_id\":\"");
	append_uuid(out, &entry->id);
	appendStringInfoString(out, "\",\"ingestion_status\":\"");
	appendStringInfoString(out, status_labels[entry->status]);
	if (entry->reason == REASON_NONE)
		appendStringInfoString(out, "\",\"ingestion_status_reason\":null");
	else
	{
		appendStringInfoString(out, "\",\"ingestion_status_reason\":\"");
		appendStringInfoString(out, reason_labels[entry->reason]);
		appendStringInfoCharMacro(out, '"');
	}
	appendStringInfoString(out, ",\"name\":");
	response_string(out, entry->name);
	appendStringInfoCharMacro(out, '}');
}

void
response_page(StringInfo out, const ListPage *page)
{
	appendStringInfoString(out, "{\"data\":[");
	for (int i = 0; i < page->count; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		append_entry(out, &page->entries[i]);
	}
	appendStringInfoString(out, page->has_more ? "],\"has_more\":true,\"total\":" : "],\"has_more\":false,\"total\":");
	append_integer(out, page->total);
	appendStringInfoCharMacro(out, '}');
}

static void
append_context(StringInfo out, const RequestError *error)
{
	appendStringInfo(out, ",\"ctx\":{\"%s\":", error->context_key);
	if (error->context_text.bytes != NULL)
		response_string(out, error->context_text);
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
	response_string(out, error->input);
	if (error->context_key != NULL)
		append_context(out, error);
	appendStringInfoCharMacro(out, '}');
}

void
response_errors(StringInfo out, const RequestErrors *errors)
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
response_detail(StringInfo out, const char *detail)
{
	appendStringInfoString(out, "{\"detail\":");
	response_string(out, span_of(detail));
	appendStringInfoCharMacro(out, '}');
}

void
response_no_session(StringInfo out, const pg_uuid_t *session_id)
{
	appendStringInfoString(out, "{\"detail\":\"There's no session with the ID '");
	append_uuid(out, session_id);
	appendStringInfoString(out, "' in the workspace. Check if the ID is correct. \"}");
}
