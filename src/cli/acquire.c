/*
 * cli/acquire.c - ration acquire: take from a key's quota once, for scripts
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "cli/answer.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/key.h"
#include "client/memory.h"

static const char command[] = "acquire";

struct options {
	struct cli_target target;
	const char *account;
	const char *resource;
	struct arg_costs costs;
	uint64_t wait_ns;
	bool json;
	struct cli_key key;
};

static int parse(int argc, char **argv, struct options *o)
{
	const struct arg table[] = {
		{"account", ARG_TEXT, &o->account, 0, "A", "whose credential or project"},
		{"resource", ARG_TEXT, &o->resource, 0, "R", "a model, or a family of endpoints"},
		{"cost", ARG_COSTS, &o->costs, 0, "UNIT=N", "how much of a unit; may be repeated"},
		{"wait", ARG_DURATION, &o->wait_ns, 0, "TIME", "wait for it this long, such as 5s"},
		{"json", ARG_FLAG, &o->json, 0, NULL, "print the answer as JSON"},
		{"policy", ARG_TEXT, &o->target.policy, 0, "FILE",
		 "ask a fresh copy of this policy"},
		{"socket", ARG_TEXT, &o->target.socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "TENANT VENDOR CLASS",
		.summary =
			"Take from the quota of a key. Exit status 0: granted; 75: denied for now; "
			"65: can never fit;\n78: not in the policy; 69: no supervisor.",
		.options = table,
		.min_operands = 3,
		.max_operands = 3,
	};
	char **operands;
	int n, status = args_parse(&args, argc, argv, &operands, &n);

	if (status >= 0)
		return status;
	status = key_parse(command, operands, n, o->account, o->resource, &o->key);
	return status == EX_OK ? -1 : status;
}

/* Waiting ends with the time that was allowed; without any, being slower than others is no answer yet. */
static int take(struct ration_route *route, const struct ration_ask *ask, uint64_t deadline_ns,
		struct ration_pick *pick, struct ration_denial *denial)
{
	struct ration_ticket ticket;
	int r = RATION_CONTENDED;

	if (deadline_ns)
		return ration_route_until(route, ask, deadline_ns, pick, &ticket, denial);
	for (int i = 0; i < 100 && r == RATION_CONTENDED; i++)
		r = ration_route(route, ask, pick, &ticket, denial);
	return r;
}

static int print_json(json_t *answer, int status)
{
	json_dumpf(answer, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(answer);
	return cli_close_stdout(status, command);
}

static int failed(const struct options *o, int code, const char *text)
{
	if (o->json)
		return print_json(answer_error(answer_code(code), text), cli_status_of(code));
	return cli_fail(cli_status_of(code), command, "%s", text);
}

/* Of a route, a script has to know where to send it. */
static int say_granted(const struct options *o, const struct ration_pick *pick)
{
	const char *vendor = o->key.field[KEY_VENDOR];
	json_t *json;

	if (o->json) {
		json = cli_need(json_pack("{s:b}", "ok", 1));
		answer_pick(json, vendor, pick);
		return print_json(json, EX_OK);
	}
	if (strcmp(ration_handle_vendor(pick->handle), vendor) != 0)
		puts(pick->name);
	return cli_close_stdout(EX_OK, command);
}

static int say(const struct options *o, const struct ration *ration, const struct ration_pick *pick,
	       int code, const struct ration_denial *denial)
{
	struct ration_cost costs[ARG_COSTS_MAX];
	char text[1024];

	if (code == 0)
		return say_granted(o, pick);
	if (code == RATION_DENIED || code == RATION_OVERSIZE || code == RATION_BUSY) {
		if (o->json)
			return print_json(answer_denied(code, denial, pick->handle),
					  cli_status_of(code));
		ration_denial_text(denial, pick->handle, text, sizeof(text));
		fprintf(stderr, "%s%s\n", code == RATION_BUSY ? "too many wait already; " : "",
			text);
		return cli_status_of(code);
	}
	if (code == RATION_EUNIT)
		answer_missing_unit(ration, o->key.field, costs, args_costs(&o->costs, costs), text,
				    sizeof(text));
	else
		snprintf(text, sizeof(text), "%s", ration_strerror(code));
	return failed(o, code, text);
}

static int acquire(const struct options *o, struct ration *ration, uint64_t deadline_ns)
{
	const struct ration_key key = key_of(&o->key);
	struct ration_cost costs[ARG_COSTS_MAX];
	const size_t n = args_costs(&o->costs, costs);
	const struct ration_ask ask = {.costs = n ? costs : NULL, .n_costs = n};
	struct ration_pick pick = {0};
	struct ration_route *route;
	struct ration_denial denial;
	struct ration_error error;
	int status, r = cli_route(ration, &key, &route, &error);

	if (r != 0)
		return failed(o, r, error.text);
	r = take(route, &ask, deadline_ns, &pick, &denial);
	status = say(o, ration, &pick, r, &denial);
	ration_route_free(&route);
	return status;
}

int cmd_acquire(int argc, char **argv)
{
	struct options options = {0};
	uint64_t deadline_ns = 0;
	struct ration *ration;
	int status = parse(argc, argv, &options);

	if (status >= 0)
		return status;
	if (options.wait_ns)
		deadline_ns = clock_boot_ns() + options.wait_ns;
	status = cli_attach(command, &options.target, options.wait_ns, &ration);
	if (status != EX_OK)
		return status;
	status = acquire(&options, ration, deadline_ns);
	ration_detach(&ration);
	return status;
}
