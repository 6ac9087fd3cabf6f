/*
 * cli/run_loop.c - `ration run`: from input lines to results
 * SPDX-License-Identifier: MIT
 *
 * Lines are read ahead into the queue, as far as memory is meant to go; from there to workers as they have room.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/request.h"
#include "cli/run_loop.h"
#include "client/memory.h"

static const char command[] = "run";

enum {
	AHEAD_LINES = 65536,
	AHEAD_BYTES = 64 << 20,
	HANDED_MAX = 3, /* workers that one request may be given to, one dying after the other */
	PROGRESS_MS = 200,
};

/* --- signals --- */

static int signal_pipe[2] = {-1, -1};

static void on_signal(int number)
{
	const int saved = errno;
	const unsigned char byte = (unsigned char)number;
	/* A full pipe has told enough already. */
	ssize_t n = write(signal_pipe[1], &byte, 1);

	(void)n;
	errno = saved;
}

int run_signals(void)
{
	struct sigaction action = {.sa_handler =
					   on_signal}; /* no SA_RESTART: a blocked write ends */

	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return cli_fail(EX_OSERR, command, "cannot make a pipe: %s", strerror(errno));
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	return EX_OK;
}

void run_signal_fds(int fds[2])
{
	memcpy(fds, signal_pipe, sizeof(signal_pipe));
}

/* --- results --- */

/* JSON text of a string, malloc'd; "null" for none. Texts come from libraries: what is no UTF-8 is not shown. */
static char *json_text(const char *text, size_t size)
{
	json_t *string = size ? json_stringn(text, size) : json_null();
	char *json;

	if (!string)
		string = cli_need(json_string("an error whose text is not UTF-8"));
	json = cli_need(json_dumps(string, JSON_ENCODE_ANY));
	json_decref(string);
	return json;
}

static void write_line(struct run *run, char *line)
{
	output_add(&run->output, cli_need(line));
	free(line);
}

static void write_result(struct run *run, const char *id, const struct frame_answer *answer,
			 const char *text, size_t size)
{
	char *error = json_text(text, size);
	char *limit = json_text(answer->limit, strlen(answer->limit));
	char *to = json_text(answer->to, strlen(answer->to));
	char status[16] = "null", latency[32] = "null", refusals[16] = "", *line;

	if (answer->status > 0) {
		snprintf(status, sizeof(status), "%d", answer->status);
		snprintf(latency, sizeof(latency), "%.3f", (double)answer->latency_ns / 1e6);
	}
	if (answer->refusals)
		snprintf(refusals, sizeof(refusals), "%u", answer->refusals);
	if (asprintf(&line,
		     "{\"id\":%s,\"status\":%s,\"attempts\":%u,\"wait_ms\":%.3f,\"latency_ms\":%s,"
		     "%s%s%s\"limit\":%s,%s%s%s\"error\":%s}",
		     id, status, answer->attempts, (double)answer->wait_ns / 1e6, latency,
		     answer->refusals ? "\"refusals\":" : "", refusals, answer->refusals ? "," : "",
		     limit, answer->to[0] ? "\"to\":" : "", answer->to[0] ? to : "",
		     answer->to[0] ? "," : "", error) < 0)
		line = NULL;
	write_line(run, line);
	free(error);
	free(limit);
	free(to);
}

/* A line that never became a request. */
static void write_bad_line(struct run *run, const char *id, const char *text)
{
	char *error = json_text(text, strlen(text)), *line;

	if (asprintf(&line, "{\"id\":%s,\"line\":%llu,\"error\":%s}", id ? id : "null",
		     (unsigned long long)run->input.number, error) < 0)
		line = NULL;
	write_line(run, line);
	free(error);
}

static void on_answer(void *user, struct item *item, const struct frame_answer *answer,
		      const char *text, size_t size)
{
	struct run *run = user;

	write_result(run, item->id, answer, text, size);
	report_add(&run->report, &item->key->report, item->cost, answer);
	backlog_done(&run->backlog, item);
}

static bool stopping(const struct run *run)
{
	return run->signal || run->aborted || run->fleet.status != EX_OK || run->output.failed;
}

static void on_back(void *user, struct item *item, bool lost)
{
	static const char text[] = "not sent: each worker that held this request died";
	const struct frame_answer answer = {.error = -ECHILD};
	struct run *run = user;

	if (stopping(run)) {
		run->report.not_sent++;
		backlog_done(&run->backlog, item);
	} else if (lost && item->handed >= HANDED_MAX) {
		on_answer(run, item, &answer, text, sizeof(text) - 1);
	} else {
		backlog_again(&run->backlog, item);
	}
}

/* --- input --- */

static void unreadable(struct run *run, const char *text)
{
	char key[32];
	size_t size = output_line_key(run->input.number, key, sizeof(key));

	if (idset_has(&run->done, key, size)) {
		run->report.skipped++;
		return;
	}
	write_bad_line(run, NULL, text);
	report_bad_line(&run->report, &run->report.unreadable);
}

/* Whether a request of this id is to be sent. If not, what had to be said was said. */
static bool is_new(struct run *run, const char *id)
{
	if (idset_has(&run->done, id, strlen(id))) {
		run->report.skipped++;
		return false;
	}
	if (idset_add(&run->seen, id, strlen(id)))
		return true;
	write_bad_line(run, id, "duplicate id: another line before has it; not sent");
	report_bad_line(&run->report, &run->report.duplicates);
	return false;
}

