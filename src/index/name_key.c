/*
 * name_key.c
 *		The key of a file name in the indexes.
 *
 * An index tuple of a btree holds about 2,700 bytes, and 800 characters of UTF-8 may be 3,200. So the key is the name's first 300
 * characters as they are, and the rest in a code of bits that is shorter than UTF-8 wherever a character is not ASCII:
 *
 *		characters					UTF-8		here
 *		U+0001 to U+007F			8 bits		 8: 0, then 7 bits of the code point
 *		U+0080 to U+07FF			16			14: 100, then 11
 *		U+0800 to U+FFFF			24			19: 101, then 16
 *		U+10000 to U+10FFFF			32			22: 11, then 20 of what is above U+FFFF
 *
 * Keys have the order of names, which is the order of code points. Where two names first differ, their keys have the same bits so far,
 * as the 300 are characters, not bytes. There the character with the higher code point has the higher code, and no code is a prefix of
 * another. Zeros fill the last byte. Where a name is a prefix of another, these zeros can equal bits of the longer name's next
 * character; but that has 8 bits or more, so the longer key goes on, and is greater.
 *
 * The table takes names of up to 830 characters, or of up to 2,600 bytes (files_name_length). Their keys have 2,658 bytes at most, so
 * the key always has the whole name.
 */
#include "compat.h"

#include "index/name_key.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"

#define PLAIN_CHARS 300

PG_FUNCTION_INFO_V1(session_files_name_key);

/* Collects bits into bytes. */
typedef struct BitWriter
{
	unsigned char *out;
	uint64 bits; /* the lowest bit_count bits are not written yet */
	int bit_count;
} BitWriter;

/* Returns how many bytes the first PLAIN_CHARS characters of a name take. */
static int
plain_len(const char *name, int len)
{
	int at = 0;

	if (len <= PLAIN_CHARS)
		return len;
	for (int chars = 0; chars < PLAIN_CHARS && at < len; chars++)
		at += pg_utf_mblen((const unsigned char *) name + at);
	return at;
}

static void
put_bits(BitWriter *writer, uint32 code, int bit_count)
{
	writer->bits = (writer->bits << bit_count) | code;
	writer->bit_count += bit_count;
	while (writer->bit_count >= 8)
	{
		writer->bit_count -= 8;
		*writer->out++ = (unsigned char) (writer->bits >> writer->bit_count);
	}
}

static void
put_char(BitWriter *writer, pg_wchar c)
{
	if (c < 0x80)
		put_bits(writer, c, 8);
	else if (c < 0x800)
		put_bits(writer, (4 << 11) | c, 14);
	else if (c < 0x10000)
		put_bits(writer, (5 << 16) | c, 19);
	else
		put_bits(writer, (3 << 20) | (c - 0x10000), 22);
}

bytea *
name_key(const char *name, int len)
{
	/* No code is longer than UTF-8, but the last byte may be partly used. */
	bytea *key = palloc(VARHDRSZ + (Size) len + 1);
	int at = plain_len(name, len);
	BitWriter writer = {.out = (unsigned char *) VARDATA(key) + at};

	memcpy(VARDATA(key), name, at);
	while (at < len)
	{
		put_char(&writer, utf8_to_unicode((const unsigned char *) name + at));
		at += pg_utf_mblen((const unsigned char *) name + at);
	}
	if (writer.bit_count > 0)
		put_bits(&writer, 0, 8 - writer.bit_count);
	SET_VARSIZE(key, (char *) writer.out - (char *) key);
	return key;
}

/* SQL: session_files._name_key(text). */
Datum
session_files_name_key(PG_FUNCTION_ARGS)
{
	text *name = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BYTEA_P(name_key(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)));
}
