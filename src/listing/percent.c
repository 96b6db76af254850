/*
 * percent.c
 *		Percent-encoding, in paths and in forms.
 */
#include "compat.h"

#include "listing/percent.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Returns whether an escape begins at a byte. */
static bool
is_escape(Span text, int i)
{
	return text.bytes[i] == '%' && i + 2 < text.len && span_hex_digit(text.bytes[i + 1]) >= 0 &&
	       span_hex_digit(text.bytes[i + 2]) >= 0;
}

/* Decodes escapes into out, which has room for text.len bytes. Returns how many bytes it has written. */
static int
decode_escapes(Span text, bool plus_is_space, unsigned char *out)
{
	int written = 0;

	for (int i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.bytes[i];

		if (is_escape(text, i))
		{
			c = (span_hex_digit(text.bytes[i + 1]) << 4) | span_hex_digit(text.bytes[i + 2]);
			i += 2;
		}
		else if (c == '+' && plus_is_space)
			c = ' ';
		out[written++] = c;
	}
	return written;
}

/*
 * Returns the length of the UTF-8 character at the start, in bytes; or, negative, the length of the maximal subpart of an ill-formed
 * one (Unicode 15, section 3.9, table 3-7).
 */
static int
utf8_length(const unsigned char *bytes, int len)
{
	unsigned char first = bytes[0];
	unsigned char low = 0x80;
	unsigned char high = 0xbf;
	int length;

	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return -1;
	length = first < 0xe0 ? 2 : (first < 0xf0 ? 3 : 4);
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	for (int i = 1; i < length; i++)
	{
		if (i >= len || bytes[i] < low || bytes[i] > high)
			return -i;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

/* Returns the bytes with U+FFFD in place of ill-formed UTF-8. */
static Span
repair_utf8(const unsigned char *bytes, int len)
{
	StringInfoData out;
	int at = 0;
	int good = 0; /* what comes before it was appended already */

	while (at < len && utf8_length(bytes + at, len - at) > 0)
		at += utf8_length(bytes + at, len - at);
	if (at == len)
		return (Span){(const char *) bytes, len};

	initStringInfo(&out);
	while (at < len)
	{
		int length = utf8_length(bytes + at, len - at);

		if (length < 0)
		{
			appendBinaryStringInfo(&out, (const char *) bytes + good, at - good);
			appendStringInfoString(&out, REPLACEMENT);
			good = at - length;
		}
		at += abs(length);
	}
	appendBinaryStringInfo(&out, (const char *) bytes + good, len - good);
	return (Span){out.data, out.len};
}

/* Returns whether a text has nothing to decode or repair. */
static bool
is_plain(Span text)
{
	for (int i = 0; i < text.len; i++)
	{
		if (text.bytes[i] == '%' || text.bytes[i] == '+' || (text.bytes[i] & 0x80) != 0)
			return false;
	}
	return true;
}

Span
percent_decode(Span text, bool plus_is_space)
{
	unsigned char *decoded;
	int len;

	if (is_plain(text))
		return text;
	decoded = palloc(text.len + 1);
	len = decode_escapes(text, plus_is_space, decoded);

	return repair_utf8(decoded, len);
}

/* Returns whether a byte needs no escape in a query that stands in a header, between angle brackets. */
static bool
is_safe(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~+=:@/?!$*()", c) != NULL);
}

void
percent_encode_query(StringInfo out, Span text, int max)
{
	static const char digits[] = "0123456789ABCDEF";

	for (int i = 0; i < text.len && out->len <= max; i++)
	{
		unsigned char c = (unsigned char) text.bytes[i];

		if (is_safe(c) || is_escape(text, i))
			appendStringInfoCharMacro(out, (char) c);
		else
		{
			appendStringInfoCharMacro(out, '%');
			appendStringInfoCharMacro(out, digits[c >> 4]);
			appendStringInfoCharMacro(out, digits[c & 0xf]);
		}
	}
}
