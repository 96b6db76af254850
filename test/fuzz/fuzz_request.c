/*
 * fuzz_request.c
 *		Fuzzes src/listing: from a request to its response, without tables.
 *
 * An input is METHOD, TARGET, IF-NONE-MATCH, ORIGIN and the page that a listing finds, with a byte 0x1E (record separator) between
 * them. A byte 0x1D (group separator) ends a line of a header. ORIGIN begins with a digit: 0 no origin is allowed, 1 all are, 2 some are; with
 * 4 added it is a preflight. The page is read byte by byte, whatever it is: outcome, flags, total, and
 * entries with names. What must hold of every response is checked here; a "require" that does not hold is a finding.
 */
#include "compat.h"

#include <jansson.h>

#include "catalog.h"
#include "listing/list_result.h"
#include "listing/listing.h"
#include "listing/percent.h"
#include "listing/route.h"

#include "listing/etag.h"
#include "settings.h"

#include "postgres_shim.h"

#define SEPARATOR 0x1e
#define LINE_END 0x1d
#define NAME_END 0x1f
#define UNKNOWN_PARAMETER "zz_unknown=%41"
/* 2026-01-01, in microseconds since 2000. */
#define SOME_TIME (INT64CONST(9497) * USECS_PER_DAY)

#define require(condition)                                                                 \
	do                                                                                     \
	{                                                                                      \
		if (!(condition))                                                                  \
		{                                                                                  \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                       \
		}                                                                                  \
	} while (0)

const char *const status_labels[STATUS_COUNT] = {"FAILED", "FINISHED", "PENDING"};
const char *const reason_labels[REASON_COUNT] = {
	"EMPTY_FILE",
	"FAILED_TO_PARSE_META",
	"FILE NAME TOO LONG. MAX LENGTH IS 800",
	"FILE_ALREADY_EXISTS",
	"FILE_NOT_FOUND",
	"INGESTING_FILE_FAILED",
	"SLOWDOWN",
	"UNKNOWN_ERROR",
};

/* The origins that are allowed. */
static char some_origins[] = "https://app.example.org, http://127.0.0.1:3000";
static char any_origin[] = "*";
static char no_origin[] = "";
HttpSettings settings_http = {.allow_origin = some_origins};
char *settings_documentation_url = "";

/* A request's headers. */
typedef struct Headers
{
	Span if_none_match;
	Span origin;
	bool is_preflight;
} Headers;

/* The page that listings find, and what the last one found. */
static Span page_input;
static ListPage last_page;
static int listings;

/* Returns whether bytes are valid UTF-8; NUL is. */
static bool
is_utf8(const char *bytes, int len)
{
	json_t *string = json_stringn(bytes, len);

	json_decref(string);
	return string != NULL;
}

static int
take_byte(Span *input)
{
	if (input->len == 0)
		return 0;
	input->len--;
	return (unsigned char) *input->bytes++;
}

static int64
take_number(Span *input)
{
	uint64 number = 0;

	for (int i = 0; i < 8; i++)
		number = number << 8 | take_byte(input);
	return (int64) number;
}

/* Takes a name as a table could hold it: of UTF-8, without NUL. */
static Span
take_name(Span *input)
{
	Span name = {input->bytes, 0};

	while (name.len < input->len && name.bytes[name.len] != NAME_END)
		name.len++;
	input->bytes += name.len;
	input->len -= name.len;
	take_byte(input);
	if (memchr(name.bytes, '\0', name.len) != NULL || !is_utf8(name.bytes, name.len))
		return span_of("not a name");
	return name;
}

static void
take_file_row(Span *input, FileRow *file)
{
	int kind = take_byte(input);

	for (int i = 0; i < UUID_LEN; i++)
		file->id.data[i] = (unsigned char) (kind * (i + 1));
	file->status = kind % STATUS_COUNT;
	file->reason = file->status == STATUS_FAILED ? (kind / STATUS_COUNT) % REASON_COUNT : REASON_NONE;
	file->name = take_name(input);
}

