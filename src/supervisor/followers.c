/*
 * supervisor/followers.c - those who want to see events
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/wire.h"
#include "supervisor/supervisor.h"

/* Events for one follower before the loop looks at anything else again. */
#define BATCH 64

static void end(struct follower *f)
{
	f->io = sd_event_source_disable_unref(f->io);
	close(f->socket);
}

static uint64_t oldest(const struct events *events)
{
	return events->told > EVENTS_KEPT ? events->told - EVENTS_KEPT : 0;
}

/* 0 or -errno. */
static int send_event(const struct follower *f, uint64_t number, uint64_t missed)
{
	const struct kept_event *kept = &f->supervisor->events.kept[number % EVENTS_KEPT];
	struct wire_event message = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_EVENT},
		.wall_ns = kept->wall_ns,
		.missed = missed,
	};
	const size_t bytes = kept->words * sizeof(message.word[0]);

	memcpy(message.word, kept->image.word, bytes);
	return send(f->socket, &message, offsetof(struct wire_event, word) + bytes,
		    MSG_DONTWAIT | MSG_NOSIGNAL) < 0
		       ? -errno
		       : 0;
}

/* Until it has all, or does not take more just now. False: it has left, or was only to have what there was. */
static bool feed(struct follower *f)
{
	const struct events *events = &f->supervisor->events;
	uint32_t wanted = EPOLLIN;

	for (int i = 0; f->next < events->told; i++) {
		const uint64_t first = oldest(events);
		const uint64_t number = f->next > first ? f->next : first;
		const int result = i < BATCH ? send_event(f, number, number - f->next) : -EAGAIN;

		if (result == -EAGAIN) {
			wanted |= EPOLLOUT;
			break;
		}
		if (result < 0)
			return false;
		f->next = number + 1;
	}
	return sd_event_source_set_io_events(f->io, wanted) >= 0 && (f->stays || wanted & EPOLLOUT);
}

/* Nothing is to come from it: whatever does ends it. */
static int on_follower(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct follower *f = user;

	(void)source, (void)fd;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) || !feed(f))
		end(f);
	return 0;
}

int follower_add(struct supervisor *s, int socket, bool stays)
{
	for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
		struct follower *f = &s->events.followers[i];
		int result;

		if (f->io)
			continue;
		*f = (struct follower){
			.supervisor = s,
			.socket = socket,
			.stays = stays,
			.next = oldest(&s->events),
		};
		result = sd_event_add_io(s->event, &f->io, socket, EPOLLIN | EPOLLOUT, on_follower,
					 f);
		if (result >= 0)
			/* After what workers want. */
			result = sd_event_source_set_priority(f->io, SD_EVENT_PRIORITY_NORMAL + 1);
		if (result < 0)
			f->io = sd_event_source_disable_unref(f->io);
		return result < 0 ? result : 0;
	}
	return -EBUSY;
}

void followers_feed(struct supervisor *s)
{
	for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
		struct follower *f = &s->events.followers[i];

		if (f->io && !feed(f))
			end(f);
	}
}

void followers_stop(struct supervisor *s)
{
	for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
		if (s->events.followers[i].io)
			end(&s->events.followers[i]);
	}
}
