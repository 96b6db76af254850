/*
 * batch.h
 *		Forms the leases of a claim from the queue rows that it takes.
 */
#ifndef SESSION_FILES_BATCH_H
#define SESSION_FILES_BATCH_H

#include "compat.h"

#include "nodes/execnodes.h"

#include "ingestion/claim_state.h"

/* A new lease: its token, end and worker. */
typedef struct Lease
{
	pg_uuid_t token;
	TimestampTz expires_at;
	text *worker;
	int max_files; /* what the claim asked for */
} Lease;

/* Returns whether the claim takes the row that it has found: its session is open, and what was taken before may have its company. */
extern bool batch_wants_row(Claim *claim);

/* Takes the files of the row that it has found, and deleted: those that are PENDING, as far as they are wanted. */
extern void batch_take_row(Claim *claim);

/* Writes what was taken as lease rows, and puts back what was not. Adds a row per file to the result. */
extern void batch_write(Claim *claim, const Lease *lease, ReturnSetInfo *result);

#endif
