/*
 * head.h
 *		Looks at a request's head, after libmicrohttpd has taken it apart.
 */
#ifndef SESSION_FILES_HTTP_HEAD_H
#define SESSION_FILES_HTTP_HEAD_H

#include "compat.h"

#include <microhttpd.h>

#include "settings.h"

typedef struct Head
{
	const char *method; /* where the library has it, as raw_target and version */
	const char *target; /* up to a NUL */
	const char *raw_target;
	const char *version;
	size_t limit;  /* of all of the head, in bytes */
	size_t memory; /* what the connection has for the heads of request and answer, in bytes */
} Head;

/* What a connection takes for the heads of a request and its response, in bytes. */
extern size_t head_memory(const HttpSettings *settings);

/* Returns the status to refuse a request with whose head is complete, or 0. */
extern int head_check(struct MHD_Connection *handle, const Head *head);

/* Returns whether a head has come to its end; and why the library refuses one that has, by its own rules: a status. */
extern bool head_is_complete(struct MHD_Connection *handle);
extern int head_refusal(struct MHD_Connection *handle);

/* Returns whether the library is a version before 0.9.76, which reads heads generously and leaves zeros behind (head.c). */
extern bool head_leaves_zeros(void);

#endif
