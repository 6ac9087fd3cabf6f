/*
 * tests/test_checkpoint_file.c - a checkpoint is whole and unchanged, or refused
 * SPDX-License-Identifier: MIT
 *
 * tests/data/checkpoint-1 is one of format 1, for ever: whoever changes the format sees here that it is to be another
 * version's.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_checkpoint.h"
#include "support_policy.h"
#include "support_random.h"

TestSuite(checkpoint_file, .init = policy_dir_enter, .fini = policy_dir_leave);

static struct image golden(void)
{
	char path[4096];
	struct image image;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/tests/data/checkpoint-1", policy_dir_top());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
	image.size = (size_t)st.st_size;
	image.data = malloc(image.size);
	cr_assert(image.data && read(fd, image.data, image.size) == st.st_size);
	close(fd);
	return image;
}

Test(checkpoint_file, what_the_golden_one_says)
{
	struct image image = golden();
	struct checkpoint_file file;
	struct restore counts;
	struct host h;

	cr_assert_null(checkpoint_open(image.data, image.size, &file));
	cr_expect_eq(file.header->serial, 7);
	host_on(&h, &(struct host_start){.policy = host_policy,
					 .wall = file.header->wall,
					 .image = &image,
					 .ret_restore = &counts});
	cr_expect_eq(counts.buckets, 4);
	cr_expect_eq(counts.blocks, 1);
	cr_expect_eq(counts.told, 1);
	cr_expect_eq(host_used(&h, "window/l", "acme"), 500 + 10);
	cr_expect_eq(host_used(&h, "window/l", "other"), 900 + 2);
	cr_expect_eq(host_used(&h, "rolling/l", "acme"), 250 + 10);
	/* Parts of one are rounded up. */
	cr_expect_eq((host_used(&h, "bucket/l", "acme") - 1) / 10, (300 + 10) / 10);
	host_off(&h);
	free(image.data);
}

/* Wherever the power went. */
Test(checkpoint_file, every_truncation_is_refused)
{
	struct image image = golden();
	struct checkpoint_file file;

	for (size_t size = 0; size < image.size; size++) {
		/* Of its own, so that a look beyond its end is seen. */
		void *cut = malloc(size ? size : 1);

		memcpy(cut, image.data, size);
		cr_assert_not_null(checkpoint_open(cut, size, &file), "%zu bytes", size);
		free(cut);
	}
	free(image.data);
}

Test(checkpoint_file, every_single_bit_flip_is_refused)
{
	struct image image = golden();
	struct checkpoint_file file;

	for (size_t bit = 0; bit < 8 * image.size; bit++) {
		unsigned char *byte = (unsigned char *)image.data + bit / 8;

		*byte ^= (unsigned char)(1u << bit % 8);
		cr_assert_not_null(checkpoint_open(image.data, image.size, &file), "bit %zu", bit);
		*byte ^= (unsigned char)(1u << bit % 8);
	}
	cr_expect_null(checkpoint_open(image.data, image.size, &file));
	free(image.data);
}

Test(checkpoint_file, another_version_is_said_to_be_one)
{
	struct image image = golden();
	struct checkpoint_header *header = image.data;
	struct checkpoint_file file;

	header->version++;
	checkpoint_seal(image.data, image.size);
	cr_expect_str_eq(checkpoint_open(image.data, image.size, &file), "of another version");
	header->version--;
	header->magic[0]++;
	cr_expect_str_eq(checkpoint_open(image.data, image.size, &file), "no checkpoint");
	free(image.data);
}

/* Whatever a good checksum stands under: it is refused, or what comes of it is a sound segment with no less spent. */
Test(checkpoint_file, what_has_a_checksum_but_no_sense_breaks_nothing)
{
	const struct image image = golden();
	struct image changed = {malloc(image.size), image.size};
	struct checkpoint_file file;
	unsigned restored = 0;
	struct host h;

	cr_assert_not_null(changed.data);
	seed(5);
	for (int round = 0; round < 1500; round++) {
		unsigned char *bytes = memcpy(changed.data, image.data, image.size);

		for (uint64_t i = 1 + below(4); i > 0; i--)
			bytes[below(image.size)] = (unsigned char)draw();
		checkpoint_seal(changed.data, changed.size);
		if (checkpoint_open(changed.data, changed.size, &file))
			continue;
		host_on(&h, &(struct host_start){.policy = host_policy,
						 .wall = (int64_t)draw() >> below(40),
						 .image = &changed,
						 .elapsed = draw() >> below(64)});
		host_look(&h, true);
		host_off(&h);
		restored++;
	}
	cr_expect_gt(restored, 500, "%u", restored);
	free(changed.data);
	free(image.data);
}
