/*
 * cli/tend.c - a segment of our own learns, too
 * SPDX-License-Identifier: MIT
 */
#include "cli/tend.h"

#include <errno.h>

#include "client/client.h"
#include "client/memory.h"
#include "supervisor/tune.h"

#define EVERY_NS UINT64_C(1000000000)

/* What is wrong with the file was said when the segment was made from it. */
static void say_nothing(void *user, const struct policy_message *message)
{
	(void)user, (void)message;
}

static uint64_t ticks_now(void *user)
{
	return client_now(user);
}

int tend_begin(struct tend *t, struct ration *ration, const char *policy)
{
	const struct blob_header *header = client_blob(ration)->header;
	const struct published_from from = {.path = policy, .hash_key = header->hash_key};
	const int result =
		published_make(&t->published, &from, header->generation, say_nothing, NULL);

	if (result < 0)
		return result;
	t->ration = ration;
	t->seg = *client_seg(ration);
	t->due_ns = clock_boot_ns() + EVERY_NS;
	return 0;
}

void tend_end(struct tend *t)
{
	if (t->ration)
		published_free(&t->published);
	t->ration = NULL;
}

void tend(struct tend *t)
{
	const uint64_t now = clock_boot_ns();

	if (!t->ration || now < t->due_ns)
		return;
	t->due_ns = now + EVERY_NS;
	(void)tune_learned(&t->seg, &t->published, ticks_now, t->ration);
}

int tend_wait_ms(const struct tend *t, int ms)
{
	const uint64_t now = t->ration ? clock_boot_ns() : 0;
	int left;

	if (!t->ration)
		return ms;
	left = t->due_ns > now ? (int)((t->due_ns - now + 999999) / 1000000) : 0;
	return ms < 0 || left < ms ? left : ms;
}
