/*
 * name_key.c
 *		What the indexes hold of a file name.
 *
 * A btree entry holds about 2,700 bytes, and 800 characters of UTF-8 may be 3,200. So the key is
 * the name's first 300 characters as they are, and the next 500 packed into 21 bits each, which
 * is enough for any code point and keeps their order, as the order of UTF-8 is that of code
 * points: 1,200 + 1,313 bytes at most. Characters, not bytes, are counted, so that two names part
 * ways either both in the plain or both in the packed half. Most names have no packed half.
 *
 * A name of over 800 characters gets the SHA-256 of its whole as a tail, which makes the key
 * unique but loses the order among names that share the first 800: order.c sorts those itself.
 */
#include "compat.h"

#include "name_key.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"

#define PLAIN_CHARS 300
#define PACKED_CHARS (NAME_MAX_CHARS - PLAIN_CHARS)
#define PACKED_BITS 21
#define PACKED_MAX_LEN ((PACKED_CHARS * PACKED_BITS + 7) / 8)
/* Longer than any digest, of the highest bytes: above all keys of the group. */
#define ABOVE_LEN (PG_SHA256_DIGEST_LENGTH + 1)

PG_FUNCTION_INFO_V1(session_files_name_key);

int
name_prefix_len(const char *name, int len, int max_chars)
{
	int at = 0;

	if (len <= max_chars)
		return len;
	for (int chars = 0; chars < max_chars && at < len; chars++)
		at += pg_utf_mblen((const unsigned char *) name + at);
	return at;
}

/* Packs up to PACKED_CHARS characters into out, which is zeroed; returns the bytes written. */
static int
pack(const char *text, int len, unsigned char *out)
{
	uint64 bits = 0;
	int bit_count = 0;
	int written = 0;
	int at = 0;

	for (int chars = 0; chars < PACKED_CHARS && at < len; chars++)
	{
		bits = (bits << PACKED_BITS) | utf8_to_unicode((const unsigned char *) text + at);
		bit_count += PACKED_BITS;
		while (bit_count >= 8)
		{
			bit_count -= 8;
			out[written++] = (unsigned char) (bits >> bit_count);
		}
		at += pg_utf_mblen((const unsigned char *) text + at);
	}
	if (bit_count > 0)
		out[written++] = (unsigned char) (bits << (8 - bit_count));
	return written;
}

static void
digest(const char *name, int len, unsigned char *out)
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(ctx) < 0 || pg_cryptohash_update(ctx, (const uint8 *) name, len) < 0 ||
	    pg_cryptohash_final(ctx, out, PG_SHA256_DIGEST_LENGTH) < 0)
	{
		pg_cryptohash_free(ctx);
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute the SHA-256 of a file name")));
	}
	pg_cryptohash_free(ctx);
}

/* Starts a key: the first NAME_MAX_CHARS characters, with room for tail_len more bytes. */
static bytea *
key_without_tail(const char *name, int len, int tail_len)
{
	int plain_len = name_prefix_len(name, len, PLAIN_CHARS);
	int room = plain_len + (plain_len < len ? PACKED_MAX_LEN : 0) + tail_len;
	bytea *key = palloc0(VARHDRSZ + room);
	int key_len = plain_len;

	memcpy(VARDATA(key), name, plain_len);
	if (plain_len < len)
		key_len += pack(name + plain_len, len - plain_len, (unsigned char *) VARDATA(key) + plain_len);
	SET_VARSIZE(key, VARHDRSZ + key_len);
	return key;
}

bytea *
name_key(const char *name, int len)
{
	bytea *key = key_without_tail(name, len, PG_SHA256_DIGEST_LENGTH);

	if (name_prefix_len(name, len, NAME_MAX_CHARS) < len)
	{
		digest(name, len, (unsigned char *) key + VARSIZE(key));
		SET_VARSIZE(key, VARSIZE(key) + PG_SHA256_DIGEST_LENGTH);
	}
	return key;
}

bytea *
name_key_group_bound(const char *name, int len, bool above)
{
	bytea *key = key_without_tail(name, len, ABOVE_LEN);

	if (above)
	{
		memset((char *) key + VARSIZE(key), 0xff, ABOVE_LEN);
		SET_VARSIZE(key, VARSIZE(key) + ABOVE_LEN);
	}
	return key;
}

bool
name_key_is_long(const bytea *key)
{
	const char *bytes = VARDATA_ANY(key);
	int len = VARSIZE_ANY_EXHDR(key);
	int tail_len = PACKED_MAX_LEN + PG_SHA256_DIGEST_LENGTH;

	return len > tail_len && name_prefix_len(bytes, len, PLAIN_CHARS) == len - tail_len;
}

/* SQL: session_files.name_key(text). */
Datum
session_files_name_key(PG_FUNCTION_ARGS)
{
	text *name = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BYTEA_P(name_key(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)));
}
