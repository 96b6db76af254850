/*
 * openapi.c
 *		The OpenAPI document, openapi.json. The Makefile makes a C string of it.
 */
#include "compat.h"

#include "listing/openapi.h"

static const char document[] =
#include "listing/openapi.inc"
	;

const Span openapi_document = {document, sizeof(document) - 1};
