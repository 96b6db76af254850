/*
 * request.c
 *		Checks the parameters of a listing.
 *
 * The contract defines rules and messages; where it leaves something open, they are those of pydantic 2.13 (test/golden). This file
 * touches no table and knows no HTTP.
 */
#include "compat.h"

#include "listing/request.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "catalog.h"

/* The reference refuses longer integers without converting them. */
#define MAX_DIGITS 4300

#define NOT_AN_INTEGER "unable to parse string as an integer"
#define CURSOR_WITH_PAGE "clear the `page_number` parameter to use a cursor"
#define CURSOR_UNKNOWN "no file with this ID in the session"

const char *const parameter_names[PARAM_COUNT] = {
	"session_id", "ingestion_status", "limit", "before", "after", "page_number", "field", "order",
};

/* The words that a parameter can be, in the order of the message. */
typedef struct Words
{
	const char *error_type;
	const char *expected;
	int count;
	struct
	{
		const char *word;
		int value;
	} items[4];
} Words;

static const Words status_words = {
	.error_type = "enum",
	.expected = "'PENDING', 'FAILED' or 'FINISHED'",
	.count = 3,
	.items = {{"PENDING", STATUS_PENDING}, {"FAILED", STATUS_FAILED}, {"FINISHED", STATUS_FINISHED}},
};

static const Words field_words = {
	.error_type = "literal_error",
	.expected = "'created_at', 'ingestion_status', 'ingestion_status_reason' or 'name'",
	.count = 4,
	.items = {{"created_at", FIELD_CREATED_AT},
              {"ingestion_status", FIELD_INGESTION_STATUS},
              {"ingestion_status_reason", FIELD_INGESTION_STATUS_REASON},
              {"name", FIELD_NAME}},
};

static const Words order_words = {
	.error_type = "literal_error",
	.expected = "'ASC' or 'DESC'",
	.count = 2,
	.items = {{"ASC", false}, {"DESC", true}},
};

static RequestError *
add_error(RequestErrors *errors, Parameter parameter, Span input, const char *type, const char *prefix, Span message)
{
	RequestError *error = &errors->items[errors->count++];

	*error = (RequestError){.parameter = parameter, .input = input, .type = type, .prefix = prefix, .message = message};
	return error;
}

/* Adds an error whose ctx has the message too. */
static void
add_explained_error(RequestErrors *errors, Parameter parameter, Span input, const char *type, const char *prefix,
                    const char *context_key, Span message)
{
	RequestError *error = add_error(errors, parameter, input, type, prefix, message);

	error->context_key = context_key;
	error->context_text = message;
}

static void
add_bound_error(RequestErrors *errors, Parameter parameter, Span input, const char *type, const char *wording,
                const char *context_key, int bound)
{
	RequestError *error = add_error(errors, parameter, input, type, "Input should be ",
	                                span_of(psprintf("%s than or equal to %d", wording, bound)));

	error->context_key = context_key;
	error->context_number = bound;
}

/* Checks a UUID; returns whether it is valid. */
static bool
check_uuid(const RequestText *text, Parameter parameter, pg_uuid_t *id, RequestErrors *errors)
{
	Span input = text->values[parameter];
	Span message;

	if (uuid7_parse(input, id, &message))
		return true;
	add_explained_error(errors, parameter, input, "uuid_parsing", "Input should be a valid UUID, ", "error", message);
	return false;
}

static void
check_word(const RequestText *text, Parameter parameter, const Words *words, int *value, RequestErrors *errors)
{
	Span input = text->values[parameter];

	for (int i = 0; i < words->count; i++)
	{
		if (span_equals(input, words->items[i].word))
		{
			*value = words->items[i].value;
			return;
		}
	}
	add_explained_error(errors, parameter, input, words->error_type, "Input should be ", "expected",
	                    span_of(words->expected));
}

