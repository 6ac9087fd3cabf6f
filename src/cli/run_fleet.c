/*
 * cli/run_fleet.c - the worker processes of `ration run`, as their parent sees them
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/run_fleet.h"
#include "client/memory.h"

static const char command[] = "run";

enum {
	WINDOW_BYTES = 8 << 20, /* a worker that holds more gets no further request */
	MARKS_SIZE = RUN_WINDOW * sizeof(uint32_t),
	LOST_IN_A_ROW_MAX = 16,
};

/* --- starting --- */

/* In the child: keep nothing of the parent's. A copy of another worker's socket would hide the parent's death. */
static void become_worker(struct fleet *fleet, struct fleet_worker *w, int fd)
{
	for (uint32_t i = 0; i < fleet->n; i++)
		if (fleet->workers[i].pid)
			close(fleet->workers[i].fd);
	for (size_t i = 0; i < sizeof(fleet->close_in_child) / sizeof(int); i++)
		if (fleet->close_in_child[i] >= 0)
			close(fleet->close_in_child[i]);
	/* The terminal sends it to the whole group; the parent says what is to be done. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	fleet->setup.fd = fd;
	fleet->setup.sent = w->sent;
	_exit(run_worker(&fleet->setup));
}

static int spawn(struct fleet *fleet, struct fleet_worker *w)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return cli_fail(EX_OSERR, command, "cannot make a socket: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		become_worker(fleet, w, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return cli_fail(EX_OSERR, command, "cannot start a worker: %s", strerror(errno));
	}
	w->pid = pid;
	w->fd = pair[0];
	w->n_out = 0;
	w->bytes = 0;
	for (unsigned i = 0; i < RUN_WINDOW; i++)
		w->free_slots[i] = (uint16_t)i;
	return EX_OK;
}

int fleet_start(struct fleet *fleet, uint32_t n)
{
	fleet->workers = cli_need(calloc(n, sizeof(*fleet->workers)));
	fleet->n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct fleet_worker *w = &fleet->workers[i];
		int status;

		w->sent = mmap(NULL, MARKS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			       -1, 0);
		if (w->sent == MAP_FAILED)
			cli_need(NULL);
		status = spawn(fleet, w);
		if (status != EX_OK)
			return status;
	}
	return EX_OK;
}

/* --- giving --- */

static bool has_room(const struct fleet_worker *w)
{
	return w->pid && w->n_out < RUN_WINDOW && (w->n_out == 0 || w->bytes < WINDOW_BYTES);
}

static struct fleet_worker *idlest(const struct fleet *fleet)
{
	struct fleet_worker *best = NULL;

	for (uint32_t i = 0; i < fleet->n; i++) {
		struct fleet_worker *w = &fleet->workers[i];

		if (has_room(w) && (!best || w->n_out < best->n_out))
			best = w;
	}
	return best;
}

bool fleet_has_room(const struct fleet *fleet)
{
	return idlest(fleet) != NULL;
}

void fleet_give(struct fleet *fleet, struct item *item)
{
	struct fleet_worker *w = idlest(fleet);
	const uint32_t slot = w->free_slots[RUN_WINDOW - 1 - w->n_out];
	const struct frame_request head = {.slot = slot, .read_ns = item->read_ns};

	atomic_store(&w->sent[slot], 0);
	w->slots[slot] = item;
	w->n_out++;
	w->bytes += item->size;
	item->handed++;
	frame_put(&w->out, FRAME_REQUEST, &head, sizeof(head), item->line, item->size);
}

void fleet_tell(struct fleet *fleet, enum frame_type type)
{
	for (uint32_t i = 0; i < fleet->n; i++)
		if (fleet->workers[i].pid)
			frame_put(&fleet->workers[i].out, type, NULL, 0, NULL, 0);
	if (type == FRAME_END)
		fleet->ending = true;
}

/* --- taking back --- */

/* The slot is free again. NULL: the worker names one that it does not hold. */
static struct item *take_slot(struct fleet_worker *w, uint32_t slot)
{
	struct item *item = slot < RUN_WINDOW ? w->slots[slot] : NULL;

	if (!item)
		return NULL;
	w->slots[slot] = NULL;
	w->n_out--;
	w->bytes -= item->size;
	w->free_slots[RUN_WINDOW - 1 - w->n_out] = (uint16_t)slot;
	return item;
}

static void lose_items(struct fleet *fleet, struct fleet_worker *w)
{
	static const char text[] =
		"fate unknown: the worker was killed after this request was sent";
	unsigned sent = 0, back = 0;

	for (uint32_t slot = 0; slot < RUN_WINDOW; slot++) {
		/* A request that was sent when exactly is not known: now is near enough for the report. */
		const struct frame_answer answer = {
			.slot = slot, .attempts = 1, .fate_unknown = 1, .sent_ns = clock_boot_ns()};
		bool marked = atomic_load(&w->sent[slot]);
		struct item *item = take_slot(w, slot);

		if (!item)
			continue;
		if (marked)
			fleet->events.answer(fleet->events.user, item, &answer, text,
					     sizeof(text) - 1);
		else
			fleet->events.back(fleet->events.user, item, true);
		sent += marked;
		back += !marked;
	}
	if (sent + back > 0)
		cli_fail(EX_OSERR, command, "a worker was lost with %u requests sent and %u not",
			 sent, back);
}

static void forget(struct fleet_worker *w)
{
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(w->fd);
	w->pid = 0;
	buffer_consume(&w->in, buffer_size(&w->in));
	buffer_consume(&w->out, buffer_size(&w->out));
}

/* Its socket has ended. It may be dead, or leaving; after this it is surely gone. */
static void lose(struct fleet *fleet, struct fleet_worker *w)
{
	bool had_work = w->n_out > 0;

	kill(w->pid, SIGKILL);
	forget(w);
	lose_items(fleet, w);
	if (fleet->ending && !had_work)
		return;
	fleet->lost++;
	if (fleet->status == EX_OK && ++fleet->lost_in_a_row > LOST_IN_A_ROW_MAX)
		fleet->status = cli_fail(EX_SOFTWARE, command, "workers keep dying");
	if (fleet->status == EX_OK && !fleet->ending)
		fleet->status = spawn(fleet, w);
}

/* --- listening --- */

static void take_answer(struct fleet *fleet, struct fleet_worker *w, const char *payload,
			size_t size)
{
	struct frame_answer answer;
	struct item *item;

	memcpy(&answer, payload, sizeof(answer));
	item = take_slot(w, answer.slot);
	fleet->lost_in_a_row = 0;
	if (item)
		fleet->events.answer(fleet->events.user, item, &answer, payload + sizeof(answer),
				     size - sizeof(answer));
}

static void take_back(struct fleet *fleet, struct fleet_worker *w, const char *payload)
{
	struct item *item;
	uint32_t slot;

	memcpy(&slot, payload, sizeof(slot));
	item = take_slot(w, slot);
	if (item)
		fleet->events.back(fleet->events.user, item, false);
}

static void take_fatal(struct fleet *fleet, const char *payload, size_t size)
{
	int32_t status;

	memcpy(&status, payload, sizeof(status));
	if (fleet->status == EX_OK)
		fleet->status = cli_fail(status, command, "%.*s", (int)(size - sizeof(status)),
					 payload + sizeof(status));
}

static void take_frames(struct fleet *fleet, struct fleet_worker *w)
{
	struct frame frame;
	const char *payload;

	while ((payload = frame_get(&w->in, &frame))) {
		if (frame.type == FRAME_ANSWER)
			take_answer(fleet, w, payload, frame.size);
		else if (frame.type == FRAME_BACK)
			take_back(fleet, w, payload);
		else if (frame.type == FRAME_FATAL)
			take_fatal(fleet, payload, frame.size);
		frame_done(&w->in, &frame);
	}
}

static void receive(struct fleet *fleet, struct fleet_worker *w)
{
	ssize_t n = buffer_receive(&w->in, w->fd, MSG_DONTWAIT);

	take_frames(fleet, w);
	if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
		lose(fleet, w);
}

/* A failure means that the worker is gone: receive() will see it. */
static void flush(struct fleet_worker *w)
{
	ssize_t n = send(w->fd, buffer_bytes(&w->out), buffer_size(&w->out),
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		buffer_consume(&w->out, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		buffer_consume(&w->out, buffer_size(&w->out));
}

void fleet_poll_prepare(const struct fleet *fleet, struct pollfd *fds)
{
	for (uint32_t i = 0; i < fleet->n; i++) {
		struct fleet_worker *w = &fleet->workers[i];

		if (w->pid && buffer_size(&w->out) > 0)
			flush(w);
		fds[i] = (struct pollfd){
			.fd = w->pid ? w->fd : -1,
			.events = (short)(POLLIN | (buffer_size(&w->out) > 0 ? POLLOUT : 0)),
		};
	}
}

void fleet_poll_done(struct fleet *fleet, const struct pollfd *fds)
{
	for (uint32_t i = 0; i < fleet->n; i++)
		if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
			receive(fleet, &fleet->workers[i]);
}

/* --- ending --- */

void fleet_kill(struct fleet *fleet)
{
	fleet->ending = true;
	for (uint32_t i = 0; i < fleet->n; i++)
		if (fleet->workers[i].pid)
			kill(fleet->workers[i].pid, SIGKILL);
	for (uint32_t i = 0; i < fleet->n; i++) {
		struct fleet_worker *w = &fleet->workers[i];

		/* What it had answered before is still in the socket. */
		while (w->pid && buffer_receive(&w->in, w->fd, 0) > 0)
			take_frames(fleet, w);
		if (w->pid)
			lose(fleet, w);
	}
}

/* It has nothing left to do. One that is stopped would never leave. */
static void see_off(struct fleet_worker *w)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};

	flush(w);
	if (poll(&p, 1, 5000) <= 0)
		kill(w->pid, SIGKILL);
	forget(w);
}

void fleet_close(struct fleet *fleet)
{
	for (uint32_t i = 0; i < fleet->n; i++) {
		struct fleet_worker *w = &fleet->workers[i];

		if (w->pid)
			see_off(w);
		buffer_free(&w->in);
		buffer_free(&w->out);
		if (w->sent)
			munmap((void *)(uintptr_t)w->sent, MARKS_SIZE);
	}
	free(fleet->workers);
	fleet->workers = NULL;
	fleet->n = 0;
}
