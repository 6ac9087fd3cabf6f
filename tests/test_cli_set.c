/*
 * tests/test_cli_set.c - ration set: an operator's number over the policy's
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/converse.h"
#include "support_cli.h"
#include "support_rationd.h"

static const char policy[] =
	"version: 1\nclasses: [interactive]\n"
	"defaults: { delay: 0ms, clock_skew: 0ms, margin: 0% }\n"
	"limits: [ { name: all, rate: 1/h, burst: 500, scope: [] } ]\n"
	"vendors:\n  crm:\n    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 20, scope: [tenant, vendor] }\n"
	"      - { name: month, kind: window, period: month, amount: 200,"
	" scope: [vendor] }\n"
	"tenants:\n  rich: { crm: { rate: { burst: 40 } } }\n";

static struct ration_handle *resolve(struct ration *ration, const char *tenant)
{
	const struct ration_key key = {
		.tenant = tenant, .vendor = "crm", .traffic_class = "interactive"};
	struct ration_handle *handle = NULL;
	struct ration_error error;

	cr_assert_eq(ration_resolve(ration, &key, &handle, &error), 0, "%s", error.text);
	return handle;
}

/* How many single requests are admitted. */
static int take(struct ration_handle *handle)
{
	struct ration_ticket ticket;
	int n = 0;

	while (n < 1000 && ration_acquire(handle, NULL, 0, &ticket, NULL) == 0)
		n++;
	return n;
}

struct world {
	struct rationd r;
	struct ration *ration;
	struct ration_handle *acme, *rich;
};

static void begin(struct world *w)
{
	struct ration_error error;

	rationd_start(&w->r, policy, (const char *[]){"--buckets", "256", NULL});
	cr_assert_eq(ration_attach(w->r.socket, 0, &w->ration, &error), 0, "%s", error.text);
	w->acme = resolve(w->ration, "acme");
	w->rich = resolve(w->ration, "rich");
}

static void end(struct world *w)
{
	ration_handle_free(&w->acme);
	ration_handle_free(&w->rich);
	ration_detach(&w->ration);
	cr_expect_eq(rationd_stop(&w->r), 0);
}

static void set(struct world *w, int status, const char *tenant, const char *vendor,
		const char *limit, const char *number, const char *says)
{
	struct cli_result result;

	CLI(&result, "set", "--socket", w->r.socket, tenant, vendor, limit, number);
	cr_expect_eq(result.status, status, "%s", result.err);
	cr_expect(strstr(result.err, says), "%s", result.err);
	cli_free(&result);
}

static void expect_status(struct world *w, const char *text, bool there)
{
	struct cli_result result;

	CLI(&result, "status", "--socket", w->r.socket);
	cr_expect_eq(strstr(result.out, text) != NULL, there, "%s", result.out);
	cli_free(&result);
}

Test(cli_set, a_number_is_set_kept_shown_and_taken_back, .timeout = 60)
{
	struct world w;

	begin(&w);
	cr_expect_eq(take(w.acme), 20);
	set(&w, 0, "acme", "crm", "rate", "50", "");
	cr_expect_eq(take(w.acme), 30, "what was spent stays spent");
	expect_status(&w, "set by an operator: crm/rate for acme: ", true);
	rationd_reload(&w.r);
	cr_expect_eq(take(w.acme), 0);
	set(&w, 0, "acme", "crm", "rate", "70", "");
	cr_expect_eq(take(w.acme), 20, "another in its place");
	cr_expect_eq(take(w.rich), 40, "nobody else's");
	set(&w, 0, "acme", "crm", "rate", "default", "");
	expect_status(&w, "set by an operator", false);
	set(&w, EX_DATAERR, "acme", "crm", "rate", "default", "nothing is set");
	end(&w);
}

Test(cli_set, over_a_tenants_own_number_and_over_the_limit_itself, .timeout = 60)
{
	struct world w;

	begin(&w);
	set(&w, 0, "rich", "crm", "rate", "60", "");
	cr_expect_eq(take(w.rich), 60);
	set(&w, 0, "-", "crm", "month", "65", "");
	cr_expect_eq(take(w.acme), 5);
	set(&w, 0, "-", "crm", "month", "500", "");
	set(&w, 0, "-", "-", "all", "70", "");
	cr_expect_eq(take(w.acme), 5);
	expect_status(&w, "set by an operator: all for all: ", true);
	end(&w);
}

Test(cli_set, what_cannot_be_is_refused_in_words_and_changes_nothing, .timeout = 60)
{
	struct world w;

	begin(&w);
	set(&w, EX_DATAERR, "acme", "crm", "rte", "50", "no such limit");
	set(&w, EX_DATAERR, "acme", "nobody", "rate", "50", "no such limit");
	set(&w, EX_DATAERR, "acme", "crm", "rate", "fast", "fast");
	set(&w, EX_DATAERR, "acme", "crm", "month", "50", "tenant");
	cr_expect_eq(take(w.acme), 20);
	/* A limit that is not there any more takes its number with it, and brings it back. */
	set(&w, 0, "acme", "crm", "rate", "30", "");
	rationd_write_policy(&w.r, "version: 1\nclasses: [interactive]\nvendors: { crm: { limits: ["
				   " { name: other, rate: 1/h, burst: 9, margin: 0%,"
				   " scope: [vendor] } ] } }\n"
				   "defaults: { delay: 0ms }\n");
	rationd_reload(&w.r);
	rationd_expect_log(&w.r, "the policy has no such limit", 3);
	cr_expect_eq(take(w.acme), 9);
	rationd_write_policy(&w.r, policy);
	rationd_reload(&w.r);
	cr_expect_eq(take(w.acme), 10);
	end(&w);
}

/* Whoever may attach may not therefore set. */
static int set_as_nobody(const char *socket)
{
	struct wire_set request = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_SET},
		.tenant = "acme",
		.vendor = "crm",
		.limit = "rate",
		.number = "50",
	};
	struct ration_error error;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 1;
	return converse_set(socket, &request, &error) == -EACCES && strstr(error.text, "only root")
		       ? 0
		       : 2;
}

Test(cli_set, only_the_supervisors_user_and_root, .timeout = 60)
{
	struct rationd r;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip("needs root to be somebody else");
	rationd_start(&r, policy, (const char *[]){"--allow-user", "65534", NULL});
	rationd_open_to_all(&r);
	pid = fork();
	if (pid == 0)
		_exit(set_as_nobody(r.socket));
	cr_expect_eq(wait_child(pid), 0);
	rationd_expect_log(&r, "event=refused", 1);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* Bytes that are no request, and numbers that are more than a number. */
Test(cli_set, requests_that_make_no_sense, .timeout = 60)
{
	struct wire_set request = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_SET},
		.tenant = "acme",
		.vendor = "crm",
		.limit = "rate",
		.number = "5 }, x: { y: 1",
	};
	struct hello_answer answer;
	struct ration_error error;
	struct rationd r;
	int socket;

	rationd_start(&r, policy, NULL);
	cr_expect_eq(converse_set(r.socket, &request, &error), -EPROTO);
	memset(request.tenant, 'x', sizeof(request.tenant));
	cr_expect_eq(converse_set(r.socket, &request, &error), -EPROTO);
	socket = hello_connect(r.socket);
	cr_assert_eq(hello_send(socket, &request, sizeof(request) - 1, NULL, 0), 0);
	answer = hello_answer(socket);
	cr_expect_eq(answer.message.head.type, WIRE_REFUSE);
	close(socket);
	cr_expect_eq(rationd_stop(&r), 0);
}
