/*
 * http/engine.c - requests in, results out, and the turn of the loop
 * SPDX-License-Identifier: MIT
 */
#include "http/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "signal/headers.h"

enum {
	EVENTS = 256, /* looked at in one turn; what is left is still there in the next */
};

/* ---- ids: a place in a table, and how often it has been used ---- */

static int slots_grow(struct ration_http *engine)
{
	uint32_t n = engine->n_slots ? engine->n_slots * 2 : 256;
	struct slot *slots;

	if (n <= engine->n_slots)
		return -ENOMEM;
	slots = realloc(engine->slots, n * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = n; i-- > engine->n_slots;) {
		slots[i] = (struct slot){.next_free = engine->free_slot};
		engine->free_slot = i + 1;
	}
	engine->slots = slots;
	engine->n_slots = n;
	return 0;
}

static int slot_take(struct ration_http *engine, struct request *request)
{
	uint32_t i;
	int rc = engine->free_slot ? 0 : slots_grow(engine);

	if (rc)
		return rc;
	i = engine->free_slot - 1;
	engine->free_slot = engine->slots[i].next_free;
	engine->slots[i].request = request;
	engine->slots[i].generation++;
	request->id = (uint64_t)engine->slots[i].generation << 32 | (i + 1);
	engine->n_requests++;
	return 0;
}

static void slot_give(struct ration_http *engine, uint64_t id)
{
	uint32_t i = (uint32_t)id - 1;

	engine->slots[i].request = NULL;
	engine->slots[i].next_free = engine->free_slot;
	engine->free_slot = i + 1;
	engine->n_requests--;
}

static struct request *slot_find(const struct ration_http *engine, uint64_t id)
{
	uint32_t i = (uint32_t)id - 1;

	if (i >= engine->n_slots || engine->slots[i].generation != id >> 32)
		return NULL;
	return engine->slots[i].request;
}

/* ---- the end of a request ---- */

static void describe(const struct transfer *transfer, uint64_t now,
		     struct ration_http_result *result)
{
	const struct request *request = transfer->request;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &result->status);
	result->attempts = request->attempts;
	result->fate_unknown = result->error && transfer->sent;
	if (transfer->permit_ns)
		result->wait_ns = transfer->permit_ns - request->submitted_ns;
	if (transfer->sent_ns)
		result->latency_ns = now - transfer->sent_ns;
	result->acquire_ns = transfer->acquire_ns;
	result->body_bytes = transfer->body_bytes;
}

static void describe_wait(const struct request *request, struct ration_denial *copy,
			  struct ration_http_result *result)
{
	const struct transfer *transfer = request->transfer;
	const struct ration_denial *denial = queue_denial(request);

	if (transfer && transfer->denied)
		denial = &transfer->denial;
	if (!denial)
		return;
	*copy = *denial;
	result->denial = copy;
}

/* What on_done may still ask for. */
struct ration_http_inside {
	struct feedback feedback;
	bool has_headers;
	struct signal_headers headers;
};

static void describe_answer(const struct request *request, struct ration_http_inside *inside,
			    struct ration_http_result *result)
{
	inside->feedback.read = false;
	inside->has_headers = false;
	if (request->transfer && !result->error)
		feedback_read(request->transfer, result->status, &inside->feedback);
	if (!inside->feedback.read)
		return;
	result->signal = &inside->feedback.told;
	result->inside = inside;
}

bool ration_http_headers(const struct ration_http_result *result, uint32_t *n,
			 const char **ret_name, const char **ret_value)
{
	struct ration_http_inside *inside = (struct ration_http_inside *)(uintptr_t)result->inside;

	if (!inside)
		return false;
	if (!inside->has_headers)
		signal_headers(&inside->feedback.signal, &inside->headers);
	inside->has_headers = true;
	return signal_header_next(&inside->headers, n, ret_name, ret_value);
}

/*
 * Libcurl may be on the stack; then it still needs the request, which is freed when it has
 * returned.
 */
static bool let_go(struct ration_http *engine, struct request *request, int error,
		   const struct feedback *feedback)
{
	struct transfer *transfer = request->transfer;
	bool later = transfer && engine->in_curl;

	if (transfer) {
		permit_end(transfer,
			   !transfer->sent ? PERMIT_UNUSED
			   : error         ? PERMIT_UNANSWERED
					   : PERMIT_USED,
			   feedback);
		transfer->dead = later;
		multi_detach(engine, transfer);
	} else if (request->line) {
		queue_remove(engine, request);
	}
	timers_clear(&engine->timers, &request->again);
	slot_give(engine, request->id);
	if (request->host)
		queue_release(engine, request);
	return later;
}

