/*
 * supervisor/store.h - descriptors that outlive us, in the care of whoever started us
 * SPDX-License-Identifier: MIT
 *
 * What a supervisor has is memory and connections, and both are descriptors. The service manager keeps a second one of
 * each (systemd's descriptor store, or keeper.c, which speaks the same protocol: sd_pid_notify_with_fds(3), FDSTORE=1)
 * and hands them to the next supervisor, by name:
 *
 *	attach		the listening socket, if we made it ourselves
 *	ledger		who the workers are, and all else that a successor must know (ledger.h)
 *	state		the memory that workers share
 *	policy-G	generation G, and
 *	names-G		what was known of its limits' names (published.h)
 *	wS-I		socket and pidfd of the worker in slot S, incarnation I, both in hexadecimal
 *
 * Names are short because all of them together must fit one variable of the environment.
 *
 * A store is there if $FDSTORE says how many descriptors it takes. Without one nothing is kept: a successor begins anew.
 */
#ifndef RATION_SUPERVISOR_STORE_H
#define RATION_SUPERVISOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_NAME_MAX 24u /* with its end */

bool store_is_there(void);

/*
 * Have these kept under a name. They are as good as kept when it returns: the service manager reads what we sent before it
 * learns of our end. Does nothing without a store. A failure is logged.
 */
void store_put(const char *name, const int *fds, unsigned n_fds);

/* Have what stands under a name closed. */
void store_drop(const char *name);

/* The names that carry numbers. */
void store_name_worker(char name[STORE_NAME_MAX], uint32_t slot, uint32_t incarnation);
void store_name_policy(char name[STORE_NAME_MAX], uint64_t generation);
void store_name_names(char name[STORE_NAME_MAX], uint64_t generation);

/* --- what was handed down to us --- */

struct handed_fd {
	int fd; /* -1: taken */
	char *name;
};

struct handed {
	struct handed_fd *item;
	unsigned n;
};

/* All that the environment speaks of (sd_listen_fds_with_names(3)). 0 or -errno. */
int handed_take(struct handed *ret);

/* The first one under a name; it is the caller's from here on. -1: none. */
int handed_by_name(struct handed *handed, const char *name);

bool handed_has(const struct handed *handed, const char *name);

/* Close what nobody took; drop: have it dropped from the store, too. */
void handed_free(struct handed *handed, bool drop);

#endif
