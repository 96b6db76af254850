/*
 * name_key.h
 *		What the indexes hold of a file name.
 */
#ifndef SESSION_FILES_NAME_KEY_H
#define SESSION_FILES_NAME_KEY_H

#include "compat.h"

/* Returns the key of a name of len bytes of valid UTF-8: another one for each name, in the order of the names' bytes. */
extern bytea *name_key(const char *name, int len);

#endif
