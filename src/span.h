/*
 * span.h
 *		A piece of text with its length: what callers send may contain NUL.
 */
#ifndef SESSION_FILES_SPAN_H
#define SESSION_FILES_SPAN_H

#include "compat.h"

typedef struct Span
{
	const char *bytes;
	int len;
} Span;

/* Returns the value of a hexadecimal digit, or -1. */
static inline int
span_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

static inline Span
span_of(const char *text)
{
	return (Span){text, (int) strlen(text)};
}

static inline bool
span_equals(Span span, const char *text)
{
	return span.len == (int) strlen(text) && memcmp(span.bytes, text, span.len) == 0;
}

/* Removes bytes from the start. */
static inline void
span_advance(Span *span, int bytes)
{
	span->bytes += bytes;
	span->len -= bytes;
}

/* Removes spaces and tabs from both ends. */
static inline Span
span_trim(Span span)
{
	while (span.len > 0 && (span.bytes[0] == ' ' || span.bytes[0] == '\t'))
		span_advance(&span, 1);
	while (span.len > 0 && (span.bytes[span.len - 1] == ' ' || span.bytes[span.len - 1] == '\t'))
		span.len--;
	return span;
}

/* Removes and returns the text before a separator, or all of the text if there is none. */
static inline Span
span_cut(Span *rest, char separator, bool *found)
{
	Span piece = {rest->bytes, 0};

	while (piece.len < rest->len && piece.bytes[piece.len] != separator)
		piece.len++;
	*found = piece.len < rest->len;
	span_advance(rest, *found ? piece.len + 1 : piece.len);
	return piece;
}

#endif
