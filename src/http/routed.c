/*
 * http/routed.c - requests that may go to one of several vendors
 * SPDX-License-Identifier: MIT
 *
 * Such a request is kept in a form for each. Where it goes is decided when its permit is taken, among those whose hosts
 * have a place for it, and again for each try: so what is blocked meanwhile is left out. A vendor that could not be reached,
 * or was in trouble, has no block for that; it is only asked again if no other would have the request at once.
 */
#include <errno.h>
#include <string.h>

#include "http/engine.h"

/* --- forms --- */

static void merge(const struct ration_http_request *spec, const struct ration_http_alternative *a,
		  struct ration_http_request *ret)
{
	*ret = *spec;
	if (a->url)
		ret->url = a->url;
	if (a->headers) {
		ret->headers = a->headers;
		ret->n_headers = a->n_headers;
	}
	if (a->body) {
		ret->body = a->body;
		ret->body_size = a->body_size;
	}
	if (a->costs) {
		ret->costs = a->costs;
		ret->n_costs = a->n_costs;
	}
}

/* With what the adapter makes of it. */
static int add_form(const struct ration_http *engine, const struct ration_http_request *spec,
		    const char *name, struct forms *forms)
{
	const uint32_t i = forms->n++;

	if (!request_is_good(spec))
		return -EINVAL;
	forms->names[i] = name;
	forms->specs[i] = *spec;
	if (!spec->handle)
		return 0;
	forms->specs[i].n_costs =
		feedback_costs(engine->adapters, spec, forms->costs[i], RATION_LINKS_MAX);
	forms->specs[i].costs = forms->costs[i];
	if (spec->route)
		forms->specs[i].handle = NULL;
	return 0;
}

/* The handle that an alternative has just now; NULL: the policy has it not. */
static struct ration_handle *handle_of(struct ration_route *route, const char *name)
{
	struct ration_pick pick;

	for (size_t i = 0; ration_route_alternative(route, i, &pick) == 0; i++) {
		if (strcmp(pick.name, name) == 0)
			return pick.handle;
	}
	return NULL;
}

/* All that there are, as it is. */
static int add_whole_route(const struct ration_http *engine, const struct ration_http_request *spec,
			   struct forms *forms)
{
	struct ration_http_request whole = *spec;
	struct ration_pick pick;
	int rc = 0;

	while (!rc && forms->n < RATION_ALTERNATIVES_MAX) {
		rc = ration_route_alternative(spec->route, forms->n, &pick);
		if (rc)
			break;
		whole.handle = pick.handle;
		rc = add_form(engine, &whole, pick.name, forms);
	}
	return rc == -ENOENT && forms->n > 0 ? 0 : rc;
}

int forms_of(const struct ration_http *engine, const struct ration_http_request *spec,
	     struct forms *forms)
{
	int rc = 0;

	forms->n = 0;
	if (!spec->route)
		return add_form(engine, spec, NULL, forms);
	if (spec->handle || spec->n_alternatives > RATION_ALTERNATIVES_MAX ||
	    (spec->n_alternatives > 0 && !spec->alternatives))
		return -EINVAL;
	if (spec->n_alternatives == 0)
		return add_whole_route(engine, spec, forms);
	for (size_t i = 0; !rc && i < spec->n_alternatives; i++) {
		const struct ration_http_alternative *a = &spec->alternatives[i];
		struct ration_http_request merged;

		if (!a->name)
			return -EINVAL;
		merge(spec, a, &merged);
		merged.handle = handle_of(spec->route, a->name);
		rc = add_form(engine, &merged, a->name, forms);
	}
	return rc;
}

/* --- permits --- */

/* Those forms alone, as a route is asked for them; ret_forms: which they are. */
static struct ration_ask ask_of(struct request *request, uint32_t which,
				struct ration_alternative only[RATION_ALTERNATIVES_MAX],
				struct form *ret_forms[RATION_ALTERNATIVES_MAX])
{
	struct ration_ask ask = {.only = only};

	for (uint32_t i = 0; i < request->n_forms; i++) {
		struct form *form = &request->forms[i];

		if (!(which >> i & 1))
			continue;
		only[ask.n_only] =
			(struct ration_alternative){form->name, form->costs, form->n_costs};
		ret_forms[ask.n_only++] = form;
	}
	return ask;
}

static void picked(struct request *request, const struct ration_pick *pick, struct form *form)
{
	request->pick = *pick;
	request->spec.handle = pick->handle;
	request_wear(request, form);
}

/* The first pick begins the account of its tries. */
static void begin_tries(struct request *request)
{
	if (!request->spec.retry || request->retry.tries > 0)
		return;
	ration_retry_begin(request->spec.handle, &request->retry);
	request->retry.began_ns = request->submitted_ns;
}

static int take_from(struct transfer *transfer, uint32_t which, struct ration_wait *wait,
		     struct ration_denial *denial)
{
	struct request *request = transfer->request;
	struct ration_alternative only[RATION_ALTERNATIVES_MAX];
	struct form *forms[RATION_ALTERNATIVES_MAX];
	const struct ration_ask ask = ask_of(request, which, only, forms);
	struct ration_pick pick = {0};
	int rc;

	if (wait)
		rc = ration_route_try(request->spec.route, &ask, wait, &pick, &transfer->ticket,
				      denial);
	else
		rc = ration_route(request->spec.route, &ask, &pick, &transfer->ticket, denial);
	if (pick.name)
		picked(request, &pick, forms[pick.index]);
	return rc;
}

int routed_take(struct transfer *transfer, struct ration_wait *wait, struct ration_denial *denial)
{
	struct request *request = transfer->request;
	const uint32_t others = request->open & ~request->failed;
	int rc = RATION_DENIED;

	if (request->failed && others)
		rc = take_from(transfer, others, NULL, denial);
	if (rc)
		rc = take_from(transfer, request->open, wait, denial);
	if (!rc)
		begin_tries(request);
	return rc;
}

/* --- lines --- */

const void *routed_key(const struct request *request)
{
	uintptr_t sum = 0;

	for (uint32_t i = 0; i < request->n_forms; i++) {
		uintptr_t hash = 5381;

		for (const char *p = request->forms[i].name; *p; p++)
			hash = hash * 33 + (unsigned char)*p;
		sum += hash * 0x9e3779b1u;
	}
	/* Odd: no object's. */
	return (const void *)(((uintptr_t)request->spec.route + (sum << 1)) | 1);
}

/* --- trying again --- */

/*
 * What one vendor says is no reason to wait, or to give up, where there are others; that it is left alone until then, its
 * block sees to. What is said of the request itself is for all of them.
 */
const struct ration_signal *routed_signal(const struct request *request,
					  const struct ration_signal *signal,
					  struct ration_signal *copy)
{
	if (!signal || request->n_forms < 2 || !signal->limited ||
	    signal->reach == RATION_REACH_REQUEST)
		return signal;
	*copy = *signal;
	copy->retryable = true;
	copy->retry_in_ns = RATION_UNKNOWN;
	return copy;
}
