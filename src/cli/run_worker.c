/*
 * cli/run_worker.c - one worker process of `ration run`
 * SPDX-License-Identifier: MIT
 *
 * Takes requests from the parent's socket, sends them with one engine, answers each. Right before a request
 * leaves, its id goes to the journal and its mark into memory shared with the parent, in this order: a
 * request whose mark is not set has certainly not left if the worker is killed, and one whose id is not in the
 * journal has not left if the whole run is.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ration/http.h>

#include "cli/answer.h"
#include "cli/request.h"
#include "cli/run_frame.h"
#include "cli/run_journal.h"
#include "cli/run_worker.h"
#include "cli/table.h"
#include "client/memory.h"

struct worker;

enum { FAILED_TEXT = 256 };

struct job {
	struct worker *worker;
	struct request request;
	struct ration_handle *handle;
	struct ration_route *route; /* instead of it */
	char *id;                   /* as JSON text; NULL: the slot is free */
	uint64_t engine_id;
	uint64_t sent_ns;
	int journal_error;
	bool giving_back;
	/* Between two tries: what the last one came to. */
	bool resting;
	struct frame_answer failed;
	char failed_text[FAILED_TEXT];
};

struct worker {
	const struct worker_setup *setup;
	struct ration *ration;
	struct ration_http *engine;
	struct table handles;
	struct table routes;
	struct buffer in;
	struct buffer out;
	unsigned n_jobs;
	bool ended;    /* FRAME_END came */
	bool orphaned; /* the parent is gone */
	struct job jobs[RUN_WINDOW];
};

/* What can be said about a request that never reached the engine. */
static void refuse(struct worker *w, uint32_t slot, int error, const char *text)
{
	const struct frame_answer answer = {.slot = slot, .error = error};

	frame_put(&w->out, FRAME_ANSWER, &answer, sizeof(answer), text, strlen(text));
}

static int on_send(void *user, uint64_t id)
{
	struct job *job = user;
	struct worker *w = job->worker;

	(void)id;
	job->journal_error = journal_sent(w->setup->journal, job->id);
	if (job->journal_error < 0)
		return -1;
	atomic_store(&w->setup->sent[job - w->jobs], 1);
	job->resting = false;
	job->sent_ns = clock_boot_ns();
	return 0;
}

static void free_job(struct job *job)
{
	json_decref(job->request.root);
	free(job->id);
	job->worker->n_jobs--;
	*job = (struct job){0};
}

static void name_limit(const struct ration_denial *denial, struct frame_answer *answer)
{
	if (denial)
		snprintf(answer->limit, sizeof(answer->limit), "%s%s%s", denial->vendor,
			 denial->vendor[0] ? "/" : "", denial->limit);
}

/* Why it did not end with an answer, in words. */
static void error_text(const struct job *job, const struct ration_http_result *result, char *buf,
		       size_t size)
{
	struct ration_handle *handle = result->pick ? result->pick->handle : job->handle;
	bool refused = result->error == RATION_DENIED || result->error == RATION_OVERSIZE ||
		       result->error == RATION_BUSY;

	buf[0] = '\0';
	if (job->journal_error < 0)
		snprintf(buf, size, "not sent: cannot write the journal: %s",
			 strerror(-job->journal_error));
	else if (refused && result->denial)
		ration_denial_text(result->denial, handle, buf, size);
	else if (result->error == RATION_EUNIT)
		answer_missing_unit(job->worker->ration, job->request.key, job->request.costs,
				    job->request.n_costs, buf, size);
	else if (result->error)
		snprintf(buf, size, "%s%s", result->fate_unknown ? "fate unknown: " : "",
			 result->error_text[0] ? result->error_text
					       : ration_strerror(result->error));
}

static struct frame_answer answer_of(const struct job *job, const struct ration_http_result *result)
{
	struct frame_answer answer = {
		.slot = (uint32_t)(job - job->worker->jobs),
		.error = result->error,
		.status = (int32_t)result->status,
		.attempts = result->attempts,
		.fate_unknown = result->fate_unknown,
		.refusals = result->refusals,
		.wait_ns = result->wait_ns,
		.latency_ns = result->latency_ns,
		.acquire_ns = result->acquire_ns,
		.sent_ns = job->sent_ns,
	};

