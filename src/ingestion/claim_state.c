/*
 * claim_state.c
 *		Whether a claim may take files of a session.
 *
 * A session is looked at under the claim's snapshot, as the caller. The one that was looked at last is remembered for the claim.
 */
#include "compat.h"

#include "ingestion/claim_state.h"

#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "index/scan.h"
#include "uuid7.h"

bool
claim_may_serve(Claim *claim, const pg_uuid_t *session_id, bool *exists)
{
	KeyScan scan;

	if (claim->has_session && uuid7_compare(&claim->session_id, session_id) == 0)
	{
		*exists = true;
		return claim->is_open;
	}
	*exists = scan_find(&scan, claim->upload_sessions, claim->catalog.upload_sessions_pkey, session_id);
	claim->is_open = false;
	if (*exists)
	{
		text *name = DatumGetTextPP(scan_value(&scan, Anum_upload_sessions_workspace_name));

		*exists = (claim->workspace == NULL ||
		           DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, PointerGetDatum(name),
		                                                PointerGetDatum(claim->workspace)))) &&
		          access_may_see(&claim->access, session_id, (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)});
		claim->write_mode = DatumGetObjectId(scan_value(&scan, Anum_upload_sessions_write_mode));
		claim->is_open =
			*exists && DatumGetTimestampTz(scan_value(&scan, Anum_upload_sessions_expires_at)) > claim->now;
	}
	scan_end(&scan);
	claim->has_session = *exists;
	claim->session_id = *session_id;
	return claim->is_open;
}
