/*
 * head.c
 *		Looks at the bytes of a request's head, after libmicrohttpd has taken them apart.
 *
 * Versions of the library before 0.9.76 let pass what another server in front of them may read differently, so that one
 * request for that server would be two here: they end a line at a bare LF, end a text at a NUL, and append the continuation
 * of a folded line to the header's name, which makes a Content-Length another header. All of that is gone from what they
 * hand over, but not from their buffer: they put zeros over what ended something, a space, a colon, CR and LF, and leave the
 * rest. So a NUL or a bare LF is one zero where two have to be. Later versions refuse such requests, and keep no such buffer.
 */
#include "head.h"

#include <microhttpd.h>

/* Tells whether the library is one of those versions. */
static bool
leaves_zeros(void)
{
	static int known = -1;
	unsigned major;
	unsigned minor;
	unsigned patch;

	if (known < 0)
		known = sscanf(MHD_get_version(), "%u.%u.%u", &major, &minor, &patch) == 3 && major == 0 && minor == 9 &&
		        patch < 76;
	return known;
}

/* Tells whether what is between two places are lines of a head, with the empty one at the end; it begins at the end of the first. */
static bool
are_clean_lines(const char *c, const char *end)
{
	while (end - c >= 4 && c[0] == '\0' && c[1] == '\0')
	{
		c += 2;
		if (end - c == 2)
			return c[0] == '\0' && c[1] == '\0';
		/* No name; or the continuation of a folded line. */
		if (*c == '\0' || *c == ' ' || *c == '\t')
			return false;
		c += strnlen(c, end - c);
		/* Behind the colon. */
		c += c < end;
		while (c < end && (*c == ' ' || *c == '\t'))
			c++;
		c += strnlen(c, end - c);
	}
	return false;
}

bool
head_is_clean(const char *method, const char *target, size_t target_len, const char *version, size_t size)
{
	if (!leaves_zeros())
		return true;
	/* One space between them. */
	if (method + strlen(method) + 1 != target || target + target_len + 1 != version)
		return false;
	return are_clean_lines(version + strlen(version), method + size);
}