	name_limit(result->denial, &answer);
	if (result->pick)
		snprintf(answer.to, sizeof(answer.to), "%s", result->pick->name);
	return answer;
}

/*
 * From now on it is as if it had not left: if this worker is killed, another may send it. Not so if nobody knows whether the
 * try was acted upon.
 */
static void on_retry(void *user, const struct ration_http_result *result, uint64_t wait_ns)
{
	struct job *job = user;

	(void)wait_ns;
	job->resting = true;
	job->failed = answer_of(job, result);
	error_text(job, result, job->failed_text, sizeof(job->failed_text));
	if (!result->fate_unknown)
		atomic_store(&job->worker->setup->sent[job->failed.slot], 0);
}

static void on_done(void *user, const struct ration_http_result *result)
{
	struct job *job = user;
	struct worker *w = job->worker;
	struct frame_answer answer = answer_of(job, result);
	char text[512];

	if (job->giving_back && !job->sent_ns) {
		frame_put(&w->out, FRAME_BACK, &answer.slot, sizeof(answer.slot), NULL, 0);
	} else if (job->giving_back && job->resting) {
		frame_put(&w->out, FRAME_ANSWER, &job->failed, sizeof(job->failed),
			  job->failed_text, strlen(job->failed_text));
	} else {
		error_text(job, result, text, sizeof(text));
		frame_put(&w->out, FRAME_ANSWER, &answer, sizeof(answer), text, strlen(text));
	}
	free_job(job);
}

/* One handle or route for each distinct key, kept until the end. 0, or an error that was answered. */
static int find_target(struct worker *w, uint32_t slot, struct job *job)
{
	const struct request *request = &job->request;
	const struct ration_key key = request_key(request);
	struct ration_error error = {""};
	char text[REQUEST_KEY_TEXT];
	size_t size;
	int r = RATION_EVENDOR;

	if (w->setup->no_quota)
		return 0;
	size = request_key_text(request->key, text, sizeof(text));
	job->handle = request->alternatives ? NULL : table_get(&w->handles, text, size);
	job->route = job->handle ? NULL : table_get(&w->routes, text, size);
	if (job->handle || job->route)
		return 0;
	if (!request->alternatives)
		r = cli_resolve(w->ration, &key, &job->handle, &error);
	if (r == 0)
		*table_at(&w->handles, text, size) = job->handle;
	else if (r == RATION_EVENDOR)
		r = cli_route(w->ration, &key, &job->route, &error);
	if (r != 0)
		refuse(w, slot, r, error.text);
	else if (job->route)
		*table_at(&w->routes, text, size) = job->route;
	return r;
}

/* "Name: value" lines, malloc'd with the array. */
static char **header_lines(json_t *headers, size_t *ret_n)
{
	char **lines = cli_alloc(NULL, json_object_size(headers) + 1, sizeof(char *));
	size_t n = 0;

	for (void *i = json_object_iter(headers); i; i = json_object_iter_next(headers, i)) {
		if (asprintf(&lines[n], "%s: %s", json_object_iter_key(i),
			     json_string_value(json_object_iter_value(i))) < 0)
			cli_need(NULL);
		n++;
	}
	*ret_n = n;
	return lines;
}

static void free_lines(char **lines, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(lines[i]);
	free(lines);
}

/* What an alternative of a line says, and its headers as lines. */
struct other {
	struct request request;
	char **headers;
	size_t n_headers;
};

/* Checked when the line was read. */
static size_t read_others(const struct request *request, struct other *others,
			  struct ration_http_alternative *ret_alternatives)
{
	struct request_error error;
	size_t n = 0;

