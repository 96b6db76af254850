/*
 * openapi.c
 *		What is served, as an OpenAPI document: src/openapi.json, of which the Makefile makes a string.
 */
#include "compat.h"

#include "listing/openapi.h"

static const char document[] =
#include "listing/openapi.inc"
	;

const Span openapi_document = {document, sizeof(document) - 1};
