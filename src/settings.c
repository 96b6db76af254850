/*
 * settings.c
 *		The settings session_files.*, and what follows from them.
 *
 * SQL reads them through functions, not through current_setting(): a call loads the library, and only a loaded library has checked the
 * settings and given them their defaults.
 */
#include "compat.h"

#include "settings.h"

#include <arpa/inet.h>
#include <limits.h>
#include <math.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "catalog.h"
#include "span.h"

#define SECONDS_PER_DAY (24 * 60 * 60)

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

PG_FUNCTION_INFO_V1(session_files_default_expiry);
PG_FUNCTION_INFO_V1(session_files_retained_since);

int settings_max_attempts = 5;
bool settings_notify = true;
char *settings_documentation_url = NULL;
char *settings_maintenance_database = NULL;
int settings_maintenance_interval = 10;

HttpSettings settings_http = {
	.workers = 0,
	.port = 8080,
	.max_connections = 1000,
	.header_size = 8 * 1024,
	.body_size = 64 * 1024,
	.unread_size = 64 * 1024,
	.idle_timeout = 60,
};

static int session_lifetime = SECONDS_PER_DAY;
static int session_retention = -1;
static int retry_delay = 1000;
static int retry_delay_limit = 5 * 60 * 1000;
static char *retry_reasons = NULL;

/* The reasons of retry_reasons, one bit each: the extra of the setting. */
static const uint32 *retry_reason_bits = NULL;

/* Returns the number of a reason's label, or REASON_NONE. */
static int
find_reason(const char *label)
{
	for (int i = 0; i < REASON_COUNT; i++)
	{
		if (strcmp(reason_labels[i], label) == 0)
			return i;
	}
	return REASON_NONE;
}

/* Checks the list of reasons and turns it into bits. */
static bool
check_retry_reasons(char **value, void **extra, GucSource source)
{
	char *text = pstrdup(*value);
	uint32 bits = 0;
	List *labels;
	ListCell *cell;

	if (!SplitGUCList(text, ',', &labels))
	{
		GUC_check_errdetail("The list has a syntax error.");
		return false;
	}
	foreach (cell, labels)
	{
		int reason = find_reason(lfirst(cell));

		if (reason == REASON_NONE || reason == REASON_NAME_TOO_LONG)
		{
			GUC_check_errdetail("\"%s\" is not a reason for which a file can be tried again.", (char *) lfirst(cell));
			return false;
		}
		bits |= (uint32) 1 << reason;
	}
	*extra = compat_guc_malloc(sizeof(uint32));
	if (*extra == NULL)
		return false;
	*(uint32 *) *extra = bits;
	return true;
}

static void
assign_retry_reasons(const char *value, void *extra)
{
	retry_reason_bits = extra;
}

/* Returns whether a text is an origin as browsers write it: scheme://host or scheme://host:port, in lower case. */
static bool
is_origin(const char *c)
{
	size_t len = strspn(c, LETTERS);

	if (len == 0)
		return false;
	c += strspn(c, LETTERS DIGITS "+.-");
	if (strncmp(c, "://", 3) != 0)
		return false;
	c += 3;
	/* An IPv6 address stands in brackets. */
	len = *c == '[' ? strspn(c, "[:." DIGITS "abcdef") : strspn(c, LETTERS DIGITS ".-");
	if (len == 0 || (*c == '[' && c[len++] != ']'))
		return false;
	c += len;
	if (*c != ':')
		return *c == '\0';
	len = strspn(c + 1, DIGITS);
	return len >= 1 && len <= 5 && c[len + 1] == '\0';
}

/* Checks a list of origins. */
static bool
check_allow_origin(char **value, void **extra, GucSource source)
{
	Span list = span_of(*value);
	bool more = list.len > 0 && strcmp(*value, "*") != 0;

	while (more)
	{
		Span item = span_trim(span_cut(&list, ',', &more));

		char *origin = pnstrdup(item.bytes, item.len);

		if (!is_origin(origin))
		{
			GUC_check_errdetail("\"%s\" is not an origin such as https://app.example.org:8443, in lower case.", origin);
			GUC_check_errhint("The value is a list of origins, separated by commas, or * alone.");
			return false;
		}
	}
	return true;
}

