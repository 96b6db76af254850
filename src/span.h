/*
 * span.h
 *		A piece of text by its length, as what callers send may hold NUL.
 */
#ifndef SESSION_FILES_SPAN_H
#define SESSION_FILES_SPAN_H

#include "compat.h"

typedef struct Span
{
	const char *bytes;
	int len;
} Span;

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

#endif
