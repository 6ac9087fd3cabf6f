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

struct job {
	struct worker *worker;
	struct request request;
	struct ration_handle *handle;
	char *id; /* as JSON text; NULL: the slot is free */
	uint64_t engine_id;
	uint64_t sent_ns;
	int journal_error;
	bool giving_back;
};

struct worker {
	const struct worker_setup *setup;
	struct ration *ration;
	struct ration_http *engine;
	struct table handles;
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
	bool refused = result->error == RATION_DENIED || result->error == RATION_OVERSIZE ||
		       result->error == RATION_BUSY;

	buf[0] = '\0';
	if (job->journal_error < 0)
		snprintf(buf, size, "not sent: cannot write the journal: %s",
			 strerror(-job->journal_error));
	else if (refused && result->denial)
		ration_denial_text(result->denial, job->handle, buf, size);
	else if (result->error == RATION_EUNIT)
		answer_missing_unit(job->worker->ration, job->request.key, job->request.costs,
				    job->request.n_costs, buf, size);
	else if (result->error)
		snprintf(buf, size, "%s%s", result->fate_unknown ? "fate unknown: " : "",
			 result->error_text[0] ? result->error_text
					       : ration_strerror(result->error));
}

static void on_done(void *user, const struct ration_http_result *result)
{
	struct job *job = user;
	struct worker *w = job->worker;
	struct frame_answer answer = {
		.slot = (uint32_t)(job - w->jobs),
		.error = result->error,
		.status = (int32_t)result->status,
		.attempts = result->attempts,
		.fate_unknown = result->fate_unknown,
		.wait_ns = result->wait_ns,
		.latency_ns = result->latency_ns,
		.acquire_ns = result->acquire_ns,
		.sent_ns = job->sent_ns,
	};
	char text[512];

	if (job->giving_back && !job->sent_ns) {
		frame_put(&w->out, FRAME_BACK, &answer.slot, sizeof(answer.slot), NULL, 0);
	} else {
		name_limit(result->denial, &answer);
		error_text(job, result, text, sizeof(text));
		frame_put(&w->out, FRAME_ANSWER, &answer, sizeof(answer), text, strlen(text));
	}
	free_job(job);
}

/* One handle for each distinct key, kept until the end. 0, or an error that was answered. */
static int find_handle(struct worker *w, uint32_t slot, const struct request *request,
		       struct ration_handle **ret_handle)
{
	char text[REQUEST_KEY_TEXT];
	struct ration_key key = request_key(request);
	struct ration_error error;
	size_t size;
	int r;

	*ret_handle = NULL;
	if (w->setup->no_quota)
		return 0;
	size = request_key_text(request->key, text, sizeof(text));
	*ret_handle = table_get(&w->handles, text, size);
	if (*ret_handle)
		return 0;
	r = cli_resolve(w->ration, &key, ret_handle, &error);
	if (r != 0)
		refuse(w, slot, r, error.text);
	else
		*table_at(&w->handles, text, size) = *ret_handle;
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

static int submit(struct worker *w, struct job *job, uint64_t read_ns)
{
	const struct request *request = &job->request;
	size_t n_headers;
	char **headers = header_lines(request->headers, &n_headers);
	const struct ration_http_request http = {
		.handle = job->handle,
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
		.user = job,
		.on_send = on_send,
		.on_done = on_done,
	};
	int r = ration_http_submit(w->engine, &http, &job->engine_id);

	for (size_t i = 0; i < n_headers; i++)
		free(headers[i]);
	free(headers);
	return r;
}

static void take_request(struct worker *w, const char *payload, size_t size)
{
	struct frame_request head;
	struct request_error error = {""};
	struct ration_handle *handle;
	struct request request;
	struct job *job;
	json_t *root;
	int r;

	memcpy(&head, payload, sizeof(head));
	root = request_decode(payload + sizeof(head), size - sizeof(head), &error);
	if (!root || !request_read(root, FORM_RUN, &request, &error)) {
		json_decref(root);
		refuse(w, head.slot, -EBADMSG, error.text);
		return;
	}
	if (find_handle(w, head.slot, &request, &handle) != 0) {
		json_decref(root);
		return;
	}
	job = &w->jobs[head.slot];
	*job = (struct job){.worker = w, .request = request, .handle = handle};
	job->id = cli_need(request_id(root, &error));
	w->n_jobs++;
	r = submit(w, job, head.read_ns);
	if (r < 0) {
		refuse(w, head.slot, r,
		       r == -EINVAL ? "not a request that can be sent (url, method or headers)"
				    : ration_strerror(r));
		free_job(job);
	}
}

static void give_back_unsent(struct worker *w)
{
	for (size_t i = 0; i < RUN_WINDOW; i++) {
		struct job *job = &w->jobs[i];

		if (!job->id || job->sent_ns)
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
