/*
 * name_key.h
 *		What the indexes hold of a file name.
 */
#ifndef SESSION_FILES_NAME_KEY_H
#define SESSION_FILES_NAME_KEY_H

#include "compat.h"

/* A longer name is recorded as FAILED. In characters. */
#define NAME_MAX_CHARS 800

/* Returns the key of a name of len bytes of valid UTF-8. */
extern bytea *name_key(const char *name, int len);

/*
 * Returns the key that a name of over NAME_MAX_CHARS characters has in common with all that share
 * its first NAME_MAX_CHARS: those lie between it and the bound that `above` asks for, in no order.
 */
extern bytea *name_key_group_bound(const char *name, int len, bool above);

/* Tells whether a key is that of a name of over NAME_MAX_CHARS characters. */
extern bool name_key_is_long(const bytea *key);

/* Returns how many bytes the first max_chars characters of a name take; len if it has no more. */
extern int name_prefix_len(const char *name, int len, int max_chars);

#endif