	for (void *i = json_object_iter(request->alternatives); i;
	     i = json_object_iter_next(request->alternatives, i)) {
		struct other *o = &others[n];

		if (!request_read(json_object_iter_value(i), FORM_ALTERNATIVE, &o->request, &error))
			continue;
		if (o->request.headers)
			o->headers = header_lines(o->request.headers, &o->n_headers);
		ret_alternatives[n++] = (struct ration_http_alternative){
			.name = json_object_iter_key(i),
			.url = o->request.url,
			.headers = (const char *const *)o->headers,
			.n_headers = o->n_headers,
			.body = o->request.body,
			.body_size = o->request.body_size,
			.costs = o->request.n_costs ? o->request.costs : NULL,
			.n_costs = o->request.n_costs,
		};
	}
	return n;
}

/* Without quota there is nothing to choose by. */
static void take_first(const struct ration_http_alternative *a, struct ration_http_request *http)
{
	http->url = a->url ? a->url : http->url;
	if (a->headers) {
		http->headers = a->headers;
		http->n_headers = a->n_headers;
	}
	if (a->body) {
		http->body = a->body;
		http->body_size = a->body_size;
	}
}

/* What one alternative of a route refuses another may accept. */
static bool is_retried(const struct job *job)
{
	const enum request_choice said = job->request.retry;

	return said == REQUEST_UNSAID ? job->worker->setup->retry || job->route
				      : said == REQUEST_YES;
}

static int submit(struct worker *w, struct job *job, uint64_t read_ns)
{
	const struct request *request = &job->request;
	struct other others[RATION_ALTERNATIVES_MAX] = {0};
	struct ration_http_alternative alternatives[RATION_ALTERNATIVES_MAX];
	const size_t n_others = read_others(request, others, alternatives);
	size_t n_headers;
	char **headers = header_lines(request->headers, &n_headers);
	struct ration_http_request http = {
		.handle = job->handle,
		.route = job->route,
		.alternatives = alternatives,
		.n_alternatives = n_others,
		.costs = request->n_costs ? request->costs : NULL,
		.n_costs = request->n_costs,
		.method = request->method,
		.url = request->url,
		.headers = (const char *const *)headers,
		.n_headers = n_headers,
		.body = request->body,
		.body_size = request->body_size,
		.timeout_ns = request->timeout_ns,
		.deadline_ns = request->deadline_ns ? read_ns + request->deadline_ns : 0,
		.retry = is_retried(job),
		.idempotent = request->idempotent == REQUEST_YES,
		.user = job,
		.on_send = on_send,
		.on_retry = on_retry,
		.on_done = on_done,
	};
	int r;

	if (!job->route && n_others > 0)
		take_first(&alternatives[0], &http);
	r = ration_http_submit(w->engine, &http, &job->engine_id);
	free_lines(headers, n_headers);
	for (size_t i = 0; i < n_others; i++)
		free_lines(others[i].headers, others[i].n_headers);
	return r;
}

static void begin_job(struct worker *w, struct job *job, const struct frame_request *head)
{
	struct request_error error = {""};
	int r;

	job->id = cli_need(request_id(job->request.root, &error));
	w->n_jobs++;
	if (find_target(w, head->slot, job) != 0) {
		free_job(job);
		return;
	}
	r = submit(w, job, head->read_ns);
	if (r == 0)
		return;
	refuse(w, head->slot, r,
	       r == -EINVAL ? "not a request that can be sent (url, method or headers)"
			    : ration_strerror(r));
	free_job(job);
}

static void take_request(struct worker *w, const char *payload, size_t size)
{
	struct frame_request head;
	struct request_error error = {""};
	struct request request;
	json_t *root;

	memcpy(&head, payload, sizeof(head));
	root = request_decode(payload + sizeof(head), size - sizeof(head), &error);
	if (!root || !request_read(root, FORM_RUN, &request, &error)) {
		json_decref(root);
		refuse(w, head.slot, -EBADMSG, error.text);
		return;
	}
	w->jobs[head.slot] = (struct job){.worker = w, .request = request};
	begin_job(w, &w->jobs[head.slot], &head);
}

