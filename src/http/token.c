/*
 * token.c
 *		JSON Web Tokens: keys, signatures, claims.
 *
 * Rules and messages are those of PostgREST 12, but stricter in places: only HS256, RS256 and ES256, with keys of a safe length; JSON has
 * each member once; claims are not nested without limit. A key has one algorithm, by its type, and verifies no other: so a public key
 * cannot be passed off as the secret of an HMAC. What a header says of keys (jku, jwk, x5u) is ignored; kid chooses among the given keys.
 *
 * The library, cjose, does the cryptography, and compares in constant time. It gets only what was split and checked here, because it reads
 * beyond a signature that is too short, ends the process at a "=" in the wrong place (up to 0.6.2.1), and accepts several texts for the
 * same token. This file knows nothing of HTTP and PostgreSQL.
 */
#include "http/token.h"

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjose/cjose.h>
#include <jansson.h>

/* The longest token, in bytes. No HTTP header can hold a longer one. */
#define MAX_LENGTH 8192

/* How deep claims may be nested. */
#define MAX_DEPTH 64

/* RFC 7518, 3.2 and 3.3: a secret as long as the hash, and RSA keys of 2048 bits. */
#define MIN_SECRET_BYTES 32
#define MIN_RSA_BITS 2048
#define P256_BYTES 32
#define HS256_BYTES 32

/* Numbers are parsed as double, so that none is too large. Claims are passed on as they were sent. */
#define JSON_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL)

#define HEADER_ERROR(what) "JWSError (JSONDecodeError \"" what "\")"
#define CLAIMS_ERROR(what) "JWTClaimsSetDecodeError \"Error in " what "\""
#define NO_MEMORY "out of memory"

typedef enum Algorithm
{
	ALGORITHM_HS256,
	ALGORITHM_RS256,
	ALGORITHM_ES256
} Algorithm;

#define ALGORITHM_COUNT 3

static const char *const algorithm_names[ALGORITHM_COUNT] = {"HS256", "RS256", "ES256"};
static const char *const key_types[ALGORITHM_COUNT] = {"oct", "RSA", "EC"};

typedef struct Key
{
	Algorithm algorithm;
	cjose_jwk_t *jwk;
	char *kid; /* NULL if it has none */
	size_t signature_len;
} Key;

struct TokenKeys
{
	size_t count;
	Key *items;
};

/* Where keys are read from, and where the error goes. */
typedef struct Reader
{
	TokenKeys *keys;
	const char *source;
	char *error;
	size_t error_size;
} Reader;

typedef struct Bytes
{
	unsigned char *data; /* malloc'd */
	size_t len;
} Bytes;

#define PART_COUNT 3

typedef enum Part
{
	PART_HEADER,
	PART_CLAIMS,
	PART_SIGNATURE
} Part;

static int
digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : (c == '_' ? 63 : -1);
}

/* Decodes base64url. Returns false for a text that is not the only form of its bytes. */
static bool
decode(const char *text, size_t len, Bytes *bytes)
{
	unsigned int bits = 0;
	int bit_count = 0;

	*bytes = (Bytes){malloc(len + 1), 0};
	if (bytes->data == NULL)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		int value = digit_value(text[i]);

		if (value < 0)
			return false;
		bits = bits << 6 | (unsigned int) value;
		bit_count += 6;
		if (bit_count >= 8)
		{
			bit_count -= 8;
			bytes->data[bytes->len++] = (unsigned char) (bits >> bit_count);
			bits &= (1U << bit_count) - 1;
		}
	}
	return bit_count < 6 && bits == 0;
}

