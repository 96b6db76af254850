/*
 * digest.c
 *		What a file adds to the digest of its session.
 *
 * A digest stands for all that a listing shows of the files; that of a session is the XOR of its
 * files' shares, so it does not matter in which order, or how often, they came and went. Shares are
 * made of bytes and of the numbers of labels, never of OIDs, so that they are the same after a
 * restore. Digests are stored: shares must stay what they are, or all have to be made anew.
 *
 * 64 bits are enough against chance. They are not against somebody who may write the session's files
 * and picks names to that end; all that can come of it is that a reader takes their session for
 * unchanged.
 */
#include "compat.h"

#include "ingestion/digest.h"

#include "common/hashfn.h"
#include "fmgr.h"

#include "catalog.h"

PG_FUNCTION_INFO_V1(session_files_file_digest);

/* Takes a word into a state, so that each of its bits comes to matter to half of those of the state. */
static inline uint64
stir(uint64 state, uint64 word)
{
	state = (state ^ word) * UINT64CONST(0x9e3779b97f4a7c15);
	return state ^ (state >> 32);
}

uint64
digest_file(const pg_uuid_t *id, int status, int reason, Span name)
{
	uint64 id_words[2];
	uint64 state = 1 + (uint64) (status * (REASON_COUNT + 1) + reason - REASON_NONE);

	StaticAssertStmt(sizeof(id_words) == UUID_LEN, "an ID is two words");
	memcpy(id_words, id->data, UUID_LEN);
	state = stir(stir(stir(0, state), id_words[0]), id_words[1]);
	return hash_bytes_extended((const unsigned char *) name.bytes, name.len, state);
}

/* SQL: session_files.file_digest(file_ingestion_id, ingestion_status, ingestion_status_reason, name) returns bigint. */
Datum
session_files_file_digest(PG_FUNCTION_ARGS)
{
	const Catalog catalog = *catalog_get();
	int reason = REASON_NONE;
	text *name;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(2))
		reason = catalog_reason(&catalog, PG_GETARG_OID(2));
	name = PG_GETARG_TEXT_PP(3);
	PG_RETURN_INT64((int64) digest_file(PG_GETARG_UUID_P(0), catalog_status(&catalog, PG_GETARG_OID(1)), reason,
	                                    (Span){VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)}));
}
