/*
 * as_owner.c
 *		The public functions whose body is SQL: checks the caller, and calls the body as the owner of the tables.
 *
 * A public function `name` stands for the function `_name` with the same arguments, which only the owner may execute. All of them are one
 * function here: which kinds of grant it needs, and for what, is in the table below. The check is made as the caller (access.c). Then the
 * user changes, with what owner.c sets; after an error, the end of the (sub)transaction restores both.
 *
 * No role needs a right on a table for these functions, and what it may do does not change while one runs.
 *
 * It must not call the body for an argument that names nothing to be checked: a session, or a workspace, that is null is an error here.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "access.h"
#include "catalog.h"
#include "owner.h"

PG_FUNCTION_INFO_V1(session_files_as_owner);

#define MAX_ARGUMENTS 8

/* What a caller has to have one of the kinds for. */
typedef enum Scope
{
	FOR_SESSION,        /* the first argument */
	FOR_NEW_SESSION,    /* a workspace, the first argument; then the session that is returned */
	FOR_ALL_WORKSPACES, /* all at once */
	FOR_OWNER           /* the kinds do not matter: the caller needs no grants */
} Scope;

typedef struct Rule
{
	const char *name;
	Scope scope;
	int kinds;
} Rule;

static const Rule rules[] = {
	{"cancel_session", FOR_SESSION, KIND_UPLOADER | KIND_KEEPER},
	{"check", FOR_ALL_WORKSPACES, KIND_WATCHER | KIND_KEEPER},
	{"close_session", FOR_SESSION, KIND_UPLOADER | KIND_KEEPER},
	{"create_session", FOR_NEW_SESSION, KIND_UPLOADER | KIND_KEEPER},
	{"create_workspace", FOR_ALL_WORKSPACES, KIND_KEEPER},
	{"delete_files", FOR_SESSION, KIND_KEEPER},
	{"delete_session", FOR_SESSION, KIND_KEEPER},
	{"extend_session", FOR_SESSION, KIND_UPLOADER | KIND_KEEPER},
	{"grant_workspace", FOR_OWNER, 0},
	{"maintain", FOR_ALL_WORKSPACES, KIND_KEEPER},
	{"register_files", FOR_SESSION, KIND_UPLOADER | KIND_KEEPER},
	{"reopen_session", FOR_SESSION, KIND_KEEPER},
	{"repair", FOR_OWNER, 0},
	{"retry_failed", FOR_SESSION, KIND_KEEPER},
	{"revoke_workspace", FOR_OWNER, 0},
};

/* A call site: the rule, and the function to call. */
typedef struct CallSite
{
	const Rule *rule;
	FmgrInfo body;
} CallSite;

static const Rule *
find_rule(const char *name)
{
	for (int i = 0; i < lengthof(rules); i++)
	{
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	}
	elog(ERROR, "function %s has no rule", name);
}

/* Finds rule and body of a function. */
static CallSite *
find_call_site(FmgrInfo *function)
{
	CallSite *site = MemoryContextAllocZero(function->fn_mcxt, sizeof(CallSite));
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function->fn_oid));
	Form_pg_proc form;
	char *name;
	Oid body;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function->fn_oid);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	site->rule = find_rule(NameStr(form->proname));
	name = psprintf("_%s", site->rule->name);
	body = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
	                       PointerGetDatum(&form->proargtypes), ObjectIdGetDatum(form->pronamespace));
	ReleaseSysCache(tuple);
	if (!OidIsValid(body))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
		                errmsg("function \"%s\" of the extension session_files does not exist", name)));
	fmgr_info_cxt(body, &site->body, function->fn_mcxt);
	return site;
}

/* Finds the owner of the tables. */
static Oid
find_owner(void)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(catalog_get()->upload_sessions));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for the tables of session_files");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
require_value(FunctionCallInfo fcinfo, const char *name)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

/* Raises an error unless the caller may call. */
static void
check_caller(const Rule *rule, FunctionCallInfo fcinfo)
{
	switch (rule->scope)
	{
		case FOR_SESSION:
			require_value(fcinfo, "session_id");
			access_require_session(PG_GETARG_UUID_P(0), rule->kinds);
			break;
		case FOR_NEW_SESSION:
			require_value(fcinfo, "workspace_name");
			access_require_workspace(PG_GETARG_TEXT_PP(0), rule->kinds);
			break;
		case FOR_ALL_WORKSPACES:
			access_require_workspace(NULL, rule->kinds);
			break;
		case FOR_OWNER:
			access_require_exempt(rule->name);
			break;
	}
}

/* Calls the body with the arguments of the call, as the current user. */
static Datum
call_body(CallSite *site, FunctionCallInfo fcinfo)
{
	/* cppcheck-suppress unusedStructMember; the second member makes room for the arguments */
	LOCAL_FCINFO(call, MAX_ARGUMENTS);
	Datum result;

	/* What the caller may do was checked by names' bytes. So the body compares them by their bytes, too. */
	InitFunctionCallInfoData(*call, &site->body, PG_NARGS(), C_COLLATION_OID, fcinfo->context, fcinfo->resultinfo);
	memcpy(call->args, fcinfo->args, PG_NARGS() * sizeof(NullableDatum));
	result = FunctionCallInvoke(call);
	fcinfo->isnull = call->isnull;
	return result;
}

/* SQL: each function in the table above. */
Datum
session_files_as_owner(PG_FUNCTION_ARGS)
{
	CallSite *site = fcinfo->flinfo->fn_extra;
	Caller caller;
	Datum result;

	Assert(PG_NARGS() <= MAX_ARGUMENTS);
	if (site == NULL)
		site = fcinfo->flinfo->fn_extra = find_call_site(fcinfo->flinfo);
	check_caller(site->rule, fcinfo);
	caller = owner_switch(find_owner());
	result = call_body(site, fcinfo);
	owner_switch_back(caller);
	if (site->rule->scope == FOR_NEW_SESSION)
		access_require_session(DatumGetUUIDP(result), site->rule->kinds);
	return result;
}
