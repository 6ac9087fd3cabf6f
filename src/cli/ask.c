/*
 * cli/ask.c - what a line asks of a route
 * SPDX-License-Identifier: MIT
 */
#include "cli/ask.h"

#include <stdio.h>

void ask_of(const struct request *request, struct asking *asking)
{
	json_t *alternatives = request->alternatives;
	struct request_error error;
	size_t n = 0;

	asking->ask = (struct ration_ask){
		.costs = request->n_costs ? request->costs : NULL,
		.n_costs = request->n_costs,
	};
	if (!alternatives)
		return;
	/* Each was checked when the line was read. */
	for (void *i = json_object_iter(alternatives); i && n < RATION_ALTERNATIVES_MAX;
	     i = json_object_iter_next(alternatives, i)) {
		struct request *each = &asking->each[n];

		if (!request_read(json_object_iter_value(i), FORM_CHOICE, each, &error))
			continue;
		asking->only[n++] = (struct ration_alternative){
			.name = json_object_iter_key(i),
			.costs = each->n_costs ? each->costs : asking->ask.costs,
			.n_costs = each->n_costs ? each->n_costs : asking->ask.n_costs,
		};
	}
	asking->ask.only = asking->only;
	asking->ask.n_only = n;
}

size_t ask_key_text(const struct request *request, char *buf, size_t size)
{
	json_t *alternatives = request->alternatives;
	size_t n = request_key_text(request->key, buf, size);

	for (void *i = json_object_iter(alternatives); i && n + 1 < size;
	     i = json_object_iter_next(alternatives, i))
		n += (size_t)snprintf(buf + n, size - n, "\x1f%s", json_object_iter_key(i));
	return n < size ? n : size - 1;
}
