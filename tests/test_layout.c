/*
 * tests/test_layout.c - a segment is opened only if it is whole, ours and of this layout
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <string.h>

#include "support_seg.h"

static struct seg_header *header_of(const struct seg *seg)
{
	return (struct seg_header *)(void *)seg->base;
}

Test(layout, opened_as_it_was_made)
{
	struct seg made = seg_make(1000, 7), opened;

	cr_assert_eq(seg_open(made.base, made.size, &opened), SEG_OK);
	cr_assert_eq(memcmp(&made, &opened, offsetof(struct seg, n_workers)), 0);
	cr_assert_eq(opened.n_buckets, 1000);
	cr_assert_eq(opened.n_workers, 7);
	cr_assert_eq(opened.n_heads, 1024);
	seg_verify(&opened, 1, true);
}

/* What its names take stands in tests/test_reclaim.c: a_million_buckets. */
Test(layout, a_plain_bucket_takes_136_bytes_and_its_names)
{
	const struct seg_config few = {.buckets = 1 << 19, .workers = 1, .extents = 1};
	const struct seg_config many = {.buckets = 1 << 20, .workers = 1, .extents = 1};
	const uint64_t each = (seg_size(&many) - seg_size(&few)) / (1 << 19);

	cr_assert_eq(each, sizeof(struct seg_hot) + sizeof(struct seg_cold) + sizeof(shm_word));
}

Test(layout, impossible_sizes_are_refused)
{
	const struct seg_config wrong[] = {
		{.workers = 1},
		{.buckets = 1},
		{.buckets = SEG_BUCKETS_MAX + 1, .workers = 1},
		{.buckets = 1, .workers = SEG_WORKERS_MAX + 1},
		{.buckets = 1, .workers = 1, .extents = SEG_EXTENTS_MAX + 1},
		{.buckets = 1, .workers = 1, .queues = 3},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_eq(seg_size(&wrong[i]), 0);
}

Test(layout, half_made_is_not_ready)
{
	struct seg made = seg_make(10, 1), opened;

	header_of(&made)->ready = 0;
	cr_assert_eq(seg_open(made.base, made.size, &opened), SEG_NOT_READY);
}

Test(layout, a_file_of_zeroes_is_not_ready)
{
	static _Alignas(4096) char zeroes[8192];
	struct seg opened;

	cr_assert_eq(seg_open(zeroes, sizeof(zeroes), &opened), SEG_NOT_READY);
	cr_assert_eq(seg_open(zeroes, 100, &opened), SEG_BAD_GEOMETRY);
}

Test(layout, others_are_refused)
{
	struct seg made = seg_make(10, 1), opened;
	struct seg_header *header = header_of(&made);

	header->fingerprint ^= 1;
	cr_assert_eq(seg_open(made.base, made.size, &opened), SEG_OTHER_LAYOUT);
	header->fingerprint ^= 1;
	header->abi++;
	cr_assert_eq(seg_open(made.base, made.size, &opened), SEG_OTHER_LAYOUT);
	header->abi--;
	header->magic[0] = 'x';
	cr_assert_eq(seg_open(made.base, made.size, &opened), SEG_NOT_OURS);
}

/* Every single change of a section's place or size is noticed. */
Test(layout, wrong_geometry_is_refused)
{
	struct seg made = seg_make(10, 1), opened;
	struct seg_header *header = header_of(&made);
	unsigned char *bytes = (unsigned char *)header->sections;

	for (size_t i = 0; i < SEC_COUNT * sizeof(struct seg_section); i++) {
		bytes[i] ^= 0x41;
		cr_assert_eq(seg_open(made.base, made.size, &opened), SEG_BAD_GEOMETRY, "byte %zu",
			     i);
		bytes[i] ^= 0x41;
	}
	cr_assert_eq(seg_open(made.base, made.size - 4096, &opened), SEG_BAD_GEOMETRY);
	cr_assert_eq(seg_open(made.base, made.size, &opened), SEG_OK);
}
