/*
 * client/retry.c - whether and when to try again
 * SPDX-License-Identifier: MIT
 *
 * How long to wait is "full jitter" (Marc Brooker, "Exponential Backoff And Jitter", 2015): any time up to a bound that
 * doubles with each try, so that those who failed together do not come back together. What the vendor says comes first.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "client/attachment.h"
#include "client/chance.h"
#include "client/events.h"
#include "client/memory.h"
#include "shm/budget.h"

/* Doubled no more often than that. */
#define DOUBLINGS 30

/* Below `end`; another one each time, in each process. */
static uint64_t random_below(struct ration *ration, uint64_t end)
{
	uint64_t seed = 0;

	if (end == 0)
		return 0;
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = mixed(atomic_fetch_add(&ration->waits, 1) + clock_boot_ns() +
			     atomic_load(&ration->identity));
	return chance_below(seed, end);
}

/* What the policy says of the class. */
static void rules_of(struct ration_handle *handle, struct blob_retry *ret)
{
	const struct blob *blob = policy_enter(handle->ration);
	const uint32_t class_index = blob_find_class(blob, handle->field[KEY_CLASS]);

	*ret = (struct blob_retry){.attempts = 1};
	if (class_index != BLOB_NO_INDEX)
		*ret = blob->classes[class_index].retry;
	policy_leave(handle->ration);
}

static uint64_t key_of(const struct ration_handle *handle)
{
	return budget_key(handle->field[KEY_VENDOR], handle->field[KEY_CLASS]);
}

void ration_retry_begin(struct ration_handle *handle, struct ration_retry *retry)
{
	struct blob_retry rules;

	*retry = (struct ration_retry){.began_ns = clock_boot_ns(), .tries = 1};
	if (attachment_ready(handle->ration) != 0)
		return;
	rules_of(handle, &rules);
	if (rules.attempts > 1)
		budget_earn(&handle->ration->seg, key_of(handle), rules.budget_ppm);
}

static uint64_t backoff(struct ration *ration, const struct blob_retry *rules, uint32_t tries)
{
	const uint32_t doublings = tries - 1 < DOUBLINGS ? tries - 1 : DOUBLINGS;
	const uint64_t bound = rules->base_ns > rules->cap_ns >> doublings
				       ? rules->cap_ns
				       : rules->base_ns << doublings;

	return random_below(ration, bound);
}

/* Not before the vendor says; and then not all at once. */
static uint64_t wait_of(struct ration *ration, const struct blob_retry *rules,
			const struct ration_retry *retry, const struct ration_signal *signal)
{
	if (!signal || signal->retry_in_ns == RATION_UNKNOWN)
		return backoff(ration, rules, retry->tries);
	if (signal->retry_in_ns > RATION_UNKNOWN / 2)
		return RATION_UNKNOWN / 2;
	return signal->retry_in_ns + random_below(ration, rules->base_ns);
}

/* What was never refused, nor tried before, is no news. */
static int give_up(const struct ration_handle *handle, struct ration_retry *retry,
		   const struct ration_signal *signal, const char *why)
{
	retry->why = why;
	if ((signal && signal->limited) || retry->tries > 1)
		event_tell_attempt(handle, EVENT_FINISHED, signal, retry->tries, EVENT_NONE, why);
	return RATION_GIVE_UP;
}

/* An overloaded vendor may have begun. */
static bool refused_unseen(const struct ration_signal *signal)
{
	return signal && signal->limited && signal->limit_class != RATION_LIMIT_OVERLOAD;
}

int ration_retry_again(struct ration_handle *handle, struct ration_retry *retry,
		       const struct ration_signal *signal, bool repeatable, uint64_t *ret_wait_ns)
{
	struct ration *ration = handle->ration;
	const int ready = attachment_ready(ration);
	const uint64_t spent = clock_boot_ns() - retry->began_ns;
	struct blob_retry rules;
	uint64_t wait;

	if (ready != 0)
		return ready;
	rules_of(handle, &rules);
	if (signal && signal->limited && !signal->retryable)
		return give_up(handle, retry, signal, "the vendor will not accept it later either");
	if (!repeatable && !refused_unseen(signal))
		return give_up(handle, retry, signal,
			       "it may have been acted upon, and must not be repeated");
	if (retry->tries >= rules.attempts)
		return give_up(handle, retry, signal, "no tries are left");
	wait = wait_of(ration, &rules, retry, signal);
	if (spent > rules.total_ns || wait > rules.total_ns - spent)
		return give_up(handle, retry, signal, "the time for all tries would be over");
	if (!budget_spend(&ration->seg, key_of(handle)))
		return give_up(handle, retry, signal,
			       "no retries are left in the budget of the class");
	retry->tries++;
	event_tell_attempt(handle, EVENT_RETRIED, signal, retry->tries, wait, "");
	*ret_wait_ns = wait;
	return 0;
}
