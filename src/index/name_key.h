/*
 * name_key.h
 *		The key of a file name in the indexes.
 */
#ifndef SESSION_FILES_NAME_KEY_H
#define SESSION_FILES_NAME_KEY_H

#include "compat.h"

/* Returns the key of a name of len bytes of valid UTF-8. Different names have different keys, in the order of the names' bytes. */
extern bytea *name_key(const char *name, int len);

#endif
