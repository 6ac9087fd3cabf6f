/*
 * supervisor/store.c - descriptors that outlive us, in the care of whoever started us
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "supervisor/log.h"

bool store_is_there(void)
{
	const char *text = getenv("FDSTORE");

	return text && strtoul(text, NULL, 10) > 0;
}

static void notify(const char *text, const int *fds, unsigned n_fds)
{
	const int result = sd_pid_notify_with_fds(0, 0, text, fds, n_fds);

	if (result < 0)
		log_event(LOG_ERR, "failed what=descriptor-store error=\"%s\"", strerror(-result));
}

/* FDPOLL=0: what has hung up is ours to drop, or a dead worker would be forgotten before it is reaped. */
void store_put(const char *name, const int *fds, unsigned n_fds)
{
	char text[64];

	if (!store_is_there())
		return;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	notify(text, fds, n_fds);
}

void store_drop(const char *name)
{
	char text[64];

	if (!store_is_there())
		return;
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	notify(text, NULL, 0);
}

void store_name_worker(char name[STORE_NAME_MAX], uint32_t slot, uint32_t incarnation)
{
	snprintf(name, STORE_NAME_MAX, "w%x-%x", slot, incarnation & 0xffff);
}

void store_name_policy(char name[STORE_NAME_MAX], uint64_t generation)
{
	snprintf(name, STORE_NAME_MAX, "policy-%" PRIx64, generation);
}

void store_name_names(char name[STORE_NAME_MAX], uint64_t generation)
{
	snprintf(name, STORE_NAME_MAX, "names-%" PRIx64, generation);
}

/* --- what was handed down to us --- */

int handed_take(struct handed *ret)
{
	char **names = NULL;
	const int n = sd_listen_fds_with_names(1, &names);

	*ret = (struct handed){.n = 0};
	if (n <= 0)
		return n;
	ret->item = calloc((size_t)n, sizeof(*ret->item));
	for (int i = 0; i < n; i++) {
		if (ret->item)
			ret->item[ret->n++] = (struct handed_fd){SD_LISTEN_FDS_START + i, names[i]};
		else
			free(names[i]);
	}
	free(names);
	return ret->item ? 0 : -ENOMEM;
}

int handed_by_name(struct handed *handed, const char *name)
{
	for (unsigned i = 0; i < handed->n; i++) {
		struct handed_fd *item = &handed->item[i];
		const int fd = item->fd;

		if (fd < 0 || strcmp(item->name, name) != 0)
			continue;
		item->fd = -1;
		return fd;
	}
	return -1;
}

bool handed_has(const struct handed *handed, const char *name)
{
	for (unsigned i = 0; i < handed->n; i++) {
		if (handed->item[i].fd >= 0 && strcmp(handed->item[i].name, name) == 0)
			return true;
	}
	return false;
}

void handed_free(struct handed *handed, bool drop)
{
	for (unsigned i = 0; i < handed->n; i++) {
		if (handed->item[i].fd >= 0) {
			close(handed->item[i].fd);
			if (drop)
				store_drop(handed->item[i].name);
		}
		free(handed->item[i].name);
	}
	free(handed->item);
	*handed = (struct handed){.n = 0};
}
