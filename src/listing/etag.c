/*
 * etag.c
 *		Entity tags: which version of a listing a caller has.
 *
 * The body of a listing depends on the target, the session's files and the rendering; its headers depend also on when the session expires.
 * A tag is a hash of all these except the target, which a cache knows itself (RFC 9110, section 8.8.3). The files are represented by
 * their digest, which has to come from the snapshot that the page is read under.
 */
#include "compat.h"

#include "listing/etag.h"

#include "common/hashfn.h"

/* Increase it with each change of the bytes of a body, or of the headers' values. */
#define RENDERING UINT64CONST(2)

static void
make_tag(const void *bytes, int len, char *etag)
{
	static const char digits[] = "0123456789abcdef";
	uint64 version = hash_bytes_extended(bytes, len, RENDERING);

	etag[0] = '"';
	for (int i = ETAG_LEN - 2; i > 0; i--, version >>= 4)
		etag[i] = digits[version & 0xf];
	etag[ETAG_LEN - 1] = '"';
	etag[ETAG_LEN] = '\0';
}

void
etag_make(uint64 digest, TimestampTz expires_at, char *etag)
{
	uint64 facts[] = {digest, (uint64) expires_at};

	make_tag(facts, sizeof(facts), etag);
}

void
etag_make_for(Span body, char *etag)
{
	make_tag(body.bytes, body.len, etag);
}

bool
etag_is_listed(Span if_none_match, const char *etag)
{
	bool more = if_none_match.len > 0;

	if (span_equals(span_trim(if_none_match), "*"))
		return true;
	/* Another server's tag may contain a comma, but then neither piece has both quotes. */
	while (more)
	{
		Span tag = span_trim(span_cut(&if_none_match, ',', &more));

		/* Weak comparison. */
		if (tag.len > 2 && memcmp(tag.bytes, "W/", 2) == 0)
			span_advance(&tag, 2);
		if (span_equals(tag, etag))
			return true;
	}
	return false;
}
