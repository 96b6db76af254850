/*
 * row_set.h
 *		The result of a function that returns a set, all at once.
 */
#ifndef SESSION_FILES_ROW_SET_H
#define SESSION_FILES_ROW_SET_H

#include "compat.h"

#include "fmgr.h"
#include "nodes/execnodes.h"

/* Prepares the result, whose rows go into its setResult; the function returns (Datum) 0 then. */
extern ReturnSetInfo *row_set_begin(FunctionCallInfo fcinfo);

#endif
