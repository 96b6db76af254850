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

#include "digest.h"

#include "common/hashfn.h"

#include "catalog.h"

/* Not 0, which would leave the seed out. */
#define FILE_SEED UINT64CONST(0x73657373696f6e01)

uint64
digest_file(const pg_uuid_t *id, int status, int reason, Span name)
{
	uint64 state = FILE_SEED + (uint64) (status * (REASON_COUNT + 1) + reason - REASON_NONE);

	return hash_bytes_extended((const unsigned char *) name.bytes, name.len,
	                           hash_bytes_extended(id->data, UUID_LEN, state));
}
