/*
 * linger.h
 *		Closes connections whose clients still send.
 */
#ifndef SESSION_FILES_HTTP_LINGER_H
#define SESSION_FILES_HTTP_LINGER_H

#include "compat.h"

/* How often to call linger_run while there are any, in ms. */
#define LINGER_INTERVAL 20

/* Closes a connection when its client has closed it, or some time is over. The caller closes its own descriptor. */
extern void linger_add(int fd);

/* Reads what clients have sent, and closes connections that can be closed. Returns how many are left. */
extern int linger_run(void);

#endif
