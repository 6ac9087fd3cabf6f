/*
 * tests/fuzz_checkpoint.c - libFuzzer: any bytes as a checkpoint, and the segment that comes of them
 * SPDX-License-Identifier: MIT
 *
 * Most bytes would fail at the magic, the size or the checksum: the mutator puts these right, nine times in ten. The first 16
 * bytes are not the file's: how long ago it was made, and what the wall clock shows.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/check.h"
#include "supervisor/checkpoint_restore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

#define BEFORE 16u

static const struct seg_config config = {.buckets = 64, .workers = 2, .queues = 1};
static const char text[] =
	"version: 1\nclasses: [interactive, bulk]\n"
	"defaults: { delay: 0ms, clock_skew: 1s }\nvendors:\n"
	"  window:\n    limits:\n"
	"      - { name: l, kind: window, period: 300d, amount: 1000, scope: [tenant, vendor] }\n"
	"      - { name: m, kind: window, period: month, timezone: Europe/Berlin, amount: 1000,"
	" scope: [vendor], classes: { interactive: { guarantee: 100 } } }\n"
	"  rolling:\n    limits:\n"
	"      - { name: l, kind: rolling, period: 300d, amount: 1000, scope: [tenant, vendor] }\n"
	"  bucket:\n    limits:\n"
	"      - { name: l, rate: 1/h, burst: 1000, scope: [tenant, vendor] }\n"
	"  quick:\n    limits:\n"
	"      - { name: l, rate: 100/s, burst: 100, scope: [tenant, vendor] }\n";

static struct published policy;
static void *memory;

static _Noreturn void broken(const char *what)
{
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void complain(void *user, const struct policy_message *m)
{
	(void)user;
	if (m->severity == POLICY_ERROR)
		broken(m->text);
}

static void make_policy(void)
{
	static const uint64_t key[2] = {1, 2};
	char path[] = "/tmp/fuzz-checkpoint-XXXXXX";
	const struct published_from from = {.path = path, .hash_key = key};
	const int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1)
		broken("mkstemp");
	close(fd);
	if (published_make(&policy, &from, 1, complain, NULL) != 0)
		broken("published_make");
	unlink(path);
	memory = aligned_alloc(SEG_PAGE, seg_size(&config));
	if (!memory)
		broken("aligned_alloc");
}

static void problem(void *user, const char *what, uint32_t bucket)
{
	(void)user, (void)bucket;
	broken(what);
}

static void restore(const struct checkpoint_file *file, const uint64_t before[2])
{
	struct seg seg;
	struct restore r = {
		.seg = &seg,
		.policy = &policy,
		.file = file,
		.far = before[0] & 1,
		.now = CHECKPOINT_PAST_NS * TICKS_PER_NS,
		.wall = (int64_t)before[1],
		.elapsed = before[0],
	};
	struct published names;

	if (restore_names(file, before[0], r.now, &names) != 0)
		broken("restore_names");
	for (uint32_t i = 1; i < names.n_names; i++) {
		if (strcmp(names.names[i - 1].name, names.names[i].name) > 0)
			broken("names are not in order");
	}
	free(names.names);
	memset(memory, 0, seg_size(&config));
	seg_init(memory, &config, 0, &seg);
	restore_all(&r);
	seg_check(&seg, r.now, true, problem, NULL);
	if (r.buckets + r.blocks + r.told + r.unknown + r.no_room > file->header->n_entries)
		broken("more than there was");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t before[2];
	struct checkpoint_file file;
	void *copy;

	if (!memory)
		make_policy();
	if (size < BEFORE)
		return 0;
	memcpy(before, data, BEFORE);
	copy = malloc(size - BEFORE + 1);
	if (!copy)
		broken("malloc");
	memcpy(copy, data + BEFORE, size - BEFORE);
	if (!checkpoint_open(copy, size - BEFORE, &file))
		restore(&file, before);
	free(copy);
	return 0;
}

/* What it points to is there. */
static void repair_entry(const struct checkpoint_header *h, uint8_t *data)
{
	struct checkpoint_entry e;

	memcpy(&e, data, sizeof(e));
	e.kind %= KIND_COUNT;
	e.limit = e.kind == KIND_GATE || h->n_limits == 0 ? BLOB_NO_INDEX : e.limit % h->n_limits;
	e.first %= h->n_cells + 1;
	e.count %= h->n_cells - e.first + 1;
	e.scope &= 0x1f;
	for (int i = 0; i < KEY_FIELDS; i++)
		e.field[i] %= h->n_text;
	memcpy(data, &e, sizeof(e));
}

/* As much as its size is worth in entries, where they do not add up. size: a multiple of 8. */
static void repair(uint8_t *data, size_t size)
{
	struct checkpoint_header h;
	uint64_t rest;

	memcpy(&h, data, sizeof(h));
	memcpy(h.magic, CHECKPOINT_MAGIC, sizeof(h.magic));
	h.version = CHECKPOINT_VERSION;
	h.size = size;
	rest = size - sizeof(h) - sizeof(struct hash128) - 8;
	h.n_limits %= (uint32_t)(rest / sizeof(struct checkpoint_limit)) + 1;
	rest -= h.n_limits * sizeof(struct checkpoint_limit);
	h.n_entries %= (uint32_t)(rest / sizeof(struct checkpoint_entry)) + 1;
	rest -= h.n_entries * sizeof(struct checkpoint_entry);
	h.n_cells %= (uint32_t)(rest / sizeof(struct checkpoint_cell)) + 1;
	rest -= h.n_cells * sizeof(struct checkpoint_cell);
	h.n_text = (uint32_t)rest + 8;
	memcpy(data, &h, sizeof(h));
	for (uint32_t i = 0; i < h.n_entries; i++)
		repair_entry(&h, data + sizeof(h) + h.n_limits * sizeof(struct checkpoint_limit) +
					 i * sizeof(struct checkpoint_entry));
	data[size - sizeof(struct hash128) - 1] = 0;
	data[size - sizeof(struct hash128) - h.n_text] = 0;
	checkpoint_seal(data, size);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (size % 8 != 0 && max_size >= 8)
		size -= size % 8;
	if (seed % 10 != 0 &&
	    size >= BEFORE + sizeof(struct checkpoint_header) + sizeof(struct hash128) + 8)
		repair(data + BEFORE, size - BEFORE);
	return size;
}
