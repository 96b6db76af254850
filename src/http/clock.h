/*
 * clock.h
 *		A clock that only goes forward, for time limits: the wall clock can be set.
 */
#ifndef SESSION_FILES_HTTP_CLOCK_H
#define SESSION_FILES_HTTP_CLOCK_H

#include "compat.h"

#include "portability/instr_time.h"

/* Milliseconds since some moment before the process started. */
static inline int64
clock_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

#endif