/* Code points of the Unicode property White_Space. */
static bool
is_white_space(pg_wchar c)
{
	return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static Span
trim(Span text)
{
	const unsigned char *start = (const unsigned char *) text.bytes;
	const unsigned char *end = start + text.len;

	while (start < end && is_white_space(utf8_to_unicode(start)))
		start += pg_utf_mblen(start);
	while (end > start)
	{
		const unsigned char *last = end - 1;

		while (last > start && (*last & 0xc0) == 0x80)
			last--;
		if (!is_white_space(utf8_to_unicode(last)))
			break;
		end = last;
	}
	return (Span){(const char *) start, (int) (end - start)};
}

/*
 * The next functions read integers exactly as the reference does, which has oddities: a sign counts as a digit, a minus may follow
 * leading zeros, and underscores among these may be doubled.
 */

/*
 * Returns whether the text starts with too many digits. The reference checks that first, but not after white space, a plus or a zero:
 * such a number is not an integer to it.
 */
static bool
begins_too_long(Span text)
{
	int at = (text.len > 0 && text.bytes[0] == '-') ? 1 : 0;

	if (at < text.len && text.bytes[at] == '0')
		return false;
	while (at < text.len && is_digit(text.bytes[at]))
		at++;
	return at > MAX_DIGITS;
}

/* Removes the first byte if it is this one. */
static bool
strip_byte(Span *text, char byte)
{
	if (text->len == 0 || text->bytes[0] != byte)
		return false;
	text->bytes++;
	text->len--;
	return true;
}

/* Removes a fraction of zeros; returns false if there is another fraction. */
static bool
strip_fraction(Span *text)
{
	int point = 0;

	while (point < text->len && text->bytes[point] != '.')
		point++;
	if (point == text->len)
		return true;
	for (int i = point + 1; i < text->len; i++)
	{
		if (text->bytes[i] != '0')
			return false;
	}
	if (point + 1 == text->len)
		return false;
	text->len = point;
	return true;
}

/* Removes leading zeros and the underscores among them, but not the last byte. */
static void
strip_zeros(Span *text)
{
	if (text->len == 0 || text->bytes[0] != '0')
		return;
	while (text->len > 1 && (text->bytes[0] == '0' || text->bytes[0] == '_'))
	{
		text->bytes++;
		text->len--;
	}
}

/* Parses digits with single underscores between them. A number that int64 does not hold becomes PG_INT64_MAX. */
static bool
parse_digits(Span text, int max_digits, int64 *value)
{
	int digits = 0;
	bool after_digit = false;

	*value = 0;
	for (int i = 0; i < text.len; i++)
	{
		if (text.bytes[i] == '_' && after_digit)
		{
			after_digit = false;
			continue;
		}
		if (!is_digit(text.bytes[i]))
			return false;
		after_digit = true;
		digits++;
		if (*value > (PG_INT64_MAX - 9) / 10)
			*value = PG_INT64_MAX;
		else
			*value = *value * 10 + (text.bytes[i] - '0');
	}
	return after_digit && digits <= max_digits;
}

static bool
parse_integer(Span text, int64 *value)
{
	bool negative;

	text = trim(text);
	if (strip_byte(&text, '+') && text.len > 0 && text.bytes[0] == '-')
		return false;
	negative = strip_byte(&text, '-');
	if (!strip_fraction(&text))
		return false;
	strip_zeros(&text);
	if (!negative && strip_byte(&text, '-'))
	{
		negative = true;
		strip_byte(&text, '_');
		/* Here leading zeros are not allowed. */
		if (text.len > 1 && text.bytes[0] == '0')
			return false;
	}
	if (!parse_digits(text, negative ? MAX_DIGITS - 1 : MAX_DIGITS, value))
		return false;
	if (negative)
		*value = -*value;
	return true;
}

/* Checks an integer. Negative max: it has no upper bound. */
static void
check_integer(const RequestText *text, Parameter parameter, int min, int max, int64 *value, RequestErrors *errors)
{
	Span input = text->values[parameter];
	int64 parsed;

	if (begins_too_long(input))
		add_error(errors, parameter, input, "int_parsing_size", "Unable to parse input string as an integer, ",
		          span_of("exceeded maximum size"));
	else if (!parse_integer(input, &parsed))
		add_error(errors, parameter, input, "int_parsing", "Input should be a valid integer, ",
		          span_of(NOT_AN_INTEGER));
	else if (max >= 0 && parsed > max)
		add_bound_error(errors, parameter, input, "less_than_equal", "less", "le", max);
	else if (parsed < min)
		add_bound_error(errors, parameter, input, "greater_than_equal", "greater", "ge", min);
	else
		*value = parsed;
}

static void
refuse_cursor(const RequestText *text, Parameter cursor, const char *message, RequestErrors *errors)
{
	add_explained_error(errors, cursor, text->values[cursor], "value_error", "Value error, ", "error",
	                    span_of(message));
}

void
request_refuse_cursor(const RequestText *text, Parameter cursor, RequestErrors *errors)
{
	refuse_cursor(text, cursor, CURSOR_UNKNOWN, errors);
}

static bool
is_given(const RequestText *text, Parameter parameter)
{
	return text->values[parameter].len > 0;
}

/* Adds an error for each cursor that was given together with a page number. */
static void
check_combination(const RequestText *text, RequestErrors *errors)
{
	if (!is_given(text, PARAM_PAGE_NUMBER))
		return;
	if (is_given(text, PARAM_BEFORE))
		refuse_cursor(text, PARAM_BEFORE, CURSOR_WITH_PAGE, errors);
	if (is_given(text, PARAM_AFTER))
		refuse_cursor(text, PARAM_AFTER, CURSOR_WITH_PAGE, errors);
}

void
request_check(const RequestText *text, ListRequest *request, RequestErrors *errors)
{
	int field = FIELD_CREATED_AT;
	int descending = true;
	int64 limit = LIMIT_DEFAULT;

	memset(request, 0, sizeof(ListRequest));
	request->status = STATUS_ANY;
	request->page_number = 1;
	errors->count = 0;

	/* A path always has a session_id, right or wrong. */
	check_uuid(text, PARAM_SESSION_ID, &request->session_id, errors);
	if (is_given(text, PARAM_INGESTION_STATUS))
		check_word(text, PARAM_INGESTION_STATUS, &status_words, &request->status, errors);
	if (is_given(text, PARAM_LIMIT))
		check_integer(text, PARAM_LIMIT, 0, LIMIT_MAX, &limit, errors);
	if (is_given(text, PARAM_BEFORE))
		request->has_before = check_uuid(text, PARAM_BEFORE, &request->before, errors);
	if (is_given(text, PARAM_AFTER))
		request->has_after = check_uuid(text, PARAM_AFTER, &request->after, errors);
	if (is_given(text, PARAM_PAGE_NUMBER))
		check_integer(text, PARAM_PAGE_NUMBER, 1, -1, &request->page_number, errors);
	if (is_given(text, PARAM_FIELD))
		check_word(text, PARAM_FIELD, &field_words, &field, errors);
	if (is_given(text, PARAM_ORDER))
		check_word(text, PARAM_ORDER, &order_words, &descending, errors);

	request->limit = (int) limit;
	request->field = (ListField) field;
	request->descending = descending;
	request->if_none_match = text->if_none_match;
	request->room = text->room;
	if (errors->count == 0)
		check_combination(text, errors);
}
