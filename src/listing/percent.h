/*
 * percent.h
 *		Percent-encoding, in paths and in forms.
 */
#ifndef SESSION_FILES_PERCENT_H
#define SESSION_FILES_PERCENT_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "span.h"

/*
 * Decodes escapes and, with plus_is_space, as in forms, "+". A malformed escape stays as it is. Ill-formed UTF-8 becomes U+FFFD, one per
 * maximal subpart. The result may contain NUL, and may be the text itself.
 */
extern Span percent_decode(Span text, bool plus_is_space);

/*
 * Writes a piece of a query in ASCII without quotes, angle brackets, commas and semicolons, so that it decodes to the same. Stops when out
 * is longer than max.
 */
extern void percent_encode_query(StringInfo out, Span text, int max);

#endif
