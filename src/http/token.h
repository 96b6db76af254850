/*
 * token.h
 *		JSON Web Tokens: who sends a request, as somebody signed it.
 *
 * Plain C, without PostgreSQL; to be linked with -lcjose -ljansson.
 */
#ifndef SESSION_FILES_TOKEN_H
#define SESSION_FILES_TOKEN_H

#include <stddef.h>

/* Seconds by which the clocks of who signs and who verifies may differ. */
#define TOKEN_SKEW 30

typedef struct TokenKeys TokenKeys;

typedef struct Token
{
	char *claims;          /* the payload: a JSON object without white space */
	char *role;            /* the claim "role"; NULL if there is none */
	long long valid_from;  /* seconds since 1970, skew included: the first one at which it is valid, */
	long long valid_until; /* and the first one at which it is not any more */
} Token;

/*
 * Reads the keys that tokens may be signed with. The secret is a text of at least 32 bytes for HS256 or, if it begins
 * with a brace, a JWK or a JWK set in JSON; jwk_set is a JWK or a JWK set. Either may be NULL or empty, not both. Returns
 * NULL and says why in error (never with a part of a key) if there is a key that is malformed or too weak, or none
 * that can be used. Keys for other algorithms and other uses are passed over; of private ones the public half is taken.
 */
extern TokenKeys *token_read_keys(const char *secret, const char *jwk_set, char *error, size_t error_size);

/* Frees keys, which may be NULL. */
extern void token_free_keys(TokenKeys *keys);

/*
 * Verifies a token at a time (seconds since 1970), for an audience, or for any if that is NULL or empty. Returns NULL and
 * fills token, for token_free; or returns what is wrong, in a text that is not to be freed and holds ASCII alone.
 */
extern const char *token_verify(const TokenKeys *keys, const char *audience, const char *text, size_t len,
                                long long now, Token *token);

/* Frees what a token holds; also after an error, and twice. */
extern void token_free(Token *token);

#endif
