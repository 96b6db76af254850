/*
 * head.c
 *		Checks a request's head, after libmicrohttpd has parsed it.
 *
 * A head is refused if two servers in a row could read it differently: where the request ends, and for whom it is.
 *
 * Versions of the library before 0.9.76 accept heads that another server in front of them may read differently, so that one request for
 * that server would be two here. They end a line at a bare LF, end a text at a NUL, and append the continuation of a folded line to the
 * header's name, which makes a Content-Length another header. Nothing of that shows in what they pass on, but it shows in their buffer:
 * they put zeros over what ended a text, a space, a colon, CR and LF, and leave the rest. So a NUL or a bare LF is one zero where there
 * have to be two. Later versions refuse such requests, and keep no such buffer.
 */
#include "http/head.h"

#include <microhttpd.h>

/* What the library takes for a header or a cookie, besides its text, in bytes: 56, or 64 where it aligns more. */
#define RECORD_SIZE 64

/* The longest head of a response, in bytes: without the links to other pages; and a link, which has at most the query, escaped. */
#define RESPONSE_HEAD 1024
#define LINK_MAX 1024

/* Room in a connection's pool besides the request's head: the library's records, and the response's head. */
#define POOL_OVERHEAD ((size_t) 4 * 1024)

size_t
head_memory(const HttpSettings *settings)
{
	return settings->header_size + POOL_OVERHEAD;
}

bool
head_leaves_zeros(void)
{
	static int known = -1;
	unsigned major;
	unsigned minor;
	unsigned patch;

	if (known < 0)
		/* NOLINTNEXTLINE(cert-err34-c): the library's own version; its numbers do not overflow */
		known = sscanf(MHD_get_version(), "%u.%u.%u", &major, &minor, &patch) == 3 && major == 0 && minor == 9 &&
		        patch < 76;
	return known;
}

/* Returns whether a piece of the buffer is clean lines of a head, from the end of the first to the empty one. */
static bool
are_clean_lines(const char *c, const char *end)
{
	while (end - c >= 4 && c[0] == '\0' && c[1] == '\0')
	{
		c += 2;
		if (end - c == 2)
			return c[0] == '\0' && c[1] == '\0';
		/* A line without a name, or the continuation of a folded line. */
		if (*c == '\0' || *c == ' ' || *c == '\t')
			return false;
		c += strnlen(c, end - c);
		/* After the colon. */
		c += c < end;
		while (c < end && (*c == ' ' || *c == '\t'))
			c++;
		c += strnlen(c, end - c);
	}
	return false;
}

/* Returns whether the buffer shows nothing that two servers could read differently. */
static bool
is_clean(const Head *head, size_t size)
{
	size_t target_len = strlen(head->target);

	if (!head_leaves_zeros())
		return true;
	/* There is one space between method, target and version. */
	if (head->method + strlen(head->method) + 1 != head->raw_target ||
	    head->raw_target + target_len + 1 != head->version)
		return false;
	return are_clean_lines(head->version + strlen(head->version), head->method + size);
}

/* What in a head decides where the request ends, and for whom it is. */
typedef struct Framing
{
	int hosts;
	int lengths;
	int encodings;
	int authorizations;
	size_t records; /* what the library takes for headers and cookies, besides the head, in bytes */
	bool expects_continue;
	bool has_body;
	bool bad;
} Framing;

/* Returns whether a header's name may have a byte (RFC 9110, section 5.6.2). */
static bool
is_token_character(unsigned char c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
	       (c != '\0' && strchr(others, c) != NULL);
}

static bool
is_token(const char *text)
{
	const unsigned char *c = (const unsigned char *) text;

	while (is_token_character(*c))
		c++;
	return *c == '\0' && text[0] != '\0';
}

