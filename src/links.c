/*
 * links.c
 *		The pages before and after a page, as links.
 *
 * A link is a reference relative to the target, of the query alone: so it holds behind any proxy and
 * prefix, and its length is bounded, whatever was sent. It has the parameters that were given, with
 * the cursor of the other page in place of page_number and cursors.
 */
#include "compat.h"

#include "links.h"

#include "utils/builtins.h"

/* Writes a parameter and what joins it to those before. */
static void
append_parameter(StringInfo out, Parameter parameter, Span value)
{
	if (out->data[out->len - 1] != '?')
		appendStringInfoChar(out, '&');
	appendStringInfoString(out, parameter_names[parameter]);
	appendStringInfoChar(out, '=');
	appendBinaryStringInfo(out, value.bytes, value.len);
}

/* Writes a parameter whose only values are fixed words, as it was given. */
static void
append_word(StringInfo out, const RequestText *text, Parameter parameter)
{
	if (text->values[parameter].len > 0)
		append_parameter(out, parameter, text->values[parameter]);
}

static void
append_cursor(StringInfo out, Parameter parameter, const pg_uuid_t *id)
{
	char value[UUID_TEXT_LEN];

	if (id == NULL)
		return;
	uuid7_format(id, value);
	append_parameter(out, parameter, (Span){value, UUID_TEXT_LEN});
}

static void
append_limit(StringInfo out, const RequestText *text, int limit)
{
	char value[12];

	if (text->values[PARAM_LIMIT].len == 0)
		return;
	append_parameter(out, PARAM_LIMIT, (Span){value, pg_ltoa(limit, value)});
}

/* Writes a link to the page at the cursors, of which one may be NULL. */
static void
append_link(StringInfo out, const RequestText *text, int limit, const pg_uuid_t *before, const pg_uuid_t *after,
            const char *relation)
{
	appendStringInfoString(out, out->len > 0 ? ", <?" : "<?");
	append_word(out, text, PARAM_INGESTION_STATUS);
	append_limit(out, text, limit);
	append_cursor(out, PARAM_BEFORE, before);
	append_cursor(out, PARAM_AFTER, after);
	append_word(out, text, PARAM_FIELD);
	append_word(out, text, PARAM_ORDER);
	appendStringInfoString(out, ">; rel=\"");
	appendStringInfoString(out, relation);
	appendStringInfoChar(out, '"');
}

void
links_append(StringInfo out, const RequestText *text, const ListRequest *request, const ListPage *page)
{
	bool window = request->has_before && request->has_after;
	bool from_below = request->has_before && !window;
	bool has_next = from_below || page->has_more;
	bool has_prev = from_below ? page->has_more : !window && (request->has_after || request->page_number > 1);

	/* Without a file there is no cursor. */
	if (page->count == 0)
		return;
	if (has_next)
		append_link(out, text, request->limit, window ? &request->before : NULL, &page->entries[page->count - 1].id,
		            "next");
	if (has_prev)
		append_link(out, text, request->limit, &page->entries[0].id, NULL, "prev");
}
