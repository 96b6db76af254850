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
	int64 since; /* when it began to wait: at its start, its last answer, or the last progress of one; clock_ms */
	uint64 bytes_acked;     /* what the client had read of all answers then */
	size_t unread;          /* bytes of the answer under way that are kept in memory */
	char *target;           /* NULL between requests */
	const char *raw_target; /* where the library has it */
	bool head_seen;
	bool responding; /* the answer is made, and may still have to be sent */
	bool looked_at;  /* by connections_close_abandoned */
	bool shut;       /* to be closed by the library as soon as it runs */
	bool completed;  /* the last request, in full */
	int refusal;     /* a status for a request that is refused before its body is read, or 0 */
	int64 body_size;
} Connection;

/* Adds a connection; returns NULL when there is no memory for it. */
extern Connection *connections_add(struct MHD_Connection *handle);

/* Removes a connection that the library is about to close. */
extern void connections_remove(Connection *connection);

/* A connection has all the time again: it was answered, or is about to be. */
extern void connections_restart(Connection *connection);

/* Notes that so many bytes of an answer are kept until the client has read them; 0 when the answer is over. */
extern void connections_keep(Connection *connection, size_t bytes);

extern int connections_count(void);
extern size_t connections_unread(void);

/* Each returns the connection that has waited longest but one, or NULL: for loops over all of them. */
extern Connection *connections_first(void);
extern Connection *connections_next(Connection *connection);

/*
 * Closes the connection that has waited longest, be it for a request or for its client to read, so that another client can be served;
 * false if all have only just begun to wait.
 * The library has to run before there is room.
 */
extern bool connections_make_room(void);

/* Closes the connections whose clients have not read anything of an answer for a while; the library has to run before there is memory. */
extern void connections_drop_unread(void);

/* Closes those that have waited for longer than the idle timeout, in seconds. */
extern void connections_close_idle(int idle_timeout);

/* Closes those whose clients will send nothing more, and have nothing to get. */
extern void connections_close_abandoned(void);

/* Closes those that wait for a request. */
extern void connections_close_waiting(void);

/* How often connections were closed to make room, for a connection or for answers. */
extern uint64 connections_dropped(void);

#endif
