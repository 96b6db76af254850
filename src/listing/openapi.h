/*
 * openapi.h
 *		The OpenAPI document.
 */
#ifndef SESSION_FILES_OPENAPI_H
#define SESSION_FILES_OPENAPI_H

#include "compat.h"

#include "span.h"

extern const Span openapi_document;

#endif
