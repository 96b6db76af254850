/*
 * token.h
 *		JSON Web Tokens: signed claims about the sender of a request.
 *
 * Plain C, without PostgreSQL; to be linked with -lcjose -ljansson.
 */
#ifndef SESSION_FILES_TOKEN_H
#define SESSION_FILES_TOKEN_H

#include <stddef.h>

/* Seconds by which the clocks of signer and verifier may differ. */
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
 * Reads the keys with which tokens may be signed. The secret is a text of at least 32 bytes for HS256 or, if it starts with a brace, a JWK
 * or a JWK set in JSON; jwk_set is a JWK or a JWK set. One of them may be NULL or empty. Keys for other algorithms and uses are ignored; of
 * a private key the public half is taken. If a key is malformed or too weak, or none can be used, returns NULL, and in error the reason,
 * which never has a part of a key.
 */
extern TokenKeys *token_read_keys(const char *secret, const char *jwk_set, char *error, size_t error_size);

/* Frees keys, which may be NULL. */
extern void token_free_keys(TokenKeys *keys);

/*
 * Verifies a token at a time (seconds since 1970), for an audience, or for any if that is NULL or empty. Returns NULL and fills token, for
 * token_free; or returns what is wrong, a static text in ASCII.
 */
extern const char *token_verify(const TokenKeys *keys, const char *audience, const char *text, size_t len,
                                long long now, Token *token);

/* Frees what a token holds; also after an error, and twice. */
extern void token_free(Token *token);

#endif
