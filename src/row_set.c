/*
 * row_set.c
 *		The result of a function that returns a set, all at once.
 */
#include "compat.h"

#include "row_set.h"

#include "funcapi.h"
#include "miscadmin.h"

ReturnSetInfo *
row_set_begin(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller;

	if (result == NULL || !IsA(result, ReturnSetInfo) || (result->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("the set cannot be returned here")));
	caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &result->setDesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->setDesc = CreateTupleDescCopy(result->setDesc);
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap(false, false, work_mem);
	MemoryContextSwitchTo(caller);
	return result;
}
