/*
 * fuzz_token.c
 *		Fuzzes the room of tokens: keys, forms, headers, claims.
 *
 * The first byte of an input says what it is; a byte 0x1E (record separator) stands between two parts of it:
 *
 *		T TOKEN             a token, for the keys of RFC 7515 and a secret
 *		S HEADER | CLAIMS   both as they are, which the harness encodes and signs by HMAC, so that claims are reached
 *		K SECRET | JWK SET  keys, with which a token is verified
 *
 * What must hold of every token is checked here; a "require" that does not hold is a finding.
 */
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "http/token.h"

#define SEPARATOR 0x1e
#define SECRET "correct horse battery staple 1234"
#define AUDIENCE "us"
/* A second before the examples of RFC 7515 expire. */
#define NOW 1300819379LL
#define SIGNATURE_BYTES 32

#define require(condition)                                                                 \
	do                                                                                     \
	{                                                                                      \
		if (!(condition))                                                                  \
		{                                                                                  \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                       \
		}                                                                                  \
	} while (0)

static TokenKeys *keys;
static char *example; /* a token that the keys of RFC 7515 verify */

/* Reads the keys of RFC 7515, which are test data of the unit test too; the kid of each is its section. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	json_t *examples = json_load_file(RFC_7515, 0, NULL);
	json_t *set = json_pack("{s:[]}", "keys");
	char error[256];
	const char *name;
	json_t *value;
	char *text;

	(void) argc;
	(void) argv;
	require(examples != NULL);
	json_object_foreach(examples, name, value)
	{
		json_object_set_new(json_object_get(value, "jwk"), "kid", json_string(name));
		json_array_append(json_object_get(set, "keys"), json_object_get(value, "jwk"));
	}
	text = json_dumps(set, 0);
	keys = token_read_keys(SECRET, text, error, sizeof(error));
	require(keys != NULL);
	example = strdup(json_string_value(json_object_get(json_object_get(examples, "A.3"), "token")));
	free(text);
	json_decref(set);
	json_decref(examples);
	return 0;
}

static void
check_ascii(const char *text)
{
	require(*text != '\0');
	for (; *text != '\0'; text++)
		require(*text >= 0x20 && *text <= 0x7e);
}

/* A number in the claims bounds when the token is valid. */
static void
check_time(const json_t *claims, const char *name, bool is_end)
{
	const json_t *time = json_object_get(claims, name);

	require(time == NULL || json_is_number(time));
	if (time != NULL)
		require(is_end ? NOW < json_number_value(time) + TOKEN_SKEW : NOW >= json_number_value(time) - TOKEN_SKEW);
}

