/*
 * policy/embed.c - libration-embed: a private segment from a policy file, no supervisor
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/memory.h"
#include "policy/policy.h"

static const struct seg_config embedded = {.buckets = 16384, .workers = 256};

/* Keeps the first error; the rest is for `ration check`. */
static void keep_first(void *user, const struct policy_message *message)
{
	struct ration_error *error = user;

	if (!error || error->text[0] != '\0' || message->severity != POLICY_ERROR)
		return;
	if (message->line == 0) /* about the file as a whole */
		snprintf(error->text, sizeof(error->text), "%s: %s", message->file, message->text);
	else
		snprintf(error->text, sizeof(error->text), "%s:%u:%u: %s", message->file,
			 message->line, message->column, message->text);
}

static int say(struct ration_error *error, int code)
{
	if (error)
		snprintf(error->text, sizeof(error->text), "%s", ration_strerror(code));
	return code;
}

/* Keep what the compiler said; it says nothing when memory runs out. */
static int failed(struct ration_error *error, int code)
{
	if (error && error->text[0] == '\0')
		say(error, code);
	return code == -EINVAL ? RATION_EPOLICY : code;
}

static int make_policy_fd(const char *path, int *ret_fd, uint64_t *ret_size,
			  struct ration_error *error)
{
	uint64_t key[2];
	struct policy policy;
	int result;

	if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
		return say(error, -EIO);
	if (error)
		error->text[0] = '\0';
	result = policy_compile(path, 1, key, keep_first, error, &policy);
	if (result < 0)
		return failed(error, result);
	*ret_size = policy.size;
	result = memory_make_policy(policy.blob, policy.size, ret_fd);
	policy_free(&policy);
	return result < 0 ? say(error, result) : 0;
}

/* The descriptor is not needed once the memory is mapped: children inherit the mapping. */
static int make_state(struct seg *ret_seg, struct ration_error *error)
{
	int fd;
	const int result = memory_make_state(&embedded, clock_boot_ns(), &fd, ret_seg);

	if (result < 0)
		return say(error, result);
	close(fd);
	shm_store(&ret_seg->control->policy_generation, 1);
	return 0;
}

int ration_embed(const char *policy_path, struct ration **ret_ration,
		 struct ration_error *ret_error)
{
	uint64_t policy_size = 0;
	struct seg seg;
	int policy_fd;
	int result = make_policy_fd(policy_path, &policy_fd, &policy_size, ret_error);

	if (result < 0)
		return result;
	result = make_state(&seg, ret_error);
	if (result == 0) {
		result = client_adopt(&seg, policy_fd, policy_size, ret_ration, ret_error);
		if (result < 0)
			memory_unmap_state(&seg);
	}
	close(policy_fd);
	return result;
}
