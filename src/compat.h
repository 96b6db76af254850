/*
 * compat.h
 *		What differs between the supported majors of PostgreSQL (14 to 18).
 *
 * The only place that says PG_VERSION_NUM.
 */
#ifndef SESSION_FILES_COMPAT_H
#define SESSION_FILES_COMPAT_H

#include "postgres.h"

#include "access/genam.h"

#if PG_VERSION_NUM < 140000
#error "session_files needs PostgreSQL 14 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

#endif
