/*
 * planted.c
 *		Mistakes that the linters must find: that they do shows that they read what comes after the headers.
 */
#include "compat.h"

extern int planted(int n);

int
planted(int n)
{
	int numbers[3] = {1, 2, 3};
	const int *found = NULL;

	if (n > 3)
		found = &numbers[n - 4];
	numbers[3] = n;
	return *found;
}
