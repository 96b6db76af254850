/*
 * maintenance.h
 *		The maintenance worker.
 */
#ifndef SESSION_FILES_MAINTENANCE_H
#define SESSION_FILES_MAINTENANCE_H

#include "compat.h"

/* Has the postmaster start the worker, if the library is preloaded and a setting asks for it. After settings_init. */
extern void maintenance_init(void);

#endif