static const char *error_name(int error)
{
	if (error == -ECANCELED)
		return "cancelled";
	return error ? ration_strerror(error) : "";
}

void engine_finish(struct ration_http *engine, struct request *request, int error,
		   const char *error_text)
{
	uint64_t now = time_now();
	struct ration_http_inside inside;
	struct ration_denial denial;
	const struct ration_pick pick = request->pick;
	struct ration_http_result result = {
		.id = request->id,
		.error = error,
		.error_text = error_text ? error_text : error_name(error),
		.wait_ns = now - request->submitted_ns,
	};
	void (*on_done)(void *, const struct ration_http_result *) = request->spec.on_done;
	void *user = request->spec.user;

	if (request->transfer)
		describe(request->transfer, now, &result);
	describe_wait(request, &denial, &result);
	describe_answer(request, &inside, &result);
	if (inside.feedback.read && inside.feedback.told.limited)
		request->refusals++;
	result.refusals = request->refusals;
	result.pick = request->pick.name ? &pick : NULL;
	if (request->spec.retry && request->spec.handle && !engine->closing &&
	    again_try(engine, request, &result, inside.feedback.read ? &inside.feedback : NULL))
		return;
	if (!let_go(engine, request, error, inside.feedback.read ? &inside.feedback : NULL))
		free(request);
	engine->callbacks++;
	on_done(user, &result);
}

/* ---- calls ---- */

static void set_defaults(struct ration_http_options *options)
{
	if (!options->max_in_flight)
		options->max_in_flight = 1024;
	if (!options->max_connections)
		options->max_connections = 256;
	if (!options->max_host_connections)
		options->max_host_connections = 64;
}

/* Whoever writes adapters checks them elsewhere. */
static void say_nothing(void *user, const struct policy_message *message)
{
	(void)user;
	(void)message;
}

static int open_adapters(struct ration_http *engine)
{
	if (!engine->ration)
		return 0;
	return adapters_open(engine->options.adapters, say_nothing, NULL, &engine->adapters);
}

static int open_parts(struct ration_http *engine)
{
	int rc = open_adapters(engine);

	if (rc)
		return rc;
	rc = poller_open(&engine->poller, engine->options.no_uring);
	if (rc)
		return rc;
	sockets_init(&engine->sockets, &engine->poller);
	queue_init(engine);
	rc = multi_init(engine);
	if (rc) {
		multi_free(engine);
		poller_close(&engine->poller);
	}
	return rc;
}

int ration_http_new(struct ration *ration, const struct ration_http_options *options,
		    struct ration_http **ret_engine)
{
	struct ration_http *engine;
	int rc;

	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return -ENOMEM;
	engine = calloc(1, sizeof(*engine));
	rc = engine ? 0 : -ENOMEM;
	if (engine) {
		engine->ration = ration;
		if (options)
			engine->options = *options;
		set_defaults(&engine->options);
		rc = open_parts(engine);
	}
	if (rc) {
		if (engine)
			adapters_close(&engine->adapters);
		free(engine);
		curl_global_cleanup();
		return rc;
	}
	*ret_engine = engine;
	return 0;
}

void ration_http_free(struct ration_http **engine_pointer)
{
	struct ration_http *engine = *engine_pointer;

	if (!engine)
		return;
	engine->closing = true;
	for (uint32_t i = 0; i < engine->n_slots; i++)
		if (engine->slots[i].request)
			engine_finish(engine, engine->slots[i].request, -ECANCELED, NULL);
	waker_stop(&engine->waker);
	multi_free(engine);
	queue_free(engine);
	sockets_free(&engine->sockets);
	timers_free(&engine->timers);
	poller_close(&engine->poller);
	adapters_close(&engine->adapters);
	free(engine->slots);
	free(engine);
	*engine_pointer = NULL;
	curl_global_cleanup();
}

static int enter(struct ration_http *engine, struct request *request)
{
	int rc = slot_take(engine, request);

	if (rc)
		return rc;
	request->submitted_ns = time_now();
	if (request->spec.retry && request->spec.handle && !request->spec.route)
		ration_retry_begin(request->spec.handle, &request->retry);
	rc = queue_submit(engine, request);
	if (rc)
		slot_give(engine, request->id);
	return rc;
}

static int make_request(const struct ration_http *engine, const struct ration_http_request *spec,
			struct request **ret_request)
{
	struct forms forms;
	const int rc = forms_of(engine, spec, &forms);

