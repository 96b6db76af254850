/*
 * generation.c
 *		The trigger that gives a file that becomes PENDING a new generation.
 *
 * A generation is drawn from a sequence, so it is greater than all that were drawn before, by whatever transaction. A queue row that was
 * made before is void for the file then (queue.c), and need not be found. INSERT draws one too, as the column's identity.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "catalog.h"

PG_FUNCTION_INFO_V1(session_files_renew_generation);

/* SQL: session_files.renew_generation(), trigger. No privilege on the sequence is needed, as for an identity column. */
Datum
session_files_renew_generation(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	int column = Anum_files_generation;
	bool isnull = false;
	Datum generation;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(data->tg_event) ||
	    !TRIGGER_FIRED_BY_UPDATE(data->tg_event) || RelationGetRelid(data->tg_relation) != catalog_get()->files)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		                errmsg("function is only for the triggers of the extension session_files")));
	generation = Int64GetDatum(nextval_internal(catalog_get()->files_generation_seq, false));
	return PointerGetDatum(heap_modify_tuple_by_cols(data->tg_newtuple, RelationGetDescr(data->tg_relation), 1, &column,
	                                                 &generation, &isnull));
}
