/*
 * links.c
 *		The header Link: the pages before and after a page.
 *
 * A link is a relative reference with only a query, so it is right behind any proxy and prefix. It has every parameter of the request as
 * it was sent, known or not, except that the cursor of the other page replaces cursors and page_number.
 *
 * The head of a response has to fit into the memory that servers have for it: 4 kB in nginx, and in libmicrohttpd what the request's head
 * leaves. So a request with very long parameters gets no link: a link without some of them would lead to another page.
 */
#include "compat.h"

#include "listing/links.h"

#include "listing/percent.h"

/* The longest parameters that are kept, in bytes. */
#define KEPT_MAX 1024

/* Returns whether a parameter chooses the page. */
static bool
is_position(Span name)
{
	return span_equals(name, parameter_names[PARAM_BEFORE]) || span_equals(name, parameter_names[PARAM_AFTER]) ||
	       span_equals(name, parameter_names[PARAM_PAGE_NUMBER]);
}

/* Writes the parameters that a link keeps, each followed by "&". Returns false if they are too long. */
static bool
append_kept(StringInfo out, Span query)
{
	bool more = query.len > 0;

	while (more && out->len <= KEPT_MAX)
	{
		Span parameter = span_cut(&query, '&', &more);
		Span rest = parameter;
		bool has_value;
		Span name = percent_decode(span_cut(&rest, '=', &has_value), true);

		if (parameter.len == 0 || is_position(name))
			continue;
		percent_encode_query(out, parameter, KEPT_MAX);
		appendStringInfoCharMacro(out, '&');
	}
	return out->len <= KEPT_MAX;
}

static void
append_cursor(StringInfo out, Parameter parameter, const pg_uuid_t *id)
{
	char value[UUID_TEXT_LEN];

	uuid7_format(id, value);
	appendStringInfoString(out, parameter_names[parameter]);
	appendStringInfoChar(out, '=');
	appendBinaryStringInfo(out, value, UUID_TEXT_LEN);
}

/* Writes a link to the page at the cursors. One of them may be NULL. */
static void
append_link(StringInfo out, const StringInfoData *kept, const pg_uuid_t *before, const pg_uuid_t *after,
            const char *relation)
{
	appendStringInfoString(out, out->len > 0 ? ", <?" : "<?");
	appendBinaryStringInfo(out, kept->data, kept->len);
	if (before != NULL)
		append_cursor(out, PARAM_BEFORE, before);
	if (before != NULL && after != NULL)
		appendStringInfoChar(out, '&');
	if (after != NULL)
		append_cursor(out, PARAM_AFTER, after);
	appendStringInfoString(out, ">; rel=\"");
	appendStringInfoString(out, relation);
	appendStringInfoChar(out, '"');
}

void
links_append(StringInfo out, Span query, const ListRequest *request, const ListPage *page)
{
	bool window = request->has_before && request->has_after;
	bool from_below = request->has_before && !window;
	bool has_next = from_below || page->has_more;
	bool has_prev = from_below ? page->has_more : !window && (request->has_after || request->page_number > 1);
	StringInfoData kept;

	/* Without a file there is no cursor. */
	if (page->count == 0 || !(has_next || has_prev))
		return;
	initStringInfo(&kept);
	if (!append_kept(&kept, query))
		return;
	if (has_next)
		append_link(out, &kept, window ? &request->before : NULL, &page->files[page->count - 1].id, "next");
	if (has_prev)
		append_link(out, &kept, &page->files[0].id, NULL, "prev");
}
