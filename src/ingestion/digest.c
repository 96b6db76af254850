/*
 * digest.c
 *		The share of a file in the digest of its session.
 *
 * A digest stands for all that a listing shows of the files. A session's digest is the XOR of its files' shares, so it does not matter in
 * which order, or how often, files came and went. Shares are made of bytes and of the numbers of labels, never of OIDs, so they are the
 * same after a restore. Digests are stored: if shares change, all digests have to be made again.
 *
 * 64 bits are enough against chance. They are not enough against a role that may write the session's files and picks names for a
 * collision. The only effect is that a reader takes a changed session for unchanged.
 */
#include "compat.h"

#include "ingestion/digest.h"

#include "common/hashfn.h"
#include "fmgr.h"

#include "catalog.h"

PG_FUNCTION_INFO_V1(session_files_file_digest);

/* Mixes a word into a state, so that each bit of the word affects half of the bits of the state. */
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

/* SQL: session_files._file_digest(file_ingestion_id, ingestion_status, ingestion_status_reason, name) returns bigint. */
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
