/*
 * cli/events.c - ration events: what happened lately, and what happens
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "client/converse.h"
#include "client/event_line.h"
#include "policy/nearest.h"
#include "shm/worker.h"

static const char command[] = "events";

struct selection {
	const char *socket;
	bool follow;
	bool json;
	const char *types; /* "limited,denied"; NULL: all */
	const char *text[EVENT_TEXT_COUNT];
	bool type[EVENT_TYPE_COUNT];
};

static int parse(int argc, char **argv, struct selection *w)
{
	const struct arg table[] = {
		{"follow", ARG_FLAG, &w->follow, 0, NULL, "go on with those to come"},
		{"type", ARG_TEXT, &w->types, 0, "TYPE,...", "only these: limited, denied, ..."},
		{"tenant", ARG_TEXT, &w->text[EVENT_TENANT], 0, "T", "only of this tenant"},
		{"vendor", ARG_TEXT, &w->text[EVENT_VENDOR], 0, "V", "only of this vendor"},
		{"class", ARG_TEXT, &w->text[EVENT_CLASS], 0, "C", "only of this class"},
		{"account", ARG_TEXT, &w->text[EVENT_ACCOUNT], 0, "A", "only of this account"},
		{"resource", ARG_TEXT, &w->text[EVENT_RESOURCE], 0, "R", "only of this resource"},
		{"limit", ARG_TEXT, &w->text[EVENT_LIMIT], 0, "L", "only about this limit"},
		{"json", ARG_FLAG, &w->json, 0, NULL, "one JSON object a line"},
		{"socket", ARG_TEXT, &w->socket, 0, "PATH", "the supervisor's socket"},
		{0},
	};
	const struct args args = {
		.command = command,
		.operands = "",
		.summary = "Show what vendors refused, what was corrected and learned, and which "
			   "protected classes were denied:\n"
			   "the latest events that the supervisor keeps, oldest first.",
		.options = table,
	};
	char **operands;
	int count;

	return args_parse(&args, argc, argv, &operands, &count);
}

static int unknown_type(const char *name)
{
	const char *meant = nearest_word(name, event_type_names, EVENT_TYPE_COUNT);

	if (meant)
		return cli_fail(EX_USAGE, command, "no type '%s'; did you mean '%s'?", name, meant);
	return cli_fail(EX_USAGE, command, "no type '%s' (see ration(1))", name);
}

static bool take_type(struct selection *w, const char *name)
{
	for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
		if (strcmp(event_type_names[i], name) == 0)
			return w->type[i] = true;
	}
	return false;
}

/* EX_OK, or EX_USAGE after a message. */
static int read_types(struct selection *w)
{
	char *words, *rest, *word;
	int status = EX_OK;

	for (int i = 0; i < EVENT_TYPE_COUNT; i++)
		w->type[i] = !w->types;
	words = rest = cli_need(strdup(w->types ? w->types : ""));
	while (status == EX_OK && w->types && (word = strsep(&rest, ",")) != NULL) {
		if (!take_type(w, word))
			status = unknown_type(word);
	}
	free(words);
	return status;
}

static bool is_wanted(const struct selection *w, const struct event *event)
{
	for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
		if (w->text[i] && strcmp(w->text[i], event->text[i]) != 0)
			return false;
	}
	return w->type[event->type];
}

/* RFC 3339, in UTC. */
static void time_text(int64_t wall_ns, char *buf, size_t size)
{
	const time_t seconds = (time_t)(wall_ns / 1000000000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, size - n, ".%03dZ", (int)(wall_ns / 1000000 % 1000));
}

static void print_json(const struct event *event, const char *when, uint64_t missed)
{
	json_t *object = cli_need(json_pack("{s:s, s:s, s:i}", "time", when, "event",
					    event_type_names[event->type], "pid",
					    (int)worker_pid(event->worker)));

	for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
		if (event->text[i][0])
			json_object_set_new(object, event_text_names[i],
					    cli_need(json_string(event->text[i])));
	}
	for (int i = 0; i < EVENT_NUMBER_COUNT; i++) {
		const uint64_t number = event->number[i];

		if (number != EVENT_NONE)
			json_object_set_new(object, event_number_names[i],
					    event_is_time(i) ? json_real((double)number / 1e9)
							     : json_integer((json_int_t)number));
	}
	if (missed)
		json_object_set_new(object, "missed", json_integer((json_int_t)missed));
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(object);
}

static void print_event(const struct selection *w, const struct event *event, int64_t wall_ns,
			uint64_t missed)
{
	char when[40], line[EVENT_LINE_MAX];

	time_text(wall_ns, when, sizeof(when));
	if (w->json) {
		print_json(event, when, missed);
		return;
	}
	event_line(event, line);
	printf("%s %s\n", when, line);
}

static bool show(const struct selection *w, const struct wire_event *message, uint64_t *missed)
{
	struct event_image image;
	struct event_copy copy;

	memcpy(image.word, message->word, sizeof(image.word));
	if (!event_unpack(&image, &copy))
		return false;
	*missed += message->missed;
	if (message->missed && !w->json)
		fprintf(stderr, "ration events: %llu events were missed here\n",
			(unsigned long long)message->missed);
	if (!is_wanted(w, &copy.event))
		return true;
	print_event(w, &copy.event, message->wall_ns, *missed);
	*missed = 0;
	return true;
}

static int show_all(const struct selection *w, int socket)
{
	struct ration_error error;
	struct wire_event message;
	uint64_t missed = 0;
	int result;

	while ((result = converse_event(socket, &message, &error)) == 1) {
		if (!show(w, &message, &missed))
			return cli_fail(EX_UNAVAILABLE, command,
					"the supervisor sent what is no event");
		if (w->follow && fflush(stdout) != 0)
			return EX_OK; /* cli_close_stdout() says so */
	}
	if (result < 0)
		return cli_fail(cli_status_of(result), command, "%s", error.text);
	return w->follow ? cli_fail(EX_UNAVAILABLE, command, "the supervisor is gone") : EX_OK;
}

int cmd_events(int argc, char **argv)
{
	char usual[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct selection w = {0};
	struct ration_error error;
	int result = parse(argc, argv, &w), socket;

	if (result >= 0)
		return result;
	result = read_types(&w);
	if (result != EX_OK)
		return result;
	socket = converse_events(w.socket ? w.socket : client_socket_path(usual, sizeof(usual)),
				 w.follow, &error);
	if (socket < 0)
		return cli_fail(cli_status_of(socket), command, "%s", error.text);
	result = show_all(&w, socket);
	close(socket);
	return cli_close_stdout(result, command);
}
