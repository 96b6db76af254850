/*
 * percent.h
 *		Percent-encoding, as in paths and as in forms.
 */
#ifndef SESSION_FILES_PERCENT_H
#define SESSION_FILES_PERCENT_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "span.h"

/*
 * Decodes escapes; with plus_is_space, as in forms, also "+". A bad escape stays as it is. Bytes
 * that are not UTF-8 become U+FFFD, once per maximal subpart. The result may hold NUL, and may be the
 * text itself.
 */
extern Span percent_decode(Span text, bool plus_is_space);

/*
 * Writes a piece of a query so that it decodes to the same, in ASCII without quotes, angle brackets, commas and semicolons. Ends
 * when out is longer than max.
 */
extern void percent_encode_query(StringInfo out, Span text, int max);

#endif
