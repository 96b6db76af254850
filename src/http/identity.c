/*
 * identity.c
 *		The identity of an HTTP request: from its token to a role and claims.
 *
 * The rules are those of PostgREST. A token in the header Authorization, with the scheme Bearer, names the role in its claim "role";
 * a request without a token is anonymous. Policies see claims and request in settings, which are made only when they are read.
 *
 * A signature costs more than a listing, so a worker caches valid tokens for as long as they are valid. The role stays the worker's role
 * between requests, and is checked again when another role is needed, or when an invalidation says that roles have changed.
 */
#include "http/identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "http/exchange.h"
#include "http/token.h"

/* How many tokens are cached, each at the place that its hash gives. */
#define CACHE_SIZE 256

/* A larger file is not a JWK set. */
#define MAX_KEY_FILE_SIZE ((size_t) 1024 * 1024)

typedef struct CachedToken
{
	char *text; /* NULL: the place is free */
	int len;
	Token token;
} CachedToken;

static const HttpApi *api = NULL;
static TokenKeys *keys = NULL;
static CachedToken cached_tokens[CACHE_SIZE];

/* The current request, and its token; NULL if there is none. */
static const ServerRequest *current = NULL;
static const Token *current_token = NULL;

/* The role that was checked last, unless roles have changed since; and how often they changed. */
static Oid checked_role = InvalidOid;
static NameData checked_name;
static uint64 role_changes = 0;

static void
drop_token(CachedToken *place)
{
	free(place->text);
	place->text = NULL;
	token_free(&place->token);
}

/* Opens a regular file: another kind, such as a FIFO, could make the worker wait. Returns -1 and the error if it cannot. */
static int
open_file(const char *path, const char **error)
{
	struct stat status;
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK);

	*error = NULL;
	if (fd < 0 || fstat(fd, &status) != 0)
		*error = strerror(errno);
	else if (!S_ISREG(status.st_mode))
		*error = "it is not a regular file";
	if (*error != NULL && fd >= 0)
	{
		CloseTransientFile(fd);
		fd = -1;
	}
	return fd;
}

/* Returns the contents of a file, or NULL and the error. */
static char *
read_file(const char *path, const char **error)
{
	int fd = open_file(path, error);
	char *text;
	ssize_t bytes;
	size_t len = 0;

	if (fd < 0)
		return NULL;
	text = palloc(MAX_KEY_FILE_SIZE + 1);
	while ((bytes = read(fd, text + len, MAX_KEY_FILE_SIZE - len)) > 0)
		len += bytes;
	text[len] = '\0';
	if (bytes < 0)
		*error = strerror(errno);
	else if (len == MAX_KEY_FILE_SIZE)
		*error = "the file is too large";
	CloseTransientFile(fd);
	return text;
}

void
identity_load_keys(void)
{
	const HttpSettings *settings = api->settings;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "keys", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	bool has_file = settings->jwk_set_file[0] != '\0';
	const char *file_error = NULL;
	char *jwk_set = has_file ? read_file(settings->jwk_set_file, &file_error) : NULL;
	char error[256] = "";

	for (int i = 0; i < CACHE_SIZE; i++)
		drop_token(&cached_tokens[i]);
	token_free_keys(keys);
	keys = NULL;
	if (file_error != NULL)
		ereport(
			LOG,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
		     errmsg("could not read the keys in \"%s\": %s", settings->jwk_set_file, file_error),
		     errhint("Until session_files.http_jwk_set_file names keys, and is reloaded, all tokens are refused.")));
	else if (has_file || settings->jwt_secret[0] != '\0')
	{
		keys = token_read_keys(settings->jwt_secret, jwk_set, error, sizeof(error));
		if (keys == NULL)
			ereport(LOG, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("could not use the keys for tokens: %s", error),
			              errhint("Until session_files.http_jwt_secret or http_jwk_set_file is mended, and reloaded, "
			                      "all tokens are refused.")));
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
}

/* Returns the token of an Authorization header, or NULL if it has none. */
static const char *
token_of(const char *authorization)
{
	static const char scheme[] = "Bearer";

	if (authorization == NULL || pg_strncasecmp(authorization, scheme, strlen(scheme)) != 0)
		return NULL;
	authorization += strlen(scheme);
	if (*authorization != ' ')
		return NULL;
	authorization += strspn(authorization, " ");
	return *authorization != '\0' ? authorization : NULL;
}

/* Verifies a token, unless it is cached. Returns what is wrong with it, or NULL. */
static const char *
verify(const char *text, const Token **token)
{
	int len = (int) strlen(text);
	CachedToken *place = &cached_tokens[hash_bytes((const unsigned char *) text, len) % CACHE_SIZE];
	long long now = time(NULL);
	const char *error;

	*token = &place->token;
	if (place->text != NULL && place->len == len && memcmp(place->text, text, len) == 0 &&
	    now >= place->token.valid_from && now < place->token.valid_until)
		return NULL;
	drop_token(place);
	if (keys == NULL)
		return "there is no key to verify it with";
	error = token_verify(keys, api->settings->jwt_audience, text, len, now, &place->token);
	if (error != NULL)
		return error;
	place->text = strdup(text);
	place->len = len;
	return NULL;
}

