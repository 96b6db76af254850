/*
 * token_check.c
 *		The room of tokens as a program, for test_token.py:
 *
 *			token_check SECRET JWK_SET AUDIENCE NOW <TOKEN
 *
 * Prints "keys WHY" if the keys are refused, "token WHY" if the token is, and else "valid FROM UNTIL", the claims, and, if there
 * is one, "role ROLE", on a line each. Empty arguments are like none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/token.h"

int
main(int argc, char **argv)
{
	static char text[1 << 20];
	char error[256];
	size_t len = fread(text, 1, sizeof(text), stdin);
	TokenKeys *keys;
	const char *problem;
	Token token;

	if (argc != 5)
		return 2;
	keys = token_read_keys(argv[1], argv[2], error, sizeof(error));
	if (keys == NULL)
	{
		printf("keys %s\n", error);
		return 0;
	}
	problem = token_verify(keys, argv[3], text, len, atoll(argv[4]), &token);
	if (problem != NULL)
		printf("token %s\n", problem);
	else
		printf("valid %lld %lld\n%s\n", token.valid_from, token.valid_until, token.claims);
	if (problem == NULL && token.role != NULL)
		printf("role %s\n", token.role);
	token_free(&token);
	token_free_keys(keys);
	return 0;
}
