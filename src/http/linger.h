/*
 * linger.h
 *		Closes connections whose clients still send.
 */
#ifndef SESSION_FILES_HTTP_LINGER_H
#define SESSION_FILES_HTTP_LINGER_H

#include "compat.h"

/* How often to call linger_run while there are any, in ms. */
#define LINGER_INTERVAL 20

/* Closes a connection, of which the caller closes its own descriptor, once the client has closed it or some time is over. */
extern void linger_add(int fd);

/* Reads what clients sent, and closes what can be closed; returns how many connections are left. */
extern int linger_run(void);

#endif
