/*
 * session_files.c
 *		_PG_init of the library, and the functions that SQL calls for a listing.
 *
 * get_session_files, list_session_files and session_counts take typed arguments and raise errors; handle_request takes an HTTP request and
 * returns a response. All call the same code in src/listing, and decide nothing themselves.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "access.h"
#include "catalog.h"
#include "grants.h"
#include "http_api.h"
#include "ingestion/maintenance.h"
#include "ingestion/notify.h"
#include "ingestion/queue_walk.h"
#include "listing/json.h"
#include "listing/list_result.h"
#include "listing/request.h"
#include "listing/route.h"
#include "row_set.h"
#include "settings.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(session_files_get_session_files);
PG_FUNCTION_INFO_V1(session_files_list_session_files);
PG_FUNCTION_INFO_V1(session_files_session_counts);
PG_FUNCTION_INFO_V1(session_files_get_session_status);
PG_FUNCTION_INFO_V1(session_files_handle_request);

/* What list_session_files calls the parameters. */
static const char *const row_argument_names[PARAM_COUNT] = {
	"session_id", "ingestion_status", "max_files", "before", "after", "page_number", "sort", "sort",
};

void _PG_init(void);

void
_PG_init(void)
{
	catalog_init();
	http_api_init();
	grants_init();
	queue_walk_init();
	settings_init();
	notify_init();
	maintenance_init();
}

/* Returns an argument of type text; an empty text for NULL. */
static Span
text_argument(FunctionCallInfo fcinfo, int number)
{
	text *value;

	if (PG_ARGISNULL(number))
		return (Span){"", 0};
	value = PG_GETARG_TEXT_PP(number);
	return (Span){VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

/* Returns a JSON string, or the strings of a JSON array, joined by ", ". Other values are left out. */
static Span
join_texts(Datum json)
{
	Jsonb *values =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(DatumGetTextPP(json)))));
	JsonbIterator *iterator = JsonbIteratorInit(&values->root);
	JsonbIteratorToken token;
	JsonbValue value;
	StringInfoData joined;

	initStringInfo(&joined);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM || value.type != jbvString)
			continue;
		if (joined.len > 0)
			appendStringInfoString(&joined, ", ");
		appendBinaryStringInfo(&joined, value.val.string.val, value.val.string.len);
	}
	return (Span){joined.data, joined.len};
}

/* Finds a header in the argument of type json, an object whose keys are in lower case, or NULL. */
static Span
find_header(const HttpRequest *request, const char *name)
{
	const NullableDatum *headers = request->source;
	/* cppcheck-suppress unusedStructMember; the second member makes room for the arguments */
	LOCAL_FCINFO(call, 2);
	Datum value;

	if (headers->isnull)
		return (Span){"", 0};
	InitFunctionCallInfoData(*call, NULL, 2, InvalidOid, NULL, NULL);
	call->args[0] = *headers;
	call->args[1] = (NullableDatum){PointerGetDatum(cstring_to_text(name)), false};
	value = json_object_field(call);
	return call->isnull ? (Span){"", 0} : join_texts(value);
}

static Span
uuid_argument(FunctionCallInfo fcinfo, int number)
{
	char *text;

	if (PG_ARGISNULL(number))
		return (Span){"", 0};
	text = palloc(UUID_TEXT_LEN);
	uuid7_format(PG_GETARG_UUID_P(number), text);
	return (Span){text, UUID_TEXT_LEN};
}

static Span
bigint_argument(FunctionCallInfo fcinfo, int number)
{
	char *text;

	if (PG_ARGISNULL(number))
		return (Span){"", 0};
	text = palloc(MAXINT8LEN + 1);
	return (Span){text, pg_lltoa(PG_GETARG_INT64(number), text)};
}

/* Returns the message about the first wrong argument. */
static const char *
first_error(const RequestErrors *errors, const char *const *names)
{
	const RequestError *error = &errors->items[0];

	return psprintf("invalid value \"%.*s\" for argument \"%s\": %s%.*s", error->input.len, error->input.bytes,
	                names[error->parameter], error->prefix, error->message.len, error->message.bytes);
}

