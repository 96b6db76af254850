/*
 * links.h
 *		The header Link: the pages before and after a page.
 */
#ifndef SESSION_FILES_LINKS_H
#define SESSION_FILES_LINKS_H

#include "compat.h"

#include "lib/stringinfo.h"

#include "listing/listing.h"
#include "listing/request.h"

/* Writes the value of the header Link (RFC 8288) for the query of a request, or nothing if there is no other page. */
extern void links_append(StringInfo out, Span query, const ListRequest *request, const ListPage *page);

#endif
