/*
 * policy/nearest.c - what a mistyped word was probably meant to be
 * SPDX-License-Identifier: MIT
 */
#include "policy/nearest.h"

#include <string.h>

static size_t smallest(size_t a, size_t b, size_t c)
{
	const size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Letters to add, drop or change to make one word the other; far apart if a word is long. */
static size_t distance(const char *a, const char *b)
{
	enum { WORD = 31 };
	size_t row[WORD + 1], n = strlen(a), m = strlen(b);

	if (n > WORD || m > WORD)
		return WORD;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			const size_t changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = smallest(changed, row[j] + 1, row[j - 1] + 1);
		}
	}
	return row[m];
}

const char *nearest_word(const char *word, const char *const *known, size_t n_known)
{
	size_t best = strlen(word) > 3 ? 3 : 2;
	const char *found = NULL;

	for (size_t i = 0; i < n_known; i++) {
		const size_t d = distance(word, known[i]);

		if (d < best) {
			best = d;
			found = known[i];
		}
	}
	return found;
}