static void
raise_forbidden(void)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
	     errmsg(
			 "a listing can apply no other policy of row level security on table \"files\" than the extension's own")));
}

/* Raises an error unless there is a page. Its detail is the body that an HTTP caller gets. */
static void
raise_error(const ListResult *result, Span workspace_name, Span session_id, const char *const *names)
{
	switch (result->status)
	{
		case HTTP_OK:
			return;
		case HTTP_UNPROCESSABLE:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg_internal("%s", first_error(&result->errors, names)),
			                errdetail_internal("%s", result->body.data)));
			break;
		case HTTP_NOT_FOUND:
			ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
			                errmsg("there is no session \"%.*s\" in the workspace \"%.*s\"", session_id.len,
			                       session_id.bytes, workspace_name.len, workspace_name.bytes),
			                errdetail_internal("%s", result->body.data), errhint(NOT_GRANTED_HINT)));
			break;
		case HTTP_FORBIDDEN:
			raise_forbidden();
			break;
		default:
			elog(ERROR, "unexpected status %d", result->status);
	}
}

static void
require_session_id(bool is_null)
{
	if (is_null)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("session_id must not be null")));
}

/*
 * SQL: session_files.get_session_files(workspace_name text, session_id uuid, ingestion_status text,
 * "limit" bigint, before uuid, after uuid, page_number bigint, field text, "order" text) returns json.
 */
Datum
session_files_get_session_files(PG_FUNCTION_ARGS)
{
	Span workspace_name = text_argument(fcinfo, 0);
	RequestText text = {.room = PG_INT64_MAX};
	ListResult result;

	require_session_id(PG_ARGISNULL(1));
	text.values[PARAM_SESSION_ID] = uuid_argument(fcinfo, 1);
	text.values[PARAM_INGESTION_STATUS] = text_argument(fcinfo, 2);
	text.values[PARAM_LIMIT] = bigint_argument(fcinfo, 3);
	text.values[PARAM_BEFORE] = uuid_argument(fcinfo, 4);
	text.values[PARAM_AFTER] = uuid_argument(fcinfo, 5);
	text.values[PARAM_PAGE_NUMBER] = bigint_argument(fcinfo, 6);
	text.values[PARAM_FIELD] = text_argument(fcinfo, 7);
	text.values[PARAM_ORDER] = text_argument(fcinfo, 8);
	list_result_make(workspace_name, &text, &result);
	raise_error(&result, workspace_name, text.values[PARAM_SESSION_ID], parameter_names);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(result.body.data, result.body.len));
}

/* SQL: session_files.get_session_status(workspace_name text, session_id uuid) returns json. */
Datum
session_files_get_session_status(PG_FUNCTION_ARGS)
{
	Span workspace_name = text_argument(fcinfo, 0);
	Span session_id = uuid_argument(fcinfo, 1);
	ListResult result;

	require_session_id(PG_ARGISNULL(1));
	list_result_make_status(workspace_name, session_id, &result);
	raise_error(&result, workspace_name, session_id, parameter_names);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(result.body.data, result.body.len));
}

/* Reads "name", or "name ASC", as field and order. */
static void
split_sort(Span sort, RequestText *text)
{
	bool has_order;

	sort = span_trim(sort);
	text->values[PARAM_FIELD] = span_cut(&sort, ' ', &has_order);
	text->values[PARAM_ORDER] = span_trim(sort);
}