static void
define_int(const char *name, const char *description, const char *details, int *variable, int min, int max, int unit,
           GucContext context)
{
	DefineCustomIntVariable(name, description, details, variable, *variable, min, max, context, unit, NULL, NULL, NULL);
}

static void
define_http_string(const char *name, const char *description, const char *details, char **variable,
                   const char *default_value, GucContext context, int flags, GucStringCheckHook check)
{
	DefineCustomStringVariable(name, description, details, variable, default_value, context, flags, check, NULL, NULL);
}

static bool
check_listen_address(char **value, void **extra, GucSource source)
{
	unsigned char address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, *value, address) == 1 || inet_pton(AF_INET6, *value, address) == 1)
		return true;
	GUC_check_errdetail("It takes an IP address, such as 127.0.0.1 or ::1, and no name.");
	return false;
}

/* A file that does not exist is no wrong value: it may be created later. */
static bool
check_key_file(char **value, void **extra, GucSource source)
{
	struct stat status;

	if ((*value)[0] == '\0' || stat(*value, &status) != 0 || S_ISREG(status.st_mode))
		return true;
	GUC_check_errdetail("\"%s\" is not a regular file.", *value);
	return false;
}

/* The settings of session_files_http.so. They are defined here because this library reserves their prefix. */
static void
define_http(void)
{
	HttpSettings *http = &settings_http;
	/* PGC_POSTMASTER is allowed only while libraries are preloaded; otherwise the settings have no effect. */
	GucContext at_start = process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;

	define_int("session_files.http_workers", "How many workers serve HTTP.", "0: the HTTP server is off.",
	           &http->workers, 0, HTTP_MAX_WORKERS, 0, at_start);
	define_http_string("session_files.http_listen_address", "The IP address on which HTTP is served.", NULL,
	                   &http->listen_address, "127.0.0.1", at_start, 0, check_listen_address);
	define_int("session_files.http_port", "The TCP port on which HTTP is served.", NULL, &http->port, 1, 65535, 0,
	           at_start);
	define_http_string("session_files.http_database", "The database that is served over HTTP.", NULL, &http->database,
	                   "postgres", at_start, 0, NULL);
	define_http_string("session_files.http_role", "The role as which the HTTP workers log in.",
	                   "It becomes, for each request, one of the roles granted to it.", &http->role,
	                   "session_files_authenticator", at_start, 0, NULL);
	define_int("session_files.http_max_connections", "How many HTTP connections each worker has at a time.",
	           "When there are so many, the one that has waited longest is closed for the next.",
	           &http->max_connections, 1, 1000000, 0, at_start);
	define_int("session_files.http_header_size", "The longest HTTP request line with its headers.", NULL,
	           &http->header_size, 2 * 1024, 1024 * 1024, GUC_UNIT_BYTE, at_start);
	define_http_string("session_files.http_anonymous_role", "The role of HTTP requests without a token.",
	                   "Empty: there are none.", &http->anonymous_role, "session_files_anonymous", PGC_SIGHUP, 0, NULL);
	define_int("session_files.http_body_size", "The longest body of an HTTP request; none is used.", NULL,
	           &http->body_size, 0, 1024 * 1024 * 1024, GUC_UNIT_BYTE, PGC_SIGHUP);
	define_int("session_files.http_unread_size",
	           "How much of responses that clients have not read yet each HTTP worker keeps.",
	           "A request whose response would be too much gets the status 503.", &http->unread_size, 2 * 1024,
	           INT_MAX / 2, GUC_UNIT_KB, PGC_SIGHUP);
	define_int("session_files.http_idle_timeout", "How long an HTTP connection may go without a complete request.",
	           "It is also how long a client may go without reading of its response.", &http->idle_timeout, 1,
	           SECONDS_PER_DAY, GUC_UNIT_S, PGC_SIGHUP);
	define_http_string("session_files.http_jwt_secret", "What tokens are signed with.",
	                   "A secret of at least 32 bytes for HS256, or a JWK or JWK set.", &http->jwt_secret, "",
	                   PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, NULL);
	define_http_string("session_files.http_jwk_set_file", "A file with the keys that sign tokens, a JWK set.", NULL,
	                   &http->jwk_set_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_key_file);
	define_http_string("session_files.http_jwt_audience", "The audience that tokens must name; empty: any.", NULL,
	                   &http->jwt_audience, "", PGC_SIGHUP, 0, NULL);
	DefineCustomStringVariable("session_files.http_allow_origin", "The origins whose pages may read HTTP responses.",
	                           "A list separated by commas, or * for all; empty: none.", &http->allow_origin, "",
	                           PGC_SIGHUP, 0, check_allow_origin, NULL, NULL);
}

