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

#if PG_VERSION_NUM >= 160000
#define compat_guc_malloc(size) guc_malloc(LOG, size)
#else
#define compat_guc_malloc(size) malloc(size)
#endif

/* A random number from 0 to less than 1. */
#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#define compat_random() pg_prng_double(&pg_global_prng_state)
#define compat_reserve_prefix(prefix) MarkGUCPrefixReserved(prefix)
#else
#define compat_random() ((double) random() / ((double) MAX_RANDOM_VALUE + 1))
#define compat_reserve_prefix(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* Privileges on a schema and on a function, and who owns a relation; include utils/acl.h. */
#if PG_VERSION_NUM >= 160000
#define compat_namespace_aclcheck(oid, role, mode) object_aclcheck(NamespaceRelationId, oid, role, mode)
#define compat_proc_aclcheck(oid, role, mode) object_aclcheck(ProcedureRelationId, oid, role, mode)
#define compat_class_ownercheck(oid, role) object_ownercheck(RelationRelationId, oid, role)
#else
#define compat_namespace_aclcheck(oid, role, mode) pg_namespace_aclcheck(oid, role, mode)
#define compat_proc_aclcheck(oid, role, mode) pg_proc_aclcheck(oid, role, mode)
#define compat_class_ownercheck(oid, role) pg_class_ownercheck(oid, role)
#endif

#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

#if PG_VERSION_NUM >= 170000
#define compat_bt_search(index, heap, key, buffer, snapshot) _bt_search(index, heap, key, buffer, BT_READ)
#elif PG_VERSION_NUM >= 160000
#define compat_bt_search(index, heap, key, buffer, snapshot) _bt_search(index, heap, key, buffer, BT_READ, snapshot)
#else
#define compat_bt_search(index, heap, key, buffer, snapshot) _bt_search(index, key, buffer, BT_READ, snapshot)
#endif

#if PG_VERSION_NUM >= 150000
#define compat_page_opaque(page) BTPageGetOpaque(page)
#else
#define compat_page_opaque(page) ((BTPageOpaque) PageGetSpecialPointer(page))
#endif

/*
 * Requests shared memory, from _PG_init: COMPAT_SHMEM_REQUEST defines the function that compat_request_shmem takes.
 * Include storage/ipc.h, storage/shmem.h and miscadmin.h.
 */
#if PG_VERSION_NUM >= 150000
#define COMPAT_SHMEM_REQUEST(function, size)                   \
	static shmem_request_hook_type function##_previous = NULL; \
	static void function(void)                                 \
	{                                                          \
		if (function##_previous != NULL)                       \
			function##_previous();                             \
		RequestAddinShmemSpace(MAXALIGN(size));                \
	}
#define compat_request_shmem(function) (function##_previous = shmem_request_hook, shmem_request_hook = (function))
#else
#define COMPAT_SHMEM_REQUEST(function, size)    \
	static void function(void)                  \
	{                                           \
		RequestAddinShmemSpace(MAXALIGN(size)); \
	}
#define compat_request_shmem(function) (function)()
#endif

#if PG_VERSION_NUM >= 170000
#define compat_create_wait_event_set(count) CreateWaitEventSet(NULL, count)
#else
#define compat_create_wait_event_set(count) CreateWaitEventSet(TopMemoryContext, count)
#endif

#endif
