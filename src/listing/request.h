/*
 * request.h
 *		Checks the parameters of a listing.
 */
#ifndef SESSION_FILES_REQUEST_H
#define SESSION_FILES_REQUEST_H

#include "compat.h"

#include "span.h"
#include "uuid7.h"

#define LIMIT_DEFAULT 10
#define LIMIT_MAX 100

/* The parameters, in the order in which errors are reported. */
typedef enum Parameter
{
	PARAM_SESSION_ID,
	PARAM_INGESTION_STATUS,
	PARAM_LIMIT,
	PARAM_BEFORE,
	PARAM_AFTER,
	PARAM_PAGE_NUMBER,
	PARAM_FIELD,
	PARAM_ORDER
} Parameter;

#define PARAM_COUNT 8

extern const char *const parameter_names[PARAM_COUNT];

/* What a caller sent; an empty value means "not given". */
typedef struct RequestText
{
	Span values[PARAM_COUNT];
	Span if_none_match; /* the versions that the caller has */
	int64 room;         /* how large a page may be, in bytes before JSON escapes them */
} RequestText;

typedef enum ListField
{
	FIELD_CREATED_AT,
	FIELD_INGESTION_STATUS,
	FIELD_INGESTION_STATUS_REASON,
	FIELD_NAME
} ListField;

typedef struct ListRequest
{
	pg_uuid_t session_id;
	int status; /* IngestionStatus, or STATUS_ANY */
	int limit;
	bool has_before;
	bool has_after;
	pg_uuid_t before;
	pg_uuid_t after;
	int64 page_number; /* from 1; PG_INT64_MAX for larger numbers, too */
	ListField field;
	bool descending;
	Span if_none_match;
	int64 room; /* as in RequestText */
} ListRequest;

/* An error of a parameter, in the terms of the 422 body. */
typedef struct RequestError
{
	Parameter parameter;
	Span input;
	const char *type;
	Span message; /* without the prefix */
	const char *prefix;
	const char *context_key; /* NULL: the error has no ctx */
	Span context_text;       /* for "error" and "expected" */
	int context_number;      /* for "le" and "ge" */
} RequestError;

typedef struct RequestErrors
{
	int count;
	RequestError items[PARAM_COUNT];
} RequestErrors;

/* Checks what was sent. The request is complete if errors->count is 0 afterwards. */
extern void request_check(const RequestText *text, ListRequest *request, RequestErrors *errors);

/* Adds the error of a cursor that is no file of the session. */
extern void request_refuse_cursor(const RequestText *text, Parameter cursor, RequestErrors *errors);

#endif