static json_t *
parse_object(Bytes bytes)
{
	json_t *object = json_loadb((const char *) bytes.data, bytes.len, JSON_FLAGS, NULL);

	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

/* Writes the error about the keys. Returns false, so that callers can return it. */
static bool __attribute__((format(printf, 2, 3))) fail(const Reader *reader, const char *format, ...)
{
	int written = snprintf(reader->error, reader->error_size, "%s: ", reader->source);
	va_list arguments;

	va_start(arguments, format);
	if (written >= 0 && (size_t) written < reader->error_size)
		(void) vsnprintf(reader->error + written, reader->error_size - (size_t) written, format, arguments);
	va_end(arguments);
	return false;
}

/* Adds a key and owns it; frees it if that fails. */
static bool
add_key(Reader *reader, Algorithm algorithm, cjose_jwk_t *jwk, const char *kid, size_t signature_len)
{
	TokenKeys *keys = reader->keys;
	Key *items = realloc(keys->items, (keys->count + 1) * sizeof(Key));
	char *copy = kid != NULL ? strdup(kid) : NULL;

	if (items != NULL)
		keys->items = items;
	if (items == NULL || (kid != NULL && copy == NULL))
	{
		free(copy);
		cjose_jwk_release(jwk);
		return fail(reader, NO_MEMORY);
	}
	items[keys->count++] = (Key){algorithm, jwk, copy, signature_len};
	return true;
}

static bool
add_oct_key(Reader *reader, const char *kid, const void *secret, size_t len)
{
	cjose_jwk_t *jwk;

	if (len < MIN_SECRET_BYTES)
		return fail(reader, "a secret for HS256 must have at least %d bytes, this one has %zu", MIN_SECRET_BYTES, len);
	jwk = cjose_jwk_create_oct_spec(secret, len, NULL);
	if (jwk == NULL)
		return fail(reader, "cannot use the secret");
	return add_key(reader, ALGORITHM_HS256, jwk, kid, HS256_BYTES);
}

/* Counts bits from the first one that is set. */
static size_t
bit_length(Bytes number)
{
	size_t zeros = 0;
	size_t bits;

	while (zeros < number.len && number.data[zeros] == 0)
		zeros++;
	if (zeros == number.len)
		return 0;
	bits = (number.len - zeros - 1) * 8;
	for (unsigned char first = number.data[zeros]; first != 0; first >>= 1)
		bits++;
	return bits;
}

static bool
add_rsa_key(Reader *reader, const char *kid, Bytes modulus, Bytes exponent)
{
	cjose_jwk_rsa_keyspec spec = {.n = modulus.data, .nlen = modulus.len, .e = exponent.data, .elen = exponent.len};
	size_t bits = bit_length(modulus);
	cjose_jwk_t *jwk;

	if (bits < MIN_RSA_BITS)
		return fail(reader, "an RSA key must have at least %d bits, this one has %zu", MIN_RSA_BITS, bits);
	/* With the exponent 1 every text would be its own signature. */
	if (bit_length(exponent) < 2 || exponent.data[exponent.len - 1] % 2 == 0)
		return fail(reader, "the exponent of an RSA key must be odd, and 3 at least");
	jwk = cjose_jwk_create_RSA_spec(&spec, NULL);
	if (jwk == NULL)
		return fail(reader, "cannot use an RSA key");
	return add_key(reader, ALGORITHM_RS256, jwk, kid, (bits + 7) / 8);
}

static bool
add_ec_key(Reader *reader, const char *kid, Bytes x, Bytes y)
{
	cjose_jwk_ec_keyspec spec = {.crv = CJOSE_JWK_EC_P_256, .x = x.data, .xlen = x.len, .y = y.data, .ylen = y.len};
	cjose_jwk_t *jwk;

	if (x.len != P256_BYTES || y.len != P256_BYTES)
		return fail(reader, "the coordinates of a key on P-256 must have %d bytes", P256_BYTES);
	jwk = cjose_jwk_create_EC_spec(&spec, NULL);
	if (jwk == NULL)
		return fail(reader, "a key is not on the curve P-256");
	return add_key(reader, ALGORITHM_ES256, jwk, kid, (size_t) 2 * P256_BYTES);
}

/* Returns a member that is a string, or NULL. */
static const char *
get_string(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* Returns whether a member is missing or has this value. */
static bool
permits(const json_t *jwk, const char *name, const char *value)
{
	const json_t *member = json_object_get(jwk, name);

	return member == NULL || (json_is_string(member) && strcmp(json_string_value(member), value) == 0);
}

/* Returns whether a key may verify signatures, as far as key_ops says. */
static bool
permits_verifying(const json_t *jwk)
{
	const json_t *operations = json_object_get(jwk, "key_ops");
	size_t index;
	json_t *operation;

	if (operations == NULL)
		return true;
	json_array_foreach(operations, index, operation)
	{
		if (json_is_string(operation) && strcmp(json_string_value(operation), "verify") == 0)
			return true;
	}
	return false;
}

/* Finds the algorithm of a key. Returns false if it is not supported, or the key is for another use. */
static bool
choose_algorithm(const json_t *jwk, Algorithm *algorithm)
{
	const char *type = get_string(jwk, "kty");

	for (int i = 0; type != NULL && i < ALGORITHM_COUNT; i++)
	{
		if (strcmp(type, key_types[i]) != 0)
			continue;
		*algorithm = (Algorithm) i;
		return permits(jwk, "alg", algorithm_names[i]) && permits(jwk, "use", "sig") && permits_verifying(jwk) &&
		       (i != ALGORITHM_ES256 || permits(jwk, "crv", "P-256"));
	}
	return false;
}

static bool
decode_member(const json_t *jwk, const char *name, Bytes *bytes)
{
	const char *text = get_string(jwk, name);

	return text != NULL && decode(text, strlen(text), bytes);
}

/* Adds a key from its members: one or two numbers, depending on the algorithm. */
static bool
add_jwk(Reader *reader, const json_t *jwk)
{
	static const char *const member_names[ALGORITHM_COUNT][2] = {{"k", NULL}, {"n", "e"}, {"x", "y"}};
	Algorithm algorithm;
	const char *const *names;
	const char *kid = get_string(jwk, "kid");
	Bytes first = {0};
	Bytes second = {0};
	bool added;

	if (!choose_algorithm(jwk, &algorithm))
		return true;
	names = member_names[algorithm];
	if (!decode_member(jwk, names[0], &first) || (names[1] != NULL && !decode_member(jwk, names[1], &second)))
		added = fail(reader, "a key of type %s is malformed", key_types[algorithm]);
	else if (algorithm == ALGORITHM_HS256)
		added = add_oct_key(reader, kid, first.data, first.len);
	else if (algorithm == ALGORITHM_RS256)
		added = add_rsa_key(reader, kid, first, second);
	else
		added = add_ec_key(reader, kid, first, second);
	free(first.data);
	free(second.data);
	return added;
}

static bool
add_parsed(Reader *reader, const json_t *parsed)
{
	const json_t *set = json_object_get(parsed, "keys");
	size_t before = reader->keys->count;
	size_t index;
	json_t *jwk;

	if (set == NULL)
	{
		if (!add_jwk(reader, parsed))
			return false;
	}
	json_array_foreach(set, index, jwk)
	{
		if (!add_jwk(reader, jwk))
			return false;
	}
	return reader->keys->count > before || fail(reader, "no key in it can verify HS256, RS256 or ES256");
}

/* Adds a JWK, or each key of a set of them. */
static bool
add_json(Reader *reader, const char *text)
{
	json_error_t where;
	json_t *parsed = json_loads(text, JSON_FLAGS, &where);
	bool added;

	/* The parser's message quotes the text, which is secret. */
	if (parsed == NULL)
		return fail(reader, "not JSON at line %d, column %d", where.line, where.column);
	added = json_is_object(parsed) ? add_parsed(reader, parsed) : fail(reader, "neither a JWK nor a JWK set");
	json_decref(parsed);
	return added;
}

static bool
add_secret(Reader *reader, const char *secret)
{
	const char *start = secret + strspn(secret, " \t\r\n");

	if (*start == '{')
		return add_json(reader, start);
	/* With a public key as the secret of an HMAC, all who know it could sign. */
	if (strncmp(start, "-----BEGIN", 10) == 0)
		return fail(reader, "a key in PEM is no secret; it can be given as a JWK");
	return add_oct_key(reader, NULL, secret, strlen(secret));
}

static bool
is_given(const char *text)
{
	return text != NULL && *text != '\0';
}

TokenKeys *
token_read_keys(const char *secret, const char *jwk_set, char *error, size_t error_size)
{
	Reader reader = {calloc(1, sizeof(TokenKeys)), "secret", error, error_size};
	bool read = true;

	if (reader.keys == NULL)
	{
		fail(&reader, NO_MEMORY);
		return NULL;
	}
	if (is_given(secret))
		read = add_secret(&reader, secret);
	reader.source = "JWK set";
	if (read && is_given(jwk_set))
		read = add_json(&reader, jwk_set);
	if (read && reader.keys->count == 0)
		read = fail(&reader, "there is neither that nor a secret");
	if (read)
		return reader.keys;
	token_free_keys(reader.keys);
	return NULL;
}

void
token_free_keys(TokenKeys *keys)
{
	if (keys == NULL)
		return;
	for (size_t i = 0; i < keys->count; i++)
	{
		cjose_jwk_release(keys->items[i].jwk);
		free(keys->items[i].kid);
	}
	free(keys->items);
	free(keys);
}

/* Splits a token at its dots, and decodes each part. */
static const char *
split(const char *text, size_t len, Bytes *parts)
{
	const char *end = text + len;
	const char *start = text;

	if (len > MAX_LENGTH)
		return "JWSError (CompactDecodeError Too long)";
	for (int i = 0; i < PART_COUNT; i++)
	{
		const char *dot = memchr(start, '.', (size_t) (end - start));

		if ((dot == NULL) != (i == PART_COUNT - 1))
			return "JWSError (CompactDecodeError Invalid number of parts: Expected 3 parts)";
		if (!decode(start, (size_t) ((dot != NULL ? dot : end) - start), &parts[i]))
			return HEADER_ERROR("Not valid base64url");
		start = dot != NULL ? dot + 1 : end;
	}
	return NULL;
}

/* Reads a header: algorithm and kid, which is NULL if there is none. */
static const char *
check_header(const json_t *header, Algorithm *algorithm, const char **kid)
{
	const char *name = get_string(header, "alg");

	*kid = get_string(header, "kid");
	if (name == NULL)
		return HEADER_ERROR("missing required header \\\"alg\\\"");
	if (*kid == NULL && json_object_get(header, "kid") != NULL)
		return HEADER_ERROR("kid: expected String");
	/* No extension is supported. b64 is one: it changes what is signed. */
	if (json_object_get(header, "crit") != NULL || json_object_get(header, "b64") != NULL)
		return HEADER_ERROR("crit key is not understood");
	if (strcmp(name, "none") == 0)
		return "JWSError JWSNoSignatures";
	for (int i = 0; i < ALGORITHM_COUNT; i++)
	{
		*algorithm = (Algorithm) i;
		if (strcmp(name, algorithm_names[i]) == 0)
			return NULL;
	}
	return HEADER_ERROR("unrecognised value; expected: [\\\"HS256\\\",\\\"RS256\\\",\\\"ES256\\\"]");
}

static bool
has_kid(const Key *key, const char *kid)
{
	return key->kid != NULL && strcmp(key->kid, kid) == 0;
}

static bool
knows_kid(const TokenKeys *keys, const char *kid)
{
	for (size_t i = 0; kid != NULL && i < keys->count; i++)
	{
		if (has_kid(&keys->items[i], kid))
			return true;
	}
	return false;
}

/* Tries the keys of the algorithm: those with the token's kid, or all if no key has it. */
static bool
verify_signature(const TokenKeys *keys, Algorithm algorithm, const char *kid, cjose_jws_t *jws, size_t signature_len)
{
	bool by_kid = knows_kid(keys, kid);

	for (size_t i = 0; i < keys->count; i++)
	{
		const Key *key = &keys->items[i];

		/* The library reads as many bytes of a signature as the algorithm needs, whatever its length. */
		if (key->algorithm == algorithm && (!by_kid || has_kid(key, kid)) && key->signature_len == signature_len &&
		    cjose_jws_verify(jws, key->jwk, NULL))
			return true;
	}
	return false;
}

static const char *
check_signature(const TokenKeys *keys, const char *text, size_t len, const Bytes *parts)
{
	json_t *header = parse_object(parts[PART_HEADER]);
	const char *problem;
	Algorithm algorithm;
	const char *kid;

	if (header == NULL)
		return HEADER_ERROR("protected header contains invalid JSON");
	problem = check_header(header, &algorithm, &kid);
	if (problem == NULL)
	{
		cjose_jws_t *jws = cjose_jws_import(text, len, NULL);

		if (jws == NULL || !verify_signature(keys, algorithm, kid, jws, parts[PART_SIGNATURE].len))
			problem = "JWSError JWSInvalidSignature";
		cjose_jws_release(jws);
	}
	json_decref(header);
	return problem;
}

/* Rounds up and adds seconds. An integer is less than the rounded number exactly if it is less than the number. */
static long long
add_seconds(double time, long long seconds)
{
	long long whole;

	if (time >= 1e18)
		return LLONG_MAX;
	if (time <= -1e18)
		return LLONG_MIN;
	whole = (long long) time;
	return whole + ((double) whole < time ? 1 : 0) + seconds;
}

/* Reads the time of a claim, if there is one; returns false if it is no number. */
static bool
read_time(const json_t *claims, const char *name, long long skew, long long *time)
{
	const json_t *claim = json_object_get(claims, name);

	if (claim == NULL)
		return true;
	if (!json_is_number(claim))
		return false;
	*time = add_seconds(json_number_value(claim), skew);
	return true;
}

static const char *
check_times(const json_t *claims, long long now, Token *token)
{
	long long issued = LLONG_MIN;

	token->valid_from = LLONG_MIN;
	token->valid_until = LLONG_MAX;
	if (!read_time(claims, "exp", TOKEN_SKEW, &token->valid_until))
		return CLAIMS_ERROR("$.exp: parsing NumericDate failed, expected Number");
	if (!read_time(claims, "nbf", -TOKEN_SKEW, &token->valid_from))
		return CLAIMS_ERROR("$.nbf: parsing NumericDate failed, expected Number");
	if (!read_time(claims, "iat", -TOKEN_SKEW, &issued))
		return CLAIMS_ERROR("$.iat: parsing NumericDate failed, expected Number");
	if (now >= token->valid_until)
		return "JWT expired";
	if (now < issued)
		return "JWTIssuedAtFuture";
	if (now < token->valid_from)
		return "JWTNotYetValid";
	if (token->valid_from < issued)
		token->valid_from = issued;
	return NULL;
}

/* Checks the claim "aud". A token without it is for any audience, as in PostgREST. */
static const char *
check_audience(const json_t *claims, const char *audience)
{
	const json_t *claim = json_object_get(claims, "aud");
	size_t count = json_is_array(claim) ? json_array_size(claim) : 1;
	bool found = false;

	if (claim == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++)
	{
		const char *name = json_string_value(json_is_array(claim) ? json_array_get(claim, i) : claim);

		if (name == NULL)
			return CLAIMS_ERROR("$.aud: parsing StringOrURI failed, expected String");
		if (!is_given(audience) || strcmp(name, audience) == 0)
			found = true;
	}
	return found ? NULL : "JWTNotInAudience";
}

/*
 * Copies valid JSON without the white space between its tokens. The rest stays as it is, so numbers keep all their digits. Returns NULL if
 * it is nested too deep.
 */
static char *
compact(Bytes json)
{
	char *out = malloc(json.len + 1);
	size_t written = 0;
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; out != NULL && i < json.len; i++)
	{
		char c = (char) json.data[i];

		if (in_string && c == '\\')
			out[written++] = (char) json.data[i++];
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
		if (depth > MAX_DEPTH)
		{
			free(out);
			return NULL;
		}
		if (in_string || strchr(" \t\r\n", c) == NULL)
			out[written++] = (char) json.data[i];
	}
	if (out != NULL)
		out[written] = '\0';
	return out;
}

/* Stores the claims, and the role among them. */
static const char *
keep_claims(const json_t *claims, Bytes json, Token *token)
{
	const json_t *role = json_object_get(claims, "role");

	if (role != NULL && !json_is_string(role))
		return CLAIMS_ERROR("$.role: expected String");
	token->claims = compact(json);
	if (token->claims == NULL)
		return CLAIMS_ERROR("$: nested too deep");
	if (role != NULL)
	{
		token->role = strdup(json_string_value(role));
		if (token->role == NULL)
			return NO_MEMORY;
	}
	return NULL;
}

static const char *
check_claims(Bytes json, const char *audience, long long now, Token *token)
{
	json_t *claims = parse_object(json);
	const char *problem;

	if (claims == NULL)
		return CLAIMS_ERROR("$: parsing JWT Claims Set failed, expected Object");
	problem = check_times(claims, now, token);
	if (problem == NULL)
		problem = check_audience(claims, audience);
	if (problem == NULL)
		problem = keep_claims(claims, json, token);
	json_decref(claims);
	return problem;
}

const char *
token_verify(const TokenKeys *keys, const char *audience, const char *text, size_t len, long long now, Token *token)
{
	Bytes parts[PART_COUNT] = {{0}};
	const char *problem = split(text, len, parts);

	*token = (Token){0};
	if (problem == NULL)
		problem = check_signature(keys, text, len, parts);
	if (problem == NULL)
		problem = check_claims(parts[PART_CLAIMS], audience, now, token);
	for (int i = 0; i < PART_COUNT; i++)
		free(parts[i].data);
	if (problem != NULL)
		token_free(token);
	return problem;
}

void
token_free(Token *token)
{
	free(token->claims);
	free(token->role);
	*token = (Token){0};
}
