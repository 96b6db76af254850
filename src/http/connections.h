/*
 * connections.h
 *		The open connections of a worker, by how long they have waited.
 */
#ifndef SESSION_FILES_HTTP_CONNECTIONS_H
#define SESSION_FILES_HTTP_CONNECTIONS_H

#include "compat.h"

#include <microhttpd.h>

#include "lib/ilist.h"

/* A connection, and the request that it is sending. */
typedef struct Connection
{
	dlist_node node;
	struct MHD_Connection *handle;
	int fd;
	int64 since; /* when it began to wait: at its start, its last response, or the last progress of one; clock_ms */
	uint64 bytes_acked;     /* what the client had read of all responses then */
	size_t unread;          /* bytes of the current response that are kept in memory */
	char *target;           /* NULL between requests */
	const char *raw_target; /* in the library's buffer */
	bool head_seen;
	bool responding; /* the response is made, and perhaps not sent yet */
	bool looked_at;  /* by connections_close_abandoned */
	bool shut;       /* to be closed by the library as soon as it runs */
	bool completed;  /* the last response was sent completely */
	int refusal;     /* a status for a request that is refused before its body is read, or 0 */
	int64 body_size;
} Connection;

/* Adds a connection; returns NULL when there is no memory for it. */
extern Connection *connections_add(struct MHD_Connection *handle);

/* Removes a connection that the library is about to close. */
extern void connections_remove(Connection *connection);

/* Gives a connection all its time again: its request was, or will now be, responded to. */
extern void connections_restart(Connection *connection);

/* Sets how many bytes of a response are kept until the client has read them; 0 when the response is over. */
extern void connections_keep(Connection *connection, size_t bytes);

extern int connections_count(void);
extern size_t connections_unread(void);

/* For loops over all connections, from the one that has waited longest; NULL at the end. */
extern Connection *connections_first(void);
extern Connection *connections_next(Connection *connection);

/*
 * Closes the connection that has waited longest, for a request or for its client to read, so that another client can connect. Returns
 * false if all have only begun to wait. There is room after the library has run.
 */
extern bool connections_make_room(void);

/* Closes connections whose clients have not read anything of a response for a while. There is memory after the library has run. */
extern void connections_drop_unread(void);

/* Closes connections that have waited for longer than the idle timeout, in seconds. */
extern void connections_close_idle(int idle_timeout);

/* Closes connections whose clients will send nothing more, and to which nothing is to be sent. */
extern void connections_close_abandoned(void);

/* Closes connections that wait for a request. */
extern void connections_close_waiting(void);

/* How many connections were closed to make room, for a connection or for responses. */
extern uint64 connections_dropped(void);

#endif