void
settings_init(void)
{
	define_int("session_files.session_lifetime", "How long a session lasts if its creator does not say.", NULL,
	           &session_lifetime, 1, INT_MAX, GUC_UNIT_S, PGC_USERSET);
	define_int("session_files.session_retention", "How long after its end an expired session is kept with its files.",
	           "-1 keeps it for ever.", &session_retention, -1, INT_MAX, GUC_UNIT_S, PGC_USERSET);
	define_int("session_files.max_attempts", "How often a file is tried.", NULL, &settings_max_attempts, 1, 1000, 0,
	           PGC_USERSET);
	define_int("session_files.retry_delay",
	           "How long a file waits for its second attempt; each further wait is doubled.",
	           "Each wait is cut by up to half of it at random.", &retry_delay, 1, SECONDS_PER_DAY * 1000, GUC_UNIT_MS,
	           PGC_USERSET);
	define_int("session_files.retry_delay_limit", "The longest that a file waits for its next attempt.", NULL,
	           &retry_delay_limit, 1, SECONDS_PER_DAY * 1000, GUC_UNIT_MS, PGC_USERSET);
	DefineCustomStringVariable("session_files.retry_reasons", "The reasons for which a file is tried again.",
	                           "Labels of the type ingestion_status_reason, separated by commas.", &retry_reasons,
	                           "SLOWDOWN", PGC_USERSET, GUC_LIST_INPUT, check_retry_reasons, assign_retry_reasons,
	                           NULL);
	DefineCustomBoolVariable("session_files.notify", "Whether transactions send notifications.",
	                         "PostgreSQL lets transactions that notify commit one at a time.", &settings_notify, true,
	                         PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("session_files.documentation_url", "Where a client finds how to upload.",
	                           "A part of the status of a session over HTTP.", &settings_documentation_url, "",
	                           PGC_USERSET, 0, NULL, NULL, NULL);
	define_int("session_files.maintenance_interval", "How often the maintenance worker looks.", "0: never.",
	           &settings_maintenance_interval, 0, SECONDS_PER_DAY, GUC_UNIT_S, PGC_SIGHUP);
	if (process_shared_preload_libraries_in_progress)
		DefineCustomStringVariable("session_files.maintenance_database",
		                           "The database that the maintenance worker looks after.",
		                           "Empty: that of session_files.http_database, if HTTP is served, or else none.",
		                           &settings_maintenance_database, "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	define_http();
	compat_reserve_prefix("session_files");
}

/* SQL: session_files._default_expiry() returns timestamptz. */
Datum
session_files_default_expiry(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(
		TimestampTzPlusMilliseconds(GetCurrentTransactionStartTimestamp(), (int64) session_lifetime * 1000));
}

/* SQL: session_files._retained_since() returns timestamptz. */
Datum
session_files_retained_since(PG_FUNCTION_ARGS)
{
	if (session_retention < 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) session_retention * -1000));
}

bool
settings_retry_at(int reason, int attempt, TimestampTz *at)
{
	double wait;

	if (attempt >= settings_max_attempts || (*retry_reason_bits & ((uint32) 1 << reason)) == 0)
		return false;
	wait = Min(ldexp(retry_delay, Max(attempt, 1) - 1), retry_delay_limit);
	wait *= 1 - compat_random() / 2;
	*at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) wait);
	return true;
}