/* A request that comes to the tables has been checked. */
static void
check_request(const ListRequest *request)
{
	require(request->limit >= 0 && request->limit <= LIMIT_MAX);
	require(request->page_number >= 1);
	require(request->page_number == 1 || !(request->has_before || request->has_after));
	require(request->status >= STATUS_ANY && request->status < STATUS_COUNT);
	require(request->field <= FIELD_NAME);
	require(request->descending == true || request->descending == false);
}

static ListingOutcome
find_nothing(const ListRequest *request, ListPage *page, int kind)
{
	page->unknown_before = request->has_before && kind % 2 == 0;
	page->unknown_after = request->has_after && (kind % 3 == 0 || !page->unknown_before);
	if (page->unknown_before || page->unknown_after)
		return LISTING_NO_CURSOR;
	return kind % 2 == 0 ? LISTING_NO_SESSION : LISTING_FORBIDDEN;
}

ListingOutcome
listing_read(Span workspace_name, const ListRequest *request, ListPage *page)
{
	Span input = page_input;
	int kind = take_byte(&input);

	listings++;
	check_request(request);
	require(is_utf8(workspace_name.bytes, workspace_name.len));
	memset(page, 0, sizeof(ListPage));
	if (kind % 4 == 3)
		return find_nothing(request, page, kind / 4);
	page->has_more = kind % 8 >= 4;
	page->expires_at = SOME_TIME + kind * INT64CONST(86399999999);
	page->total = take_number(&input) & PG_INT64_MAX;
	etag_make((uint64) page->total, page->expires_at, page->etag);
	if (etag_is_listed(request->if_none_match, page->etag))
		return LISTING_NOT_MODIFIED;
	while (page->count < request->limit && input.len > 0)
		take_file_row(&input, &page->files[page->count++]);
	last_page = *page;
	return LISTING_DONE;
}

bool
catalog_exists(void)
{
	return page_input.len == 0 || *page_input.bytes % 2 == 0;
}

/* Joins the lines of a header, as a front end does. */
static Span
join_lines(Span lines)
{
	StringInfoData joined;
	bool more = lines.len > 0;

	initStringInfo(&joined);
	while (more)
	{
		Span line = span_cut(&lines, LINE_END, &more);

		appendBinaryStringInfo(&joined, line.bytes, line.len);
		if (more)
			appendStringInfoString(&joined, ", ");
	}
	return (Span){joined.data, joined.len};
}

static Span
look_up(const HttpRequest *request, const char *name)
{
	const Headers *headers = request->source;

	if (strcmp(name, "if-none-match") == 0)
		return join_lines(headers->if_none_match);
	if (strcmp(name, "origin") == 0)
		return join_lines(headers->origin);
	if (strcmp(name, "access-control-request-method") == 0)
		return span_of(headers->is_preflight ? "GET" : "");
	require(!"a header that is known");
	return span_of("");
}

static const char *
find_header(const HttpResponse *response, const char *name)
{
	for (int i = 0; i < response->header_count; i++)
	{
		if (strcmp(response->headers[i].name, name) == 0)
			return response->headers[i].value;
	}
	return NULL;
}