static enum MHD_Result
look_at_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Framing *framing = arg;

	framing->records += RECORD_SIZE;
	if (pg_strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0)
		framing->hosts++;
	else if (pg_strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0)
		framing->authorizations++;
	else if (pg_strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
	{
		framing->lengths++;
		if (value == NULL || value[0] == '\0' || value[strspn(value, "0123456789")] != '\0')
			framing->bad = true;
		else if (value[strspn(value, "0")] != '\0')
			framing->has_body = true;
	}
	else if (pg_strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
	{
		framing->encodings++;
		framing->has_body = true;
		if (value == NULL || pg_strcasecmp(value, "chunked") != 0)
			framing->bad = true;
	}
	else if (pg_strcasecmp(name, MHD_HTTP_HEADER_COOKIE) == 0)
		/* The library makes a copy of it to split the cookies. */
		framing->records += value != NULL ? strlen(value) + 1 : 0;
	else if (pg_strcasecmp(name, MHD_HTTP_HEADER_EXPECT) == 0)
		framing->expects_continue |= value != NULL && pg_strcasecmp(value, "100-continue") == 0;
	/* For example, a space before the colon. */
	if (!is_token(name))
		framing->bad = true;
	/* For example, a bare CR, at which some servers end a line. */
	for (const unsigned char *c = (const unsigned char *) value; c != NULL && *c != '\0'; c++)
	{
		if ((*c < ' ' && *c != '\t') || *c == 0x7f)
			framing->bad = true;
	}
	return MHD_YES;
}

static enum MHD_Result
look_at_cookie(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Framing *framing = arg;

	framing->records += RECORD_SIZE;
	return MHD_YES;
}

/* Returns whether the head of a response fits into a connection's memory besides that of the request. Otherwise the library would close it. */
static bool
has_room_for_response(struct MHD_Connection *handle, const Head *head, size_t size, Framing *framing)
{
	const char *query = strchr(head->target, '?');
	size_t links = query != NULL ? 2 * Min(LINK_MAX, 3 * strlen(query)) : 0;

	MHD_get_connection_values(handle, MHD_COOKIE_KIND, look_at_cookie, framing);
	return size + framing->records + links + RESPONSE_HEAD <= head->memory;
}

static bool
is_plain_target(const char *target)
{
	for (const unsigned char *c = (const unsigned char *) target; *c != '\0'; c++)
	{
		if (*c <= ' ' || *c == 0x7f)
			return false;
	}
	return target[0] != '\0';
}

/* Returns the size of a head that is complete, or 0. */
static size_t
head_size(struct MHD_Connection *handle)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	return info != NULL ? info->header_size : 0;
}

bool
head_is_complete(struct MHD_Connection *handle)
{
	return head_size(handle) > 0;
}

int
head_refusal(struct MHD_Connection *handle)
{
	Framing framing = {0};

	MHD_get_connection_values(handle, MHD_HEADER_KIND, look_at_header, &framing);
	if (framing.bad)
		return MHD_HTTP_BAD_REQUEST;
	/* A length over 64 bits; or cookies for which there is no room. */
	return framing.lengths > 0 ? MHD_HTTP_CONTENT_TOO_LARGE : MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
}

/* Returns whether a head says in one way only where the request ends, and for whom it is. */
static bool
is_unambiguous(const Head *head, const Framing *framing)
{
	if (!is_token(head->method) || !is_plain_target(head->target) || framing->bad)
		return false;
	if (framing->hosts > 1 || framing->lengths + framing->encodings > 1 || framing->authorizations > 1)
		return false;
	/* The library would wait for a body that is not announced. */
	if (framing->expects_continue && !framing->has_body)
		return false;
	return strcmp(head->version, MHD_HTTP_VERSION_1_1) == 0 ? framing->hosts == 1 : framing->encodings == 0;
}

int
head_check(struct MHD_Connection *handle, const Head *head)
{
	Framing framing = {0};
	size_t size = head_size(handle);

	if (strlen(head->target) > head->limit)
		return MHD_HTTP_URI_TOO_LONG;
	if (size > head->limit)
		return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
	MHD_get_connection_values(handle, MHD_HEADER_KIND, look_at_header, &framing);
	if (!is_clean(head, size) || !is_unambiguous(head, &framing))
		return MHD_HTTP_BAD_REQUEST;
	/* The library is lenient with the lines of chunks: another server may see another end of such a body. */
	if (framing.encodings > 0)
		return MHD_HTTP_LENGTH_REQUIRED;
	return has_room_for_response(handle, head, size, &framing) ? 0 : MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
}
