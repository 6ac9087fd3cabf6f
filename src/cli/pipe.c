/*
 * cli/pipe.c - ration pipe: acquire, hold and settle over JSON lines
 * SPDX-License-Identifier: MIT
 *
 * One line in, one line out, so that a program in any language is a worker. Answers come in the order of the lines,
 * but for an acquire that waits: its answer comes when its time has come, and nothing else waits for it.
 * Everything that is held here ends with the pipe: leases are free again, what else outstanding tickets took stays
 * spent.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/args.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/pipe_hold.h"
#include "cli/pipe_observe.h"
#include "cli/tend.h"
#include "client/memory.h"
#include "http/waker.h"

static const char command[] = "pipe";

struct session {
	struct ration *ration;
	struct adapters *adapters;
	struct table keys; /* struct pipe_key */
	struct tickets tickets;
	struct waits waits;
	struct waker waker; /* runs from the first wait on */
	struct tend tend;
	struct lines input;
	struct buffer output;
	int write_error; /* nobody reads us any more */
};

/* --- answers --- */

/* Takes answer. The id of the line comes first; without one, its number if it could not be read. */
static void answer(struct session *s, const json_t *root, json_t *answer)
{
	json_t *line = cli_need(json_object()), *id = json_object_get(root, "id");
	char *text;

	if (id)
		json_object_set(line, "id", id);
	else if (!root)
		json_object_set_new(line, "line", json_integer((json_int_t)s->input.number));
	json_object_update(line, answer);
	text = cli_need(json_dumps(line, JSON_COMPACT));
	buffer_append(&s->output, text, strlen(text));
	buffer_append(&s->output, "\n", 1);
	free(text);
	json_decref(line);
	json_decref(answer);
}

static void flush_output(struct session *s)
{
	while (buffer_size(&s->output) > 0 && !s->write_error) {
		ssize_t n = write(STDOUT_FILENO, buffer_bytes(&s->output), buffer_size(&s->output));

		if (n >= 0)
			buffer_consume(&s->output, (size_t)n);
		else if (errno != EINTR)
			s->write_error = errno;
	}
}

/* --- acquire --- */

static json_t *granted(struct session *s, const struct ration_ticket *ticket)
{
	json_t *json = cli_need(json_pack("{s:b, s:I}", "ok", 1, "ticket",
					  (json_int_t)tickets_add(&s->tickets, ticket)));

	if (ticket->flags & RATION_TICKET_SHADOW)
		json_object_set_new(json, "shadow", json_true());
	return json;
}

/* A lease that holds nothing is none, unless it is a limit in shadow mode that has nothing to give. */
static json_t *leased(struct session *s, struct ration_ticket *ticket)
{
	json_t *leases = pipe_leases(s->ration, ticket), *json;

	if (json_array_size(leases) == 0 && !(ticket->flags & RATION_TICKET_SHADOW)) {
		json_decref(leases);
		(void)ration_cancel(s->ration, ticket);
		return answer_error("lease", "no concurrency limit counts this key: there is "
					     "nothing to hold");
	}
	json = granted(s, ticket);
	json_object_set_new(json, "leases", leases);
	return json;
}

/* What came of a look. */
struct outcome {
	struct ration_pick pick; /* all zero: of none */
	struct ration_ticket ticket;
	struct ration_denial denial;
};

/* The answer to anything but "wait". */
static json_t *verdict(struct session *s, const struct request *request, int r,
		       struct outcome *outcome)
{
	const char *vendor = request->key[KEY_VENDOR];
	char text[512];
	json_t *json;

	if (r == 0 || r == RATION_DENIED || r == RATION_OVERSIZE || r == RATION_BUSY) {
		json = r != 0           ? answer_denied(r, &outcome->denial, outcome->pick.handle)
		       : request->lease ? leased(s, &outcome->ticket)
					: granted(s, &outcome->ticket);
		answer_pick(json, vendor ? vendor : "", &outcome->pick);
		return json;
	}
	if (r != RATION_EUNIT)
		return answer_error(answer_code(r), ration_strerror(r));
	answer_missing_unit(s->ration, request->key, request->costs, request->n_costs, text,
			    sizeof(text));
	return answer_error(answer_code(r), text);
}