static void
check_headers(const HttpResponse *response)
{
	require(response->header_count >= 0 && response->header_count <= MESSAGE_MAX_HEADERS);
	require((response->status >= 400) == (find_header(response, "Cache-Control") != NULL &&
	                                      strcmp(find_header(response, "Cache-Control"), "no-store") == 0) ||
	        (response->status == 200 && find_header(response, "ETag") == NULL));
	require((response->status == 503) == (find_header(response, "Retry-After") != NULL));
	for (int i = 0; i < response->header_count; i++)
	{
		const Header *header = &response->headers[i];

		require(*header->name != '\0' &&
		        strspn(header->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == strlen(header->name));
		require(find_header(response, header->name) == header->value);
		for (const char *c = header->value; *c != '\0'; c++)
			require(*c >= 0x20 && *c <= 0x7e);
	}
}

static void
check_page(const json_t *body)
{
	const json_t *data = json_object_get(body, "data");

	require(json_is_array(data) && json_array_size(data) == last_page.count);
	require(json_integer_value(json_object_get(body, "total")) == last_page.total);
	require(json_is_true(json_object_get(body, "has_more")) == last_page.has_more);
	for (int i = 0; i < last_page.count; i++)
	{
		const FileRow *file = &last_page.files[i];
		const json_t *item = json_array_get(data, i);
		const json_t *name = json_object_get(item, "name");
		const json_t *reason = json_object_get(item, "ingestion_status_reason");

		require(json_object_size(item) == 4);
		require(json_string_length(name) == file->name.len &&
		        memcmp(json_string_value(name), file->name.bytes, file->name.len) == 0);
		require(json_is_null(reason) == (file->reason == REASON_NONE));
		require(strcmp(json_string_value(json_object_get(item, "ingestion_status")), status_labels[file->status]) == 0);
	}
}

/* The errors of a 422 come in the order of the parameters; only cursors can be refused for a page number, too. */
static void
check_errors(const json_t *detail)
{
	int last = -1;
	size_t index;
	json_t *error;

	require(json_is_array(detail) && json_array_size(detail) > 0 && json_array_size(detail) <= PARAM_COUNT);
	json_array_foreach(detail, index, error)
	{
		const char *name = json_string_value(json_array_get(json_object_get(error, "loc"), 1));
		int parameter = 0;

		require(name != NULL && json_is_string(json_object_get(error, "type")));
		require(json_is_string(json_object_get(error, "msg")) && json_is_string(json_object_get(error, "input")));
		while (parameter < PARAM_COUNT && strcmp(parameter_names[parameter], name) != 0)
			parameter++;
		require(parameter < PARAM_COUNT && parameter > last);
		last = parameter;
	}
}

static void
check_body(const HttpResponse *response)
{
	json_t *body = json_loadb(response->body.data, response->body.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	const json_t *detail = json_object_get(body, "detail");

	require(json_is_object(body));
	require(find_header(response, "Content-Type") != NULL);
	if (find_header(response, "Session-Expires-At") != NULL)
		check_page(body);
	else if (response->status == 422)
		check_errors(detail);
	else if (response->status != 200)
		require(json_is_string(detail) && json_object_size(body) == 1);
	json_decref(body);
}

/* A page may read a response if its origin is allowed, and a cache keeps responses apart by what they depend on. */
static void
check_origin(Span method, const Headers *headers, const HttpResponse *response)
{
	const char *allowed = find_header(response, "Access-Control-Allow-Origin");
	const char *vary = find_header(response, "Vary");
	Span origin = join_lines(headers->origin);
	bool is_allowed = span_equals(origin, "https://app.example.org") || span_equals(origin, "http://127.0.0.1:3000");

	if (settings_http.allow_origin == no_origin)
		require(allowed == NULL && response->status != 204);
	else if (settings_http.allow_origin == any_origin)
		require(strcmp(allowed, "*") == 0);
	else
	{
		require((allowed != NULL) == is_allowed && (allowed == NULL || span_equals(origin, allowed)));
		require(vary != NULL && strcmp(vary + strlen(vary) - 6, "Origin") == 0);
	}
	require((allowed != NULL) == (find_header(response, "Access-Control-Expose-Headers") != NULL));
	if (response->status == 204)
		require(span_equals(method, "OPTIONS") && headers->is_preflight && origin.len > 0 && listings == 0);
	if (find_header(response, "Session-Expires-At") != NULL)
		require(strncmp(vary, "Authorization", 13) == 0);
}

/* Answers, and checks what holds of every response. */
static HttpResponse
respond(Span method, Span target, const Headers *headers)
{
	HttpRequest request = {.method = method, .target = target, .header = look_up, .source = headers};
	HttpResponse response = {0};

	listings = 0;
	route_request(&request, &response);
	check_headers(&response);
	check_origin(method, headers, &response);
	switch (response.status)
	{
		case 200:
		case 403:
		case 404:
		case 422:
		case 503:
			check_body(&response);
			break;
		case 405:
			require(find_header(&response, "Allow") != NULL && listings == 0);
			check_body(&response);
			break;
		case 204:
			require(response.body.len == 0 && find_header(&response, "Access-Control-Allow-Methods") != NULL);
			break;
		case 304:
			require(response.body.len == 0 && find_header(&response, "ETag") != NULL);
			break;
		default:
			require(!"a status that is known");
	}
	return response;
}

static bool
equal_bodies(const HttpResponse *a, const HttpResponse *b)
{
	return a->status == b->status && a->body.len == b->body.len &&
	       (a->body.len == 0 || memcmp(a->body.data, b->body.data, a->body.len) == 0);
}

static void
require_equal(const HttpResponse *a, const HttpResponse *b)
{
	require(equal_bodies(a, b) && a->header_count == b->header_count);
	for (int i = 0; i < a->header_count; i++)
	{
		require(strcmp(a->headers[i].name, b->headers[i].name) == 0);
		require(strcmp(a->headers[i].value, b->headers[i].value) == 0);
	}
}

/* Returns the next parameter of a query that a link keeps, decoded; false at the end. */
static bool
take_kept(Span *query, bool *more, Span *name, Span *value)
{
	bool has_value;

	while (*more)
	{
		Span parameter = span_cut(query, '&', more);

		*value = parameter;
		*name = percent_decode(span_cut(value, '=', &has_value), true);
		*value = percent_decode(*value, true);
		if (parameter.len > 0 && !span_equals(*name, "before") && !span_equals(*name, "after") &&
		    !span_equals(*name, "page_number"))
			return true;
	}
	return false;
}

/* A link has the parameters of the request, which mean the same. */
static void
check_link(Span query, Span link)
{
	bool more = query.len > 0;
	bool more_linked = true;
	Span name;
	Span value;
	Span linked_name;
	Span linked_value;

	while (take_kept(&query, &more, &name, &value))
	{
		require(take_kept(&link, &more_linked, &linked_name, &linked_value));
		require(name.len == linked_name.len && memcmp(name.bytes, linked_name.bytes, name.len) == 0);
		require(value.len == linked_value.len && memcmp(value.bytes, linked_value.bytes, value.len) == 0);
	}
	require(!take_kept(&link, &more_linked, &linked_name, &linked_value));
}

/* No parameter ends a link, or begins another. */
static void
check_links(Span target, const HttpResponse *response)
{
	const char *links = find_header(response, "Link");
	bool has_query;

	if (links == NULL)
		return;
	span_cut(&target, '?', &has_query);
	require(strlen(links) < 3000);
	for (;;)
	{
		const char *end = strchr(links, '>');

		require(strncmp(links, "<?", 2) == 0 && end != NULL && strspn(end, ">; rel=\"nextpv") >= 12);
		check_link(target, (Span){links + 2, (int) (end - links - 2)});
		end = strchr(end, ',');
		if (end == NULL)
			return;
		links = end + 2;
	}
}

/* An unknown parameter changes nothing of a body. */
static void
check_unknown_parameter(Span target, const Headers *headers, const HttpResponse *response)
{
	bool has_query = memchr(target.bytes, '?', target.len) != NULL;
	StringInfoData longer;
	HttpResponse other;

	initStringInfo(&longer);
	appendBinaryStringInfo(&longer, target.bytes, target.len);
	appendStringInfoString(&longer, has_query ? "&" UNKNOWN_PARAMETER : "?" UNKNOWN_PARAMETER);
	other = respond(span_of("GET"), (Span){longer.data, longer.len}, headers);
	require(equal_bodies(response, &other));
}

/* A caller that has the response already gets a 304, and only such a caller. An empty header counts as none. */
static void
check_version(Span target, const Headers *headers, const HttpResponse *response)
{
	const char *etag = find_header(response, "ETag");
	Headers own = *headers;
	HttpResponse other;

	if (etag == NULL)
		return;
	own.if_none_match = span_of(etag);
	other = respond(span_of("GET"), target, &own);
	require(other.status == 304 && strcmp(find_header(&other, "ETag"), etag) == 0);
	own.if_none_match = span_of("*");
	other = respond(span_of("GET"), target, &own);
	require(other.status == 304);
	own.if_none_match = span_of("");
	other = respond(span_of("GET"), target, &own);
	require(other.status == 200 && strcmp(find_header(&other, "ETag"), etag) == 0);
}

/* A path is public for all methods and in all its forms, and says nothing of what is in tables. */
static void
check_public(const HttpRequest *request, const HttpResponse *response)
{
	if (route_is_public(request))
		require(listings == 0 && response->status != 401 && response->status != 403);
	else
		require(find_header(response, "Vary") != NULL &&
		        strncmp(find_header(response, "Vary"), "Authorization", 13) == 0);
}

static void
check_uuid(Span target)
{
	Span text = percent_decode(target, false);
	char canonical[UUID_TEXT_LEN];
	pg_uuid_t id;
	pg_uuid_t again;
	Span error;

	require(is_utf8(text.bytes, text.len));
	if (!uuid7_parse(text, &id, &error))
	{
		require(is_utf8(error.bytes, error.len));
		return;
	}
	uuid7_format(&id, canonical);
	require(uuid7_parse((Span){canonical, UUID_TEXT_LEN}, &again, &error) && uuid7_compare(&id, &again) == 0);
}

/* Cuts a field off the input, into memory of its own size, so that reading beyond it is noticed. */
static Span
take_field(Span *input)
{
	const char *end = memchr(input->bytes, SEPARATOR, input->len);
	int len = end != NULL ? (int) (end - input->bytes) : input->len;
	char *copy = palloc(len);

	memcpy(copy, input->bytes, len);
	input->bytes += len;
	input->len -= len;
	take_byte(input);
	return (Span){copy, len};
}

/* Takes what is allowed, and what is asked, off the field of the origin. */
static void
read_flags(Headers *headers)
{
	int flags = take_byte(&headers->origin);

	settings_http.allow_origin = some_origins;
	if (flags % 4 == 0)
		settings_http.allow_origin = no_origin;
	else if (flags % 4 == 1)
		settings_http.allow_origin = any_origin;
	headers->is_preflight = flags % 8 >= 4;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Span input = {size > 0 ? (const char *) data : "", (int) size};
	Span method = take_field(&input);
	Span target = take_field(&input);
	Headers headers = {.if_none_match = take_field(&input), .origin = take_field(&input)};
	HttpRequest request = {.method = method, .target = target, .header = look_up, .source = &headers};
	HttpResponse response;
	HttpResponse other = {0};

	page_input = input;
	read_flags(&headers);
	check_uuid(target);
	response = respond(span_of("GET"), target, &headers);
	check_links(target, &response);
	other = respond(span_of("HEAD"), target, &headers);
	require_equal(&response, &other);
	check_unknown_parameter(target, &headers, &response);
	check_version(target, &headers, &response);
	/* Another method is not allowed, unless there is no such path at all. */
	other = respond(method, target, &headers);
	check_public(&request, &other);
	if (span_equals(method, "GET") || span_equals(method, "HEAD"))
		require_equal(&response, &other);
	else
		require(listings == 0 &&
		        (other.status == 405 || other.status == 204 || (other.status == 404 && response.status == 404)));
	shim_reset();
	return 0;
}