static void give_back_unsent(struct worker *w)
{
	for (size_t i = 0; i < RUN_WINDOW; i++) {
		struct job *job = &w->jobs[i];

		if (!job->id || (job->sent_ns && !job->resting))
			continue;
		job->giving_back = true;
		ration_http_cancel(w->engine, job->engine_id);
	}
}

static void take_frames(struct worker *w)
{
	struct frame frame;
	const char *payload;

	while ((payload = frame_get(&w->in, &frame))) {
		if (frame.type == FRAME_REQUEST)
			take_request(w, payload, frame.size);
		else if (frame.type == FRAME_STOP)
			give_back_unsent(w);
		else if (frame.type == FRAME_END)
			w->ended = true;
		frame_done(&w->in, &frame);
	}
}

static void on_readable(void *user, int fd, uint32_t events)
{
	struct worker *w = user;
	ssize_t n = buffer_receive(&w->in, fd, MSG_DONTWAIT);

	(void)events;
	if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR)) {
		w->orphaned = true;
		ration_http_wake(w->engine);
		return;
	}
	take_frames(w);
}

/* The parent always reads, unless it waits for whoever reads its output: then so do we. */
static void flush_answers(struct worker *w)
{
	while (buffer_size(&w->out) > 0) {
		ssize_t n = send(w->setup->fd, buffer_bytes(&w->out), buffer_size(&w->out),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			w->orphaned = true;
			return;
		}
		buffer_consume(&w->out, (size_t)n);
	}
}

static int fatal(struct worker *w, int code, const char *text)
{
	const int32_t status = cli_status_of(code);

	frame_put(&w->out, FRAME_FATAL, &status, sizeof(status), text, strlen(text));
	flush_answers(w);
	return status;
}

static int start(struct worker *w)
{
	const struct worker_setup *setup = w->setup;
	const struct ration_http_options options = {
		.max_in_flight = RUN_WINDOW,
		.adapters = setup->adapters,
	};
	struct ration_error error = {0};
	int r = 0;

	if (setup->inherited)
		w->ration = setup->inherited;
	else if (!setup->no_quota && setup->target.policy)
		r = ration_embed(setup->target.policy, &w->ration, &error);
	else if (!setup->no_quota)
		r = ration_attach(setup->target.socket, 0, &w->ration, &error);
	if (r == 0)
		r = ration_http_new(w->ration, &options, &w->engine);
	if (r == 0)
		r = ration_http_watch(w->engine, setup->fd, EPOLLIN, on_readable, w);
	if (r < 0)
		return fatal(w, r, error.text[0] ? error.text : ration_strerror(r));
	return EX_OK;
}

/* With nothing to send there is nothing for the engine to wait for: the socket alone. */
static int turn(struct worker *w)
{
	struct pollfd p = {.fd = w->setup->fd, .events = POLLIN};

	if (w->n_jobs == 0) {
		if (poll(&p, 1, -1) > 0)
			on_readable(w, w->setup->fd, EPOLLIN);
		return 0;
	}
	return ration_http_run(w->engine, UINT64_C(1000000000));
}

static void finish(struct worker *w)
{
	size_t cursor = 0;
	const struct table_entry *e;

	ration_http_free(&w->engine);
	while ((e = table_next(&w->handles, &cursor))) {
		struct ration_handle *handle = e->value;

		ration_handle_free(&handle);
	}
	table_free(&w->handles);
	cursor = 0;
	while ((e = table_next(&w->routes, &cursor))) {
		struct ration_route *route = e->value;

		ration_route_free(&route);
	}
	table_free(&w->routes);
	ration_detach(&w->ration);
	buffer_free(&w->in);
	buffer_free(&w->out);
}

int run_worker(const struct worker_setup *setup)
{
	struct worker *w = cli_need(calloc(1, sizeof(*w)));
	int status;

	w->setup = setup;
	status = start(w);
	while (status == EX_OK && !w->orphaned && !(w->ended && w->n_jobs == 0)) {
		int r = turn(w);

		if (r < 0 && r != -EINTR)
			status = fatal(w, r, ration_strerror(r));
		flush_answers(w);
	}
	finish(w);
	free(w);
	return status;
}