static int take(const struct pipe_key *key, const struct request *request, struct outcome *outcome)
{
	struct asking asking;
	int r = RATION_CONTENDED;

	ask_of(request, &asking);
	outcome->pick = (struct ration_pick){0};
	for (int i = 0; i < 100 && r == RATION_CONTENDED; i++)
		r = ration_route(key->route, &asking.ask, &outcome->pick, &outcome->ticket,
				 &outcome->denial);
	return r;
}

/* The first of a key's waits, which stands in line for all of them. */
static int take_in_line(struct wait *wait, struct outcome *outcome)
{
	struct pipe_key *key = wait->key;
	struct asking asking;
	int r;

	ask_of(&wait->request, &asking);
	outcome->pick = (struct ration_pick){0};
	if (!key->stands)
		key->place = (struct ration_wait){.deadline_ns = wait->deadline_ns, .loop = true};
	r = ration_route_try(key->route, &asking.ask, &key->place, &outcome->pick, &outcome->ticket,
			     &outcome->denial);
	key->stands = r == RATION_WAITING || r == RATION_CONTENDED;
	return r;
}

/* A wait is over when the answer cannot change before its deadline. Others of its key than the first wait for that. */
static bool try_wait(void *user, struct wait *wait, uint64_t now_ns, bool first)
{
	struct session *s = user;
	struct outcome outcome;
	int r;

	if (tickets_full(&s->tickets)) {
		if (first && wait->key->stands)
			ration_wait_end(s->ration, &wait->key->place);
		wait->key->stands &= !first;
		answer(s, wait->root, answer_error("busy", "too many tickets are outstanding"));
		return true;
	}
	r = first ? take_in_line(wait, &outcome) : take(wait->key, &wait->request, &outcome);
	if (r == RATION_WAITING)
		wait->retry_at_ns = wait->key->place.wake_at_ns;
	else if (first && r == RATION_CONTENDED)
		wait->retry_at_ns = now_ns;
	else
		answer(s, wait->root, verdict(s, &wait->request, r, &outcome));
	return r != RATION_WAITING && !(first && r == RATION_CONTENDED);
}

/* NULL: an error was put into *ret_error. */
static struct pipe_key *find_key(struct session *s, const struct request *request,
				 json_t **ret_error)
{
	const struct ration_key key = request_key(request);
	char text[ASK_KEY_TEXT];
	const size_t size = ask_key_text(request, text, sizeof(text));
	struct pipe_key *found = table_get(&s->keys, text, size);
	struct ration_route *route;
	struct ration_error error;
	int r;

	if (found)
		return found;
	r = cli_route(s->ration, &key, &route, &error);
	if (r != 0) {
		*ret_error = answer_error(answer_code(r), error.text);
		return NULL;
	}
	found = cli_need(calloc(1, sizeof(*found)));
	found->route = route;
	*table_at(&s->keys, text, size) = found;
	return found;
}

/* Changes of the word that waits sleep on are to end the wait for input. Without that they look by the clock alone. */
static void watch_word(struct session *s)
{
	const uint32_t *word = s->waker.running ? NULL : ration_wait_word(s->ration);

	if (word)
		(void)waker_start(&s->waker, word);
}

/* NULL: the answer comes later. */
static json_t *begin_wait(struct session *s, struct pipe_key *key, const struct request *request,
			  uint64_t deadline_ns)
{
	if (s->waits.count == PIPE_WAITS_MAX)
		return answer_error("busy", "too many acquires are waiting");
	watch_word(s);
	waits_add(&s->waits, &(struct wait){.root = json_incref(request->root),
					    .key = key,
					    .request = *request,
					    .deadline_ns = deadline_ns});
	waits_serve(&s->waits, clock_boot_ns(), try_wait, s);
	return NULL;
}

static json_t *acquire(struct session *s, const struct request *request, uint64_t deadline_ns)
{
	struct outcome outcome;
	json_t *error = NULL;
	struct pipe_key *key = find_key(s, request, &error);
	int r;

	if (!key)
		return error;
	if (tickets_full(&s->tickets))
		return answer_error("busy", "too many tickets are outstanding");
	if (deadline_ns > 0)
		return begin_wait(s, key, request, deadline_ns);
	r = take(key, request, &outcome);
	return verdict(s, request, r, &outcome);
}

/* 0: no waiting. */
static uint64_t deadline_of(const struct request *request)
{
	return request->wait_ns ? clock_boot_ns() + request->wait_ns : 0;
}

