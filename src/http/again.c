/*
 * http/again.c - requests that failed and are tried again
 * SPDX-License-Identifier: MIT
 *
 * When, and whether, is libration's to say; what may be repeated, HTTP's (RFC 9110, 9.2.2). Between two tries a request
 * has nothing: it is submitted anew, and asks for quota as any other.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http/engine.h"

static const char *const idempotent_methods[] = {"GET",    "HEAD",    "PUT",
						 "DELETE", "OPTIONS", "TRACE"};

static const long troubles[] = {408, 500, 502, 503, 504};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static bool is_idempotent(const struct request *request)
{
	static const char key[] = "Idempotency-Key:";

	if (request->spec.idempotent)
		return true;
	for (size_t i = 0; i < LENGTH(idempotent_methods); i++) {
		if (strcmp(request->form->method, idempotent_methods[i]) == 0)
			return true;
	}
	for (const struct curl_slist *line = request->form->headers; line; line = line->next) {
		if (strncasecmp(line->data, key, sizeof(key) - 1) == 0)
			return true;
	}
	return false;
}

static bool is_trouble(long status)
{
	for (size_t i = 0; i < LENGTH(troubles); i++) {
		if (status == troubles[i])
			return true;
	}
	return false;
}

/* Decisions of the quota and of the caller are final; a peer may be there later. */
static bool may_pass(int error)
{
	switch (error) {
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

static bool has_failed(const struct ration_http_result *result, const struct feedback *feedback)
{
	if (result->error)
		return may_pass(result->error);
	return (feedback && feedback->told.limited) || is_trouble(result->status);
}

static void submit_again(struct timer *timer, void *user)
{
	struct ration_http *engine = user;
	struct request *request =
		(struct request *)(void *)((char *)timer - offsetof(struct request, again));
	const int rc = queue_submit(engine, request);

	if (rc)
		engine_finish(engine, request, rc, NULL);
}

static void rest(struct ration_http *engine, struct request *request,
		 const struct feedback *feedback)
{
	struct transfer *transfer = request->transfer;

	permit_end(transfer,
		   !transfer->sent ? PERMIT_UNUSED
		   : feedback      ? PERMIT_USED
				   : PERMIT_UNANSWERED,
		   feedback);
	multi_detach(engine, transfer);
	queue_release(engine, request);
	request->announced = false;
}

bool again_try(struct ration_http *engine, struct request *request,
	       const struct ration_http_result *result, const struct feedback *feedback)
{
	struct ration_signal copy;
	const struct ration_signal *signal =
		routed_signal(request, feedback ? &feedback->told : NULL, &copy);
	const bool unsent = result->error && !result->fate_unknown;
	uint64_t wait_ns, at_ns;

	if (!request->transfer || engine->in_curl || !has_failed(result, feedback))
		return false;
	if (ration_retry_again(request->spec.handle, &request->retry, signal,
			       unsent || is_idempotent(request), &wait_ns))
		return false;
	at_ns = time_now() + wait_ns;
	request->again.fire = submit_again;
	if ((request->spec.deadline_ns && at_ns > request->spec.deadline_ns) ||
	    timers_set(&engine->timers, &request->again, at_ns))
		return false;
	request->failed = !feedback || !feedback->told.limited
				  ? UINT32_C(1) << (request->form - request->forms)
				  : 0;
	rest(engine, request, feedback);
	engine->callbacks++;
	if (request->spec.on_retry)
		request->spec.on_retry(request->spec.user, result, wait_ns);
	return true;
}
