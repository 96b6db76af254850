/*
 * head.h
 *		Looks at the bytes of a request's head, after libmicrohttpd has taken them apart.
 */
#ifndef SESSION_FILES_HTTP_HEAD_H
#define SESSION_FILES_HTTP_HEAD_H

#include "../compat.h"

/*
 * Tells whether a head had nothing that two readers could take for different things. The method, the target and the version are
 * where the library has them; target_len is how long the target was up to a NUL; size is that of the head.
 */
extern bool head_is_clean(const char *method, const char *target, size_t target_len, const char *version, size_t size);

#endif