static json_t *op_acquire(struct session *s, struct request *request)
{
	return acquire(s, request, deadline_of(request));
}

static json_t *op_lease(struct session *s, struct request *request)
{
	request->lease = true;
	return acquire(s, request, deadline_of(request));
}

/* For as long as it takes, unless it says how long. */
static json_t *op_wait(struct session *s, struct request *request)
{
	const bool bounded = json_object_get(request->root, "wait_ms") != NULL;

	return acquire(s, request, bounded ? clock_boot_ns() + request->wait_ns : UINT64_MAX);
}

/* --- settle, cancel, release, abandon --- */

static json_t *no_ticket(void)
{
	return answer_error("ticket", "no such ticket, or it has ended");
}

static json_t *ended(int r)
{
	return r == 0 ? cli_need(json_pack("{s:b}", "ok", 1))
		      : answer_error(answer_code(r), ration_strerror(r));
}

static json_t *op_settle(struct session *s, struct request *request)
{
	struct ration_ticket ticket;

	if (!tickets_take(&s->tickets, request->ticket, &ticket))
		return no_ticket();
	return ended(ration_settle(s->ration, &ticket, request->n_costs ? request->costs : NULL,
				   request->n_costs));
}

static json_t *end_ticket(struct session *s, struct request *request,
			  int (*end)(struct ration *ration, struct ration_ticket *ticket))
{
	struct ration_ticket ticket;

	if (!tickets_take(&s->tickets, request->ticket, &ticket))
		return no_ticket();
	return ended(end(s->ration, &ticket));
}

static json_t *op_cancel(struct session *s, struct request *request)
{
	return end_ticket(s, request, ration_cancel);
}

static json_t *op_release(struct session *s, struct request *request)
{
	return end_ticket(s, request, ration_release);
}

static json_t *op_abandon(struct session *s, struct request *request)
{
	return end_ticket(s, request, ration_abandon);
}

/* --- what vendors answer --- */

/* The ticket stays: it is ended by one of the others. */
static json_t *op_observe(struct session *s, struct request *request)
{
	const struct ration_ticket *ticket = NULL;
	json_t *error = NULL;
	struct pipe_key *key = find_key(s, request, &error);
	struct ration_pick pick;
	int r;

	if (!key)
		return error;
	if (request->ticket) {
		ticket = tickets_find(&s->tickets, request->ticket);
		if (!ticket)
			return no_ticket();
	}
	r = ration_route_alternative(key->route, 0, &pick);
	if (r != 0)
		return answer_error(answer_code(r), ration_strerror(r));
	if (strcmp(ration_handle_vendor(pick.handle), request->key[KEY_VENDOR]) != 0)
		return answer_error("vendor", "this is a route: say the vendor and resource that "
					      "the acquire was answered with");
	return pipe_observe(pick.handle, ticket, s->adapters, request);
}

/* --- lines --- */

/* What a line may ask for. */
static const struct op {
	const char *name;
	enum request_form form;
	json_t *(*run)(struct session *s, struct request *request);
} ops[] = {
	{"acquire", FORM_ACQUIRE, op_acquire}, {"wait", FORM_ACQUIRE, op_wait},
	{"lease", FORM_ACQUIRE, op_lease},     {"settle", FORM_SETTLE, op_settle},
	{"cancel", FORM_CANCEL, op_cancel},    {"release", FORM_CANCEL, op_release},
	{"abandon", FORM_CANCEL, op_abandon},  {"observe", FORM_OBSERVE, op_observe},
};

static const struct op *find_op(const json_t *root)
{
	const char *name = json_string_value(json_object_get(root, "op"));

	for (size_t i = 0; name && i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strcmp(name, ops[i].name) == 0)
			return &ops[i];
	return NULL;
}

static json_t *perform(struct session *s, json_t *root, struct request *request)
{
	const struct op *op = find_op(root);
	struct request_error error = {""};

	if (!op)
		return answer_error("op",
				    "op: must be acquire, wait, lease, settle, cancel, release, "
				    "abandon or observe");
	if (!request_read(root, op->form, request, &error))
		return answer_error("invalid", error.text);
	return op->run(s, request);
}