const char *
identity_read(const ServerRequest *request, const char **role)
{
	const char *anonymous = api->settings->anonymous_role;
	const char *text = token_of(request->authorization);
	const Token *token = NULL;
	const char *error;

	current = request;
	current_token = NULL;
	*role = anonymous[0] != '\0' ? anonymous : NULL;
	if (text == NULL)
		return NULL;
	error = verify(text, &token);
	if (error != NULL)
		return error;
	current_token = token;
	if (token->role != NULL)
		*role = token->role;
	return NULL;
}

static void
on_role_change(Datum arg, int cacheid, uint32 hashvalue)
{
	checked_role = InvalidOid;
	role_changes++;
}

void
identity_become(const char *role)
{
	uint64 before = role_changes;
	Oid oid;

	/* An error rolls the role back, so the current one is compared. */
	if (OidIsValid(checked_role) && GetCurrentRoleId() == checked_role && strcmp(NameStr(checked_name), role) == 0)
		return;
	oid = get_role_oid(role, true);
	/* A role that does not exist is treated like one that was not granted. */
	if (!OidIsValid(oid) || !is_member_of_role(GetSessionUserId(), oid) || superuser_arg(oid))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		                errmsg("permission denied to serve an HTTP request as role \"%s\"", role)));
	(void) set_config_option("role", role, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET, true, 0, false);
	namestrcpy(&checked_name, role);
	if (before == role_changes)
		checked_role = oid;
}

/* The settings request.*. The text of a show hook has to live until it is copied: it is allocated in the transaction. */

static const char *
show_method(void)
{
	return current != NULL ? pnstrdup(current->http.method.bytes, current->http.method.len) : "";
}

static const char *
show_path(void)
{
	const Span *target;
	int len = 0;

	if (current == NULL)
		return "";
	target = &current->http.target;
	while (len < target->len && target->bytes[len] != '?')
		len++;
	return pg_verifymbstr(target->bytes, len, true) ? pnstrdup(target->bytes, len) : "";
}

/* Adds a name and a value to a JSON object. A pair that is not UTF-8 is left out, as type text cannot hold it. */
static void
add_pair(void *arg, const char *name, Span value)
{
	StringInfo out = arg;
	char *lower;

	if (!pg_verifymbstr(name, (int) strlen(name), true) || !pg_verifymbstr(value.bytes, value.len, true))
		return;
	lower = pstrdup(name);
	for (char *c = lower; *c != '\0'; c++)
		*c = (char) pg_ascii_tolower((unsigned char) *c);
	if (out->len > 1)
		appendStringInfoChar(out, ',');
	api->write_string(out, span_of(lower));
	appendStringInfoChar(out, ':');
	api->write_string(out, value);
}

static const char *
show_pairs(bool cookies)
{
	StringInfoData out;

	if (current == NULL)
		return "";
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	exchange_each_header(current, cookies, add_pair, &out);
	appendStringInfoChar(&out, '}');
	return out.data;
}

static const char *
show_headers(void)
{
	return show_pairs(false);
}

static const char *
show_cookies(void)
{
	return show_pairs(true);
}

/* If the claims have no role, the anonymous role is added to them, as in PostgREST. */
static const char *
show_claims(void)
{
	StringInfoData out;
	const char *rest = current_token != NULL ? current_token->claims + 1 : "}";

	if (current == NULL)
		return "";
	if (current_token != NULL && current_token->role != NULL)
		return current_token->claims;
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"role\":");
	api->write_string(&out, span_of(api->settings->anonymous_role));
	appendStringInfo(&out, *rest == '}' ? "%s" : ",%s", rest);
	return out.data;
}

static void
define(const char *name, const char *description, GucShowHook show)
{
	static char *unused[5];
	static int count = 0;

	DefineCustomStringVariable(name, description, NULL, &unused[count++], "", PGC_INTERNAL,
	                           GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, NULL, NULL, show);
}

void
identity_init(const HttpApi *api_)
{
	api = api_;
	CacheRegisterSyscacheCallback(AUTHOID, on_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_role_change, (Datum) 0);
	define("request.method", "The method of the HTTP request.", show_method);
	define("request.path", "The path of the HTTP request, as it was sent.", show_path);
	define("request.headers", "The headers of the HTTP request, a JSON object with keys in lower case.", show_headers);
	define("request.cookies", "The cookies of the HTTP request, a JSON object.", show_cookies);
	define("request.jwt.claims", "The claims of the HTTP request's token, a JSON object.", show_claims);
}