static void
put_row(const Catalog *catalog, const FileRow *row, ReturnSetInfo *result)
{
	bool has_reason = row->reason != REASON_NONE;
	Datum values[5] = {UUIDPGetDatum(&row->id), ObjectIdGetDatum(catalog->statuses[row->status]),
	                   has_reason ? ObjectIdGetDatum(catalog->reasons[row->reason]) : (Datum) 0,
	                   PointerGetDatum(cstring_to_text_with_len(row->name.bytes, row->name.len)),
	                   TimestampTzGetDatum(uuid7_read_time(&row->id))};
	bool nulls[5] = {false, false, !has_reason, false, false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * SQL: session_files.list_session_files(workspace_name text, session_id uuid, ingestion_status text, sort text,
 * max_files bigint, page_number bigint, before uuid, after uuid) returns a table.
 */
Datum
session_files_list_session_files(PG_FUNCTION_ARGS)
{
	Span workspace_name = text_argument(fcinfo, 0);
	RequestText text = {.room = PG_INT64_MAX};
	ReturnSetInfo *result = row_set_begin(fcinfo);
	ListResult list;

	require_session_id(PG_ARGISNULL(1));
	text.values[PARAM_SESSION_ID] = uuid_argument(fcinfo, 1);
	text.values[PARAM_INGESTION_STATUS] = text_argument(fcinfo, 2);
	split_sort(text_argument(fcinfo, 3), &text);
	text.values[PARAM_LIMIT] = bigint_argument(fcinfo, 4);
	text.values[PARAM_PAGE_NUMBER] = bigint_argument(fcinfo, 5);
	text.values[PARAM_BEFORE] = uuid_argument(fcinfo, 6);
	text.values[PARAM_AFTER] = uuid_argument(fcinfo, 7);
	list_result_make(workspace_name, &text, &list);
	raise_error(&list, workspace_name, text.values[PARAM_SESSION_ID], row_argument_names);
	for (int i = 0; i < list.page.count; i++)
		put_row(catalog_get(), &list.page.files[i], result);
	return (Datum) 0;
}

/* Counts the files of a session; raises an error if there is none to be seen. */
static void
count_files(const pg_uuid_t *session_id, Counts *counts)
{
	ListingOutcome outcome = listing_count(session_id, counts);

	if (outcome == LISTING_FORBIDDEN)
		raise_forbidden();
	if (outcome == LISTING_NO_SESSION)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
		                errmsg("there is no session \"%s\"",
		                       DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(session_id)))),
		                errhint(NOT_GRANTED_HINT)));
}

/* SQL: session_files.session_counts(session_id uuid) returns a record: pending, finished, failed, total. */
Datum
session_files_session_counts(PG_FUNCTION_ARGS)
{
	Counts counts;
	TupleDesc desc;
	Datum values[4];
	bool nulls[4] = {false, false, false, false};

	require_session_id(PG_ARGISNULL(0));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	count_files(PG_GETARG_UUID_P(0), &counts);
	values[0] = Int64GetDatum(counts.by_status[STATUS_PENDING]);
	values[1] = Int64GetDatum(counts.by_status[STATUS_FINISHED]);
	values[2] = Int64GetDatum(counts.by_status[STATUS_FAILED]);
	values[3] = Int64GetDatum(counts.by_status[STATUS_PENDING] + counts.by_status[STATUS_FINISHED] +
	                          counts.by_status[STATUS_FAILED]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Renders headers in the form of PostgREST's response.headers: an array of objects of one key. */
static text *
headers_as_json(const HttpResponse *response)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < response->header_count; i++)
	{
		/* No name has anything to escape. */
		appendStringInfoString(&out, i == 0 ? "[{\"" : ",{\"");
		appendStringInfoString(&out, response->headers[i].name);
		appendStringInfoString(&out, "\":");
		json_write_string(&out, span_of(response->headers[i].value));
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoChar(&out, ']');
	return cstring_to_text_with_len(out.data, out.len);
}

/* SQL: session_files.handle_request(method text, target text, headers json, body bytea) returns http_response. */
Datum
session_files_handle_request(PG_FUNCTION_ARGS)
{
	HttpRequest request = {.header = find_header, .source = &fcinfo->args[2], .room = PG_INT64_MAX};
	HttpResponse response;
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {false, false, false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("method and target must not be null")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	request.method = text_argument(fcinfo, 0);
	request.target = text_argument(fcinfo, 1);
	route_request(&request, &response);
	values[0] = Int32GetDatum(response.status);
	values[1] = PointerGetDatum(headers_as_json(&response));
	values[2] = PointerGetDatum(cstring_to_text_with_len(response.body.data, response.body.len));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
