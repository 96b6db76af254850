/*
 * head.h
 *		Checks a request's head, after libmicrohttpd has parsed it.
 */
#ifndef SESSION_FILES_HTTP_HEAD_H
#define SESSION_FILES_HTTP_HEAD_H

#include "compat.h"

#include <microhttpd.h>

#include "settings.h"

typedef struct Head
{
	const char *method; /* in the library's buffer, as raw_target and version */
	const char *target; /* up to a NUL */
	const char *raw_target;
	const char *version;
	size_t limit;  /* of the whole head, in bytes */
	size_t memory; /* what the connection has for the heads of request and response, in bytes */
} Head;

/* What a connection takes for the heads of a request and its response, in bytes. */
extern size_t head_memory(const HttpSettings *settings);

/* Checks a complete head; returns the status with which to refuse the request, or 0. */
extern int head_check(struct MHD_Connection *handle, const Head *head);

/* Returns whether a head is complete; and the status for one that the library itself refuses. */
extern bool head_is_complete(struct MHD_Connection *handle);
extern int head_refusal(struct MHD_Connection *handle);

/* Returns whether the library is older than 0.9.76, which is lenient with heads and leaves zeros in its buffer (head.c). */
extern bool head_leaves_zeros(void);

#endif
