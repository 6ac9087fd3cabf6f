/*
 * bench/vendor.c - a vendor on 127.0.0.1 that enforces one limit and answers in a notation of your choice
 * SPDX-License-Identifier: MIT
 *
 *	vendor --port 8080 --kind window --amount 600 --period 10 --notation openai --log FILE
 *
 * One line a request goes to the log: seconds since 1970, its status (0: the answer was lost), and who asked (us, others).
 * It runs until it is killed.
 */
#include <getopt.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support_quota.h"

#define SECOND UINT64_C(1000000000)
#define MS     UINT64_C(1000000)

static const char *const kinds[QUOTA_KINDS] = {"bucket", "window", "rolling", "concurrency",
					       "sliding"};
static const char *const notations[QUOTA_NOTATIONS] = {
	"silent",   "retry-after", "retry-date", "x-triple", "triple",
	"standard", "openai",      "anthropic",  "shopify",  "hubspot",
};

static struct {
	struct quota quota;
	pthread_mutex_t lock;
	FILE *log;
	uint64_t port;
	uint64_t service_ms; /* each request takes so long */
	uint64_t foreign_ms; /* between two requests of others; 0: there are none */
	uint64_t lost;       /* answers of each thousand */
	int64_t clock_s;     /* ahead of the true time */
} vendor = {
	.quota = {.amount = 60, .burst = 60, .period = SECOND},
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.port = 8080,
};

static uint64_t wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t own_time(void)
{
	return wall() + (uint64_t)vendor.clock_s * SECOND;
}

static void sleep_ms(uint64_t ms)
{
	const struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000 * MS)};

	nanosleep(&t, NULL);
}

static void note(int status, const char *who)
{
	fprintf(vendor.log, "%.3f %d %s\n", (double)wall() / (double)SECOND, status, who);
}

/* --- a request --- */

static enum MHD_Result respond(struct MHD_Connection *connection, bool granted, char *headers)
{
	static char body[] = "{}\n";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(sizeof(body) - 1, body, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;
	char *rest = NULL;

	if (!response)
		return MHD_NO;
	for (char *line = strtok_r(headers, "\r\n", &rest); line;
	     line = strtok_r(NULL, "\r\n", &rest)) {
		char *colon = strstr(line, ": ");

		*colon = '\0';
		MHD_add_response_header(response, line, colon + 2);
	}
	result = MHD_queue_response(connection, granted ? 200 : 429, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *body,
				  size_t *body_size, void **ret_state)
{
	static int seen;
	char headers[QUOTA_HEADERS];
	bool granted, lost;

	(void)user, (void)url, (void)method, (void)version, (void)body;
	/* Once for its headers, and then until all of its body is there. */
	if (*ret_state == NULL || *body_size > 0) {
		*ret_state = &seen;
		*body_size = 0;
		return MHD_YES;
	}
	pthread_mutex_lock(&vendor.lock);
	granted = quota_take(&vendor.quota, own_time());
	lost = (uint64_t)rand() % 1000 < vendor.lost;
	note(granted ? 200 : 429, "us");
	pthread_mutex_unlock(&vendor.lock);
	if (granted && vendor.service_ms)
		sleep_ms(vendor.service_ms);
	pthread_mutex_lock(&vendor.lock);
	if (granted && vendor.quota.kind == QUOTA_SLOTS)
		quota_end(&vendor.quota);
	(void)quota_headers(&vendor.quota, granted, own_time(), headers);
	pthread_mutex_unlock(&vendor.lock);
	return lost ? MHD_NO : respond(connection, granted, headers);
}

static void spend_as_others(void)
{
	for (;;) {
		sleep_ms(vendor.foreign_ms ? vendor.foreign_ms : 1000);
		pthread_mutex_lock(&vendor.lock);
		if (vendor.foreign_ms && quota_take(&vendor.quota, own_time()))
			note(200, "others");
		fflush(vendor.log);
		pthread_mutex_unlock(&vendor.lock);
	}
}

/* --- options --- */

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

static unsigned choose(const char *what, const char *const *words, unsigned n, const char *word)
{
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
	}
	die("vendor: no %s is called '%s'", what, word);
}

static double number(const char *option, const char *text)
{
	char *end;
	const double value = strtod(text, &end);

	if (*end != '\0' || end == text)
		die("vendor: --%s takes a number, not '%s'", option, text);
	return value;
}

static const struct option options[] = {
	{"port", 1, NULL, 'p'},   {"kind", 1, NULL, 'k'},    {"amount", 1, NULL, 'a'},
	{"period", 1, NULL, 's'}, {"burst", 1, NULL, 'b'},   {"notation", 1, NULL, 'n'},
	{"log", 1, NULL, 'l'},    {"service", 1, NULL, 'v'}, {"foreign", 1, NULL, 'f'},
	{"lost", 1, NULL, 'x'},   {"clock", 1, NULL, 'c'},   {NULL, 0, NULL, 0},
};

static const char usage[] =
	"usage: vendor --port N --log FILE --kind bucket|window|rolling|concurrency|sliding "
	"--amount N\n"
	"              --period SECONDS --burst N --notation NAME --service MS --foreign MS\n"
	"              --lost THOUSANDTHS --clock SECONDS-AHEAD\n";

static void set(int option, const char *text)
{
	struct quota *q = &vendor.quota;
	const char *name = "";

	for (const struct option *o = options; o->name; o++) {
		if (o->val == option)
			name = o->name;
	}
	if (option == '?')
		die("%s", usage);
	if (option == 'l')
		vendor.log = fopen(text, "w");
	else if (option == 'k')
		q->kind = (enum quota_kind)choose("kind", kinds, QUOTA_KINDS, text);
	else if (option == 'n')
		q->notation =
			(enum quota_notation)choose("notation", notations, QUOTA_NOTATIONS, text);
	else if (option == 's')
		q->period = (uint64_t)(number(name, text) * (double)SECOND);
	else if (option == 'c')
		vendor.clock_s = (int64_t)number(name, text);
	else
		*(option == 'p'   ? &vendor.port
		  : option == 'a' ? &q->amount
		  : option == 'b' ? &q->burst
		  : option == 'v' ? &vendor.service_ms
		  : option == 'f' ? &vendor.foreign_ms
				  : &vendor.lost) = (uint64_t)number(name, text);
}

int main(int argc, char **argv)
{
	int option;

	vendor.log = stdout;
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		set(option, optarg);
	if (optind < argc)
		die("%s", usage);
	if (!vendor.log || vendor.quota.amount == 0 || vendor.quota.period < vendor.quota.amount)
		die("vendor: cannot write the log, or a limit of nothing");
	if (!MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD,
			      (uint16_t)vendor.port, NULL, NULL, on_request, NULL, MHD_OPTION_END))
		die("vendor: port %lu is taken", (unsigned long)vendor.port);
	spend_as_others();
}
