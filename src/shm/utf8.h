/*
 * shm/utf8.h - what is text
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SHM_UTF8_H
#define RATION_SHM_UTF8_H

#include <stddef.h>

/* One well-formed UTF-8 character's size, or 0 (RFC 3629; control characters are refused too). */
static inline size_t utf8_size(const unsigned char *p, size_t left)
{
	static const struct {
		unsigned char first_min, first_max, second_min, second_max, size;
	} forms[] = {
		{0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		const size_t size = forms[f].size;

		if (p[0] < forms[f].first_min || p[0] > forms[f].first_max || size > left)
			continue;
		if (size > 1 && (p[1] < forms[f].second_min || p[1] > forms[f].second_max))
			continue;
		for (size_t i = 2; i < size; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
		}
		/* C1 controls hide in 2 bytes. */
		return size == 2 && p[0] == 0xc2 && p[1] < 0xa0 ? 0 : size;
	}
	return 0;
}

#endif