static void
check_valid(const Token *token)
{
	json_t *claims = json_loads(token->claims, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
	const json_t *role = json_object_get(claims, "role");

	require(json_is_object(claims));
	require((role == NULL) == (token->role == NULL));
	require(role == NULL || strcmp(json_string_value(role), token->role) == 0);
	require(token->valid_from <= NOW && NOW < token->valid_until);
	check_time(claims, "exp", true);
	check_time(claims, "nbf", false);
	check_time(claims, "iat", false);
	json_decref(claims);
}

/* Verifies text of its own size, so that reading beyond it is noticed; returns whether it is a valid token. */
static bool
verify(const TokenKeys *with, const char *audience, const char *text, size_t len, Token *token)
{
	char *copy = malloc(len);
	const char *problem;

	memcpy(copy, text, len);
	problem = token_verify(with, audience, copy, len, NOW, token);
	free(copy);
	if (problem == NULL)
		check_valid(token);
	else
	{
		check_ascii(problem);
		require(token->claims == NULL && token->role == NULL);
	}
	return problem == NULL;
}

/* Verifies a token, and if it is valid, that with another signature it is not. */
static void
check_token(const char *text, size_t len)
{
	Token token;
	Token again;

	if (verify(keys, NULL, text, len, &token))
	{
		char *other = malloc(len);
		size_t at = (size_t) ((const char *) memrchr(text, '.', len) - text) + 1;

		memcpy(other, text, len);
		other[at] = other[at] == 'A' ? 'B' : 'A';
		require(!verify(keys, NULL, other, len, &again));
		free(other);
		if (verify(keys, AUDIENCE, text, len, &again))
			require(strcmp(token.claims, again.claims) == 0);
		token_free(&again);
	}
	token_free(&token);
	token_free(&token);
}

/* Appends base64url without padding; returns where it ends. */
static char *
put_base64url(char *out, const unsigned char *bytes, size_t len)
{
	int written = EVP_EncodeBlock((unsigned char *) out, bytes, (int) len);

	while (written > 0 && out[written - 1] == '=')
		written--;
	for (int i = 0; i < written; i++)
		out[i] = out[i] == '+' ? '-' : (out[i] == '/' ? '_' : out[i]);
	return out + written;
}

/* If a token that was signed is valid, its header says HS256, and its claims are those that were signed. */
static void
check_signed(const unsigned char *header, size_t header_len, const unsigned char *claims, size_t claims_len)
{
	char *text = malloc((header_len + claims_len + SIGNATURE_BYTES + 9) / 3 * 4 + 9);
	unsigned char signature[SIGNATURE_BYTES];
	char *end = put_base64url(text, header, header_len);
	Token token;

	*end++ = '.';
	end = put_base64url(end, claims, claims_len);
	HMAC(EVP_sha256(), SECRET, strlen(SECRET), (unsigned char *) text, (size_t) (end - text), signature, NULL);
	*end++ = '.';
	end = put_base64url(end, signature, SIGNATURE_BYTES);
	check_token(text, (size_t) (end - text));
	if (verify(keys, NULL, text, (size_t) (end - text), &token))
	{
		json_t *parsed_header = json_loadb((const char *) header, header_len, 0, NULL);
		json_t *signed_claims = json_loadb((const char *) claims, claims_len, JSON_DECODE_INT_AS_REAL, NULL);
		json_t *kept_claims = json_loads(token.claims, JSON_DECODE_INT_AS_REAL, NULL);

		require(strcmp(json_string_value(json_object_get(parsed_header, "alg")), "HS256") == 0);
		require(json_object_get(parsed_header, "crit") == NULL);
		require(json_equal(signed_claims, kept_claims));
		json_decref(parsed_header);
		json_decref(signed_claims);
		json_decref(kept_claims);
	}
	token_free(&token);
	free(text);
}

static char *
copy_text(const unsigned char *bytes, size_t len)
{
	char *copy = malloc(len + 1);

	memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

static void
check_keys(const unsigned char *secret, size_t secret_len, const unsigned char *jwk_set, size_t jwk_set_len)
{
	char *secret_text = copy_text(secret, secret_len);
	char *jwk_set_text = copy_text(jwk_set, jwk_set_len);
	char error[64] = "";
	TokenKeys *read = token_read_keys(secret_text, jwk_set_text, error, sizeof(error));
	Token token;

	require((read == NULL) == (*error != '\0'));
	if (read != NULL)
	{
		verify(read, NULL, example, strlen(example), &token);
		token_free(&token);
	}
	else
		check_ascii(error);
	token_free_keys(read);
	free(secret_text);
	free(jwk_set_text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *first = data + 1;
	const uint8_t *separator;
	const uint8_t *second;
	size_t first_len, second_len;

	if (size == 0)
		return 0;
	separator = memchr(first, SEPARATOR, size - 1);
	first_len = separator != NULL ? (size_t) (separator - first) : size - 1;
	second = separator != NULL ? separator + 1 : first + first_len;
	second_len = size - (size_t) (second - data);
	switch (*data)
	{
		case 'T':
			check_token((const char *) first, size - 1);
			break;
		case 'S':
			check_signed(first, first_len, second, second_len);
			break;
		case 'K':
			check_keys(first, first_len, second, second_len);
			break;
	}
	return 0;
}
