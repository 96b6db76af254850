/*
 * claim.h
 *		Finds rows of file_queue for a worker.
 */
#ifndef SESSION_FILES_CLAIM_H
#define SESSION_FILES_CLAIM_H

/* To be called once, when the library is loaded. */
extern void claim_init(void);

#endif