	if (rc)
		return rc;
	return request_make(forms.specs, spec->route ? forms.names : NULL, forms.n, ret_request);
}

int ration_http_submit(struct ration_http *engine, const struct ration_http_request *spec,
		       uint64_t *ret_id)
{
	struct request *request;
	int rc;

	if (engine->closing)
		return -ECANCELED;
	if (!spec || ((spec->handle || spec->route) && !engine->ration))
		return -EINVAL;
	rc = make_request(engine, spec, &request);
	if (rc)
		return rc;
	rc = enter(engine, request);
	if (rc)
		free(request);
	else if (ret_id)
		*ret_id = request->id;
	return rc;
}

int ration_http_cancel(struct ration_http *engine, uint64_t id)
{
	struct request *request = slot_find(engine, id);

	if (!request)
		return -ENOENT;
	engine_finish(engine, request, -ECANCELED, NULL);
	return 0;
}

/* ---- the turn ---- */

static void do_what_is_due(struct ration_http *engine)
{
	uint64_t now = time_now();

	multi_collect(engine);
	while (timers_fire(&engine->timers, now, engine))
		;
	queue_woken(engine);
	queue_run(engine);
	multi_tick(engine, time_now());
	multi_collect(engine);
}

static uint64_t time_left(const struct ration_http *engine, uint64_t timeout_ns)
{
	uint64_t now = time_now(), next = timers_next(&engine->timers);

	if (engine->curl_at_ns < next)
		next = engine->curl_at_ns;
	if (queue_can_run(engine) || next <= now)
		return 0;
	return next - now < timeout_ns ? next - now : timeout_ns;
}

static void take_events(struct ration_http *engine, const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++)
		if (events[i].data.u64 == POLLER_WAKE)
			poller_woken(&engine->poller);
		else if (events[i].data.u64 == POLLER_WORD)
			waker_clear(&engine->waker);
		else
			sockets_dispatch(&engine->sockets, &events[i]);
}

static int wait_for_more(struct ration_http *engine, uint64_t timeout_ns)
{
	struct epoll_event events[EVENTS];
	int rc = sockets_apply(&engine->sockets);

	if (rc)
		return rc;
	rc = poller_wait(&engine->poller, timeout_ns, events, EVENTS);
	if (rc < 0)
		return rc;
	take_events(engine, events, rc);
	return 0;
}

static int turn(struct ration_http *engine, uint64_t timeout_ns)
{
	uint64_t callbacks = engine->callbacks;
	int rc;

	do_what_is_due(engine);
	if (!engine->n_requests && !engine->n_watched)
		return 0;
	/* The caller may have something to do on what it has just been told. */
	if (engine->callbacks != callbacks)
		timeout_ns = 0;
	rc = wait_for_more(engine, time_left(engine, timeout_ns));
	if (rc)
		return rc;
	do_what_is_due(engine);
	return engine->n_requests > INT32_MAX ? INT32_MAX : (int)engine->n_requests;
}

int ration_http_run(struct ration_http *engine, uint64_t timeout_ns)
{
	int rc;

	if (engine->running || engine->in_curl)
		return -EBUSY;
	engine->running = true;
	rc = turn(engine, timeout_ns);
	engine->running = false;
	return rc;
}

/* ---- the caller's own descriptors, and its other threads ---- */

static int stop_watching(struct ration_http *engine, int fd)
{
	if (!sockets_is_watched(&engine->sockets, fd))
		return -ENOENT;
	engine->n_watched--;
	return sockets_want(&engine->sockets, fd, 0, NULL, NULL);
}

int ration_http_watch(struct ration_http *engine, int fd, uint32_t events,
		      void (*on_ready)(void *user, int fd, uint32_t events), void *user)
{
	bool before;
	int rc;

	if (fd < 0)
		return -EBADF;
	if (!events)
		return stop_watching(engine, fd);
	if (!on_ready || (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)))
		return -EINVAL;
	before = sockets_is_watched(&engine->sockets, fd);
	rc = sockets_want(&engine->sockets, fd, events, on_ready, user);
	if (rc)
		return rc;
	engine->n_watched += !before;
	rc = sockets_apply_one(&engine->sockets, fd);
	if (rc)
		(void)stop_watching(engine, fd);
	return rc;
}

void ration_http_wake(struct ration_http *engine)
{
	poller_wake(&engine->poller);
}

bool ration_http_uses_uring(const struct ration_http *engine)
{
	return engine->poller.has_ring;
}
