/*
 * tests/test_hash.c - the keyed hash against the authors' published vectors
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "shm/hash.h"

/* Key 00 01 ... 0f, message 00 01 ... of the given size: from the reference implementation's vectors. */
static const struct {
	size_t size;
	const char *hex;
} vectors[] = {
	{0, "a3817f04ba25a8e66df67214c7550293"},  {1, "da87c1d86b99af44347659119b22fc45"},
	{2, "8177228da4a45dc7fca38bdef60affe4"},  {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},
	{8, "3b62a9ba6258f5610f83e264f31497b4"},  {9, "264499060ad9baabc47f8b02bb6d71ed"},
	{15, "5493e99933b0a8117e08ec0f97cfc3d9"}, {16, "6ee2a4ca67b054bbfd3315bf85230577"},
	{31, "2939b0183223fafc1723de4f52c43d35"}, {63, "5150d1772f50834a503e069a973fbd7c"},
};

Test(hash, published_vectors)
{
	const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
	unsigned char message[64];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (unsigned char)i;
	for (size_t v = 0; v < sizeof(vectors) / sizeof(vectors[0]); v++) {
		const struct hash128 hash = hash_keyed(key, message, vectors[v].size);
		char hex[33];

		for (size_t i = 0; i < 16; i++)
			snprintf(hex + 2 * i, 3, "%02x",
				 (unsigned)(hash.word[i / 8] >> 8 * (i % 8)) & 0xff);
		cr_assert_str_eq(hex, vectors[v].hex, "%zu bytes", vectors[v].size);
	}
}

Test(hash, keys_matter)
{
	const uint64_t one[2] = {1, 2}, other[2] = {1, 3};
	const struct hash128 a = hash_keyed(one, "acme", 4), b = hash_keyed(other, "acme", 4);

	cr_assert(memcmp(&a, &b, sizeof(a)) != 0);
}

Test(hash, units)
{
	/* FNV-1a; what other tests have as a constant. */
	cr_assert_eq(hash_unit("requests"), UINT32_C(0x66ad5ad3));
	cr_assert_eq(hash_unit(""), UINT32_C(2166136261));
	cr_assert(hash_unit("tokens") != hash_unit("points"));
}