/*
 * What the parent needs to know of a request: whose it is and what it costs. Everything is checked by the worker that
 * gets it, so a field of a wrong type counts as absent here.
 */
static void enqueue(struct run *run, json_t *root, char *id, const char *text, size_t size)
{
	static const char *const names[KEY_FIELDS] = {"tenant", "vendor", "class", "account",
						      "resource"};
	const char *key[KEY_FIELDS];
	json_t *cost = json_object_get(root, "cost");

	for (int i = 0; i < KEY_FIELDS; i++) {
		key[i] = json_string_value(json_object_get(root, names[i]));
		if (key[i] && strlen(key[i]) > RATION_KEY_MAX)
			key[i] = NULL;
	}
	backlog_add(&run->backlog, backlog_key(&run->backlog, &run->report, key), id,
		    json_is_object(cost) ? json_incref(cost) : NULL, text, size, clock_boot_ns());
}

static void take_line(struct run *run, const char *text, size_t size)
{
	struct request_error error = {""};
	json_t *root;
	char *id;

	if (line_blank(text, size))
		return;
	root = request_decode(text, size, &error);
	id = root ? request_id(root, &error) : NULL;
	if (!id)
		unreadable(run, error.text);
	else if (is_new(run, id))
		enqueue(run, root, id, text, size);
	else
		free(id);
	json_decref(root);
}

static bool wants_input(const struct run *run)
{
	return !stopping(run) && !run->input_failed && !run->input.eof &&
	       run->backlog.n_queued < AHEAD_LINES && run->backlog.bytes < AHEAD_BYTES;
}

/* All whole lines that are there; one read holds a bounded number of them. */
static void take_lines(struct run *run)
{
	enum line_result r;
	const char *text;
	size_t size;

	while ((r = lines_next(&run->input, &text, &size)) == LINE_TEXT || r == LINE_TOO_LONG) {
		if (r == LINE_TOO_LONG)
			unreadable(run, "longer than 16 MiB");
		else
			take_line(run, text, size);
	}
}

static void read_input(struct run *run)
{
	ssize_t n = lines_fill(&run->input);

	if (n < 0 && n != -EINTR && n != -EAGAIN) {
		cli_fail(EX_IOERR, command, "cannot read the input: %s", strerror((int)-n));
		run->input_failed = true;
		return;
	}
	if (n >= 0)
		take_lines(run);
}

/* --- the loop --- */

static void read_signals(struct run *run)
{
	unsigned char byte;

	while (read(signal_pipe[0], &byte, 1) == 1) {
		if (run->signal)
			run->aborted = true;
		else
			run->signal = byte;
	}
}

static void hand_out(struct run *run)
{
	while (run->backlog.n_queued > 0 && fleet_has_room(&run->fleet))
		fleet_give(&run->fleet, backlog_next(&run->backlog));
}

/* Waits for anything, does it, writes the results. */
static void turn(struct run *run)
{
	struct pollfd fds[RUN_WORKERS_MAX + 2];
	const bool wants = wants_input(run);
	int n;

	fds[0] = (struct pollfd){.fd = signal_pipe[0], .events = POLLIN};
	fds[1] = (struct pollfd){.fd = wants ? run->input.fd : -1, .events = POLLIN};
	fleet_poll_prepare(&run->fleet, fds + 2);
	n = poll(fds, run->fleet.n + 2, tend_wait_ms(&run->tend, run->progress ? PROGRESS_MS : -1));
	if (n > 0) {
		read_signals(run);
		fleet_poll_done(&run->fleet, fds + 2);
		if (fds[1].revents)
			read_input(run);
	}
	output_flush(&run->output);
	run_progress(run, false);
	tend(&run->tend);
}

static bool finished(const struct run *run)
{
	return run->backlog.n_queued == 0 && run->backlog.n_out == 0 &&
	       (run->input.eof || run->input_failed || stopping(run));
}

/* Whoever is told to stop gives back what it has not sent; what was not handed out yet stays undone. */
static void begin_stop(struct run *run)
{
	if (run->signal) {
		run_progress_clear(run);
		cli_fail(EX_OK, command,
			 "stopping; %zu requests are with workers (once more to abort)",
			 run->backlog.n_out);
	}
	run->report.not_sent += backlog_clear(&run->backlog);
	fleet_tell(&run->fleet, FRAME_STOP);
}

static int exit_status(const struct run *run)
{
	const struct tally *t = &run->report.total;

	if (run->fleet.status != EX_OK)
		return run->fleet.status;
	if (run->output.failed || run->input_failed)
		return EX_IOERR;
	if (run->signal)
		return 128 + run->signal;
	return t->ok == t->requests ? EX_OK : 1;
}

int run_loop(struct run *run)
{
	bool told = false;

	run->fleet.events = (struct fleet_events){on_answer, on_back, run};
	run->report.start_ns = clock_boot_ns();
	while (!finished(run)) {
		if (stopping(run) && !told) {
			begin_stop(run);
			told = true;
		}
		if (run->aborted || run->fleet.status != EX_OK) {
			fleet_kill(&run->fleet);
			break;
		}
		hand_out(run);
		turn(run);
	}
	run->report.not_sent += backlog_clear(&run->backlog);
	run->report.end_ns = clock_boot_ns();
	run->report.workers_lost = run->fleet.lost;
	fleet_tell(&run->fleet, FRAME_END);
	fleet_close(&run->fleet);
	output_flush(&run->output);
	return exit_status(run);
}
