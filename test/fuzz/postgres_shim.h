/*
 * postgres_shim.h
 *		What stands in for PostgreSQL around the files that are fuzzed.
 */
#ifndef SESSION_FILES_POSTGRES_SHIM_H
#define SESSION_FILES_POSTGRES_SHIM_H

/* Frees all that was allocated since the last call, as the reset of a memory context does. */
extern void shim_reset(void);

#endif
