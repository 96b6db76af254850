/*
 * head.h
 *		Looks at a request's head, after libmicrohttpd has taken it apart.
 */
#ifndef SESSION_FILES_HTTP_HEAD_H
#define SESSION_FILES_HTTP_HEAD_H

#include "../compat.h"

#include <microhttpd.h>

typedef struct Head
{
	const char *method; /* where the library has it, as raw_target and version */
	const char *target; /* up to a NUL */
	const char *raw_target;
	const char *version;
	size_t limit; /* of all of the head, in bytes */
} Head;

/* Returns the status to refuse a request with whose head is complete, or 0; *chunked says whether its body comes in chunks. */
extern int head_check(struct MHD_Connection *handle, const Head *head, bool *chunked);

#endif