static void take_line(struct session *s, const char *text, size_t size)
{
	struct request_error error = {""};
	struct request request;
	json_t *root, *result;

	if (line_blank(text, size))
		return;
	root = request_decode(text, size, &error);
	result = root ? perform(s, root, &request) : answer_error("unreadable", error.text);
	if (result)
		answer(s, root, result);
	json_decref(root);
}

static void take_lines(struct session *s)
{
	enum line_result r;
	const char *text;
	size_t size;

	while ((r = lines_next(&s->input, &text, &size)) == LINE_TEXT || r == LINE_TOO_LONG) {
		if (r == LINE_TOO_LONG)
			answer(s, NULL, answer_error("unreadable", "longer than 16 MiB"));
		else
			take_line(s, text, size);
		flush_output(s);
	}
}

/* --- the loop --- */

/* Milliseconds until a wait is due, rounded up: woken a moment early, it would only be denied again. */
static int timeout_ms(const struct session *s)
{
	const uint64_t due = waits_due(&s->waits), now = clock_boot_ns();
	uint64_t ms;

	if (due == UINT64_MAX)
		return -1;
	if (due <= now)
		return 0;
	ms = (due - now + 999999) / 1000000;
	return ms > 60000 ? 60000 : (int)ms;
}

/* -1 to go on, or the status to exit with. */
static int turn(struct session *s)
{
	struct pollfd fds[3] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = STDOUT_FILENO},
		{.fd = s->waker.running ? s->waker.fd : -1, .events = POLLIN},
	};
	const bool ready = poll(fds, 3, tend_wait_ms(&s->tend, timeout_ms(s))) > 0;
	ssize_t n = 1;

	if (ready && fds[2].revents)
		waker_clear(&s->waker);
	if (ready && fds[0].revents)
		n = lines_fill(&s->input);
	if (n < 0 && n != -EINTR && n != -EAGAIN)
		return cli_fail(EX_IOERR, command, "cannot read standard input: %s",
				strerror((int)-n));
	take_lines(s);
	tend(&s->tend);
	waits_serve(&s->waits, clock_boot_ns(), try_wait, s);
	flush_output(s);
	if ((fds[1].revents & POLLERR) || s->write_error == EPIPE)
		return EX_OK; /* the other side is gone: so is the pipe */
	if (s->write_error)
		return cli_fail(EX_IOERR, command, "cannot write to standard output: %s",
				strerror(s->write_error));
	return s->input.eof ? EX_OK : -1;
}

/* Every line gets an answer, those that still wait too. */
static void end(struct session *s)
{
	const struct table_entry *e;
	size_t cursor = 0;

	for (size_t i = 0; i < s->waits.count; i++)
		answer(s, s->waits.list[i].root,
		       answer_error("ended", "the pipe ended before the wait did"));
	flush_output(s);
	waker_stop(&s->waker);
	waits_free(&s->waits);
	tickets_free(&s->tickets);
	while ((e = table_next(&s->keys, &cursor))) {
		struct pipe_key *key = e->value;

		if (key->stands)
			ration_wait_end(s->ration, &key->place);
		ration_route_free(&key->route);
		free(key);
	}
	table_free(&s->keys);
	tend_end(&s->tend);
	adapters_close(&s->adapters);
	lines_free(&s->input);
	buffer_free(&s->output);
	ration_detach(&s->ration);
}

int cmd_pipe(int argc, char **argv)
{
	struct cli_target target = {0};
	const char *directory = NULL;
	const struct arg options[] = {
		{"adapters", ARG_TEXT, &directory, 0, "DIR",
		 "adapters that come before those shipped"},
		{"policy", ARG_TEXT, &target.policy, 0, "FILE", "a fresh copy of this policy"},
		{"socket", ARG_TEXT, &target.socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "",
		.summary =
			"Acquire, wait, lease, settle, cancel, release, abandon, and observe what "
			"vendors answer,\nover JSON lines on standard input and output.",
		.options = options,
	};
	struct session session = {.input.fd = STDIN_FILENO};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	status = cli_adapters(command, directory, &session.adapters);
	if (status == EX_OK)
		status = cli_attach(command, &target, 0, &session.ration);
	if (status != EX_OK) {
		adapters_close(&session.adapters);
		return status;
	}
	if (target.policy)
		(void)tend_begin(&session.tend, session.ration, target.policy);
	signal(SIGPIPE, SIG_IGN);
	do
		status = turn(&session);
	while (status < 0);
	end(&session);
	return status;
}
