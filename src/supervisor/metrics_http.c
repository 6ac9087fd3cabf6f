/*
 * supervisor/metrics_http.c - figures for monitoring, over HTTP
 * SPDX-License-Identifier: MIT
 *
 * libmicrohttpd speaks HTTP; our loop watches its epoll descriptor, so it has no thread. Connections are few, small and short.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

#define CONNECTIONS  METRIC_ASKERS_MAX
#define IDLE_SECONDS 10u
#define MEMORY_EACH  16384u
#define BACKLOG      32
#define OPEN_METRICS "application/openmetrics-text"
#define OPEN_TYPE    OPEN_METRICS "; version=1.0.0; charset=utf-8"
#define TEXT_TYPE    "text/plain; version=0.0.4; charset=utf-8"
#define UNIX_PREFIX  "unix:"

/* --- answering --- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, char *text,
			      size_t size, const char *type)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_in_words(struct MHD_Connection *connection, unsigned status,
				       const char *words)
{
	char *text = strdup(words);

	return text ? answer(connection, status, text, strlen(text), TEXT_TYPE) : MHD_NO;
}

static enum MHD_Result answer_figures(struct supervisor *s, struct MHD_Connection *connection)
{
	const char *accept =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	const bool open = accept && strstr(accept, OPEN_METRICS);
	size_t size = 0;
	char *text = metrics_text(s, open, &size);

	return text ? answer(connection, MHD_HTTP_OK, text, size, open ? OPEN_TYPE : TEXT_TYPE)
		    : MHD_NO;
}

static int on_step(sd_event_source *source, void *user);

/* False: it cannot be told now. */
static bool ask(struct supervisor *s, struct MHD_Connection *connection)
{
	struct metrics *m = &s->metrics;

	if (m->n_askers == METRIC_ASKERS_MAX || (!m->going && !metrics_begin(s)))
		return false;
	m->askers[m->n_askers++] = connection;
	MHD_suspend_connection(connection);
	return sd_event_source_set_enabled(m->step, SD_EVENT_ON) >= 0;
}

/* What libmicrohttpd keeps for us of each request: which of its calls this is. */
enum stage { NEW, HEADERS, ASKED };

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_size, void **stage)
{
	struct supervisor *s = user;

	(void)version, (void)data;
	if ((uintptr_t)*stage == ASKED)
		return answer_figures(s, connection);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		*data_size = 0;
		return answer_in_words(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
	}
	if ((uintptr_t)*stage == NEW) {
		*stage = (void *)(uintptr_t)
			HEADERS; /* headers alone: the body is to be read first */
		return MHD_YES;
	}
	if (*data_size > 0) {
		*data_size = 0; /* a body that nobody asked for */
		return MHD_YES;
	}
	if (strcmp(url, "/metrics") != 0)
		return answer_in_words(connection, MHD_HTTP_NOT_FOUND, "it is /metrics\n");
	*stage = (void *)(uintptr_t)ASKED;
	return ask(s, connection) ? MHD_YES : MHD_NO;
}

/* --- our loop --- */

static void run(struct supervisor *s)
{
	struct metrics *m = &s->metrics;
	MHD_UNSIGNED_LONG_LONG ms = 0;

	MHD_run(m->daemon);
	if (MHD_get_timeout(m->daemon, &ms) != MHD_YES) {
		sd_event_source_set_enabled(m->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time_relative(m->timer, ms * 1000);
	sd_event_source_set_enabled(m->timer, SD_EVENT_ONESHOT);
}

static int on_ready(sd_event_source *source, int fd, uint32_t events, void *user)
{
	(void)source, (void)fd, (void)events;
	run(user);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	(void)source, (void)usec;
	run(user);
	return 0;
}

static int on_step(sd_event_source *source, void *user)
{
	struct supervisor *s = user;
	struct metrics *m = &s->metrics;

	if (m->going && !metrics_step(s))
		return 0;
	while (m->n_askers > 0)
		MHD_resume_connection(m->askers[--m->n_askers]);
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	run(s);
	return 0;
}

/* --- where --- */

static bool inet_address(const char *text, struct sockaddr_storage *address, socklen_t *size)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	const size_t length = colon ? (size_t)(colon - text) : 0;
	char *end = NULL;
	unsigned long port;

	if (!colon || length == 0 || length >= sizeof(host) || colon[1] < '0' || colon[1] > '9')
		return false;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port == 0 || port > 65535)
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	*size = sizeof(*v4);
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1)
		return true;
	if (host[0] != '[' || host[length - 1] != ']')
		return false;
	host[length - 1] = '\0';
	*v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	*size = sizeof(*v6);
	return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
}

bool metrics_address(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
	struct sockaddr_un *local = (struct sockaddr_un *)ret_address;
	const char *path = text + strlen(UNIX_PREFIX);

	memset(ret_address, 0, sizeof(*ret_address));
	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) != 0)
		return inet_address(text, ret_address, ret_size);
	if (path[0] != '/' || strlen(path) >= sizeof(local->sun_path))
		return false;
	local->sun_family = AF_UNIX;
	strcpy(local->sun_path, path);
	*ret_size = sizeof(*local);
	return true;
}

/* What a killed supervisor left: whoever may be one here has the lock of the place. */
static void remove_stale(const struct sockaddr_storage *address)
{
	const struct sockaddr_un *local = (const struct sockaddr_un *)address;
	struct stat st;

	if (address->ss_family == AF_UNIX && lstat(local->sun_path, &st) == 0 &&
	    S_ISSOCK(st.st_mode))
		unlink(local->sun_path);
}

/* Readable for those who may attach. */
static void open_to_group(struct metrics *m, const struct sockaddr_storage *address)
{
	const struct group *entry = getgrnam(SUPERVISOR_GROUP);

	if (address->ss_family != AF_UNIX)
		return;
	memcpy(&m->bound, address, sizeof(m->bound));
	if (entry && lchown(m->bound.sun_path, (uid_t)-1, entry->gr_gid) < 0)
		log_event(LOG_NOTICE, "no-group path=\"%s\" error=\"%s\"", m->bound.sun_path,
			  strerror(errno));
}

static int listen_at(struct metrics *m, const char *where)
{
	struct sockaddr_storage address;
	const int on = 1;
	socklen_t size;
	mode_t before;
	int result;

	if (!metrics_address(where, &address, &size))
		return -EINVAL;
	m->socket = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (m->socket < 0)
		return -errno;
	remove_stale(&address);
	setsockopt(m->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	before = umask(0117);
	result = bind(m->socket, (const struct sockaddr *)&address, size);
	umask(before);
	if (result < 0)
		return -errno;
	open_to_group(m, &address);
	return listen(m->socket, BACKLOG) < 0 ? -errno : 0;
}

/* --- start and stop --- */

static int watch(struct supervisor *s)
{
	struct metrics *m = &s->metrics;
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int result;

	if (!info)
		return -EINVAL;
	result = sd_event_add_io(s->event, &m->io, info->epoll_fd, EPOLLIN, on_ready, s);
	if (result >= 0)
		result = sd_event_add_time_relative(s->event, &m->timer, CLOCK_MONOTONIC, 0, 0,
						    on_timer, s);
	if (result >= 0)
		result = sd_event_add_defer(s->event, &m->step, on_step, s);
	if (result < 0)
		return result;
	/* After what workers want. */
	sd_event_source_set_priority(m->io, SD_EVENT_PRIORITY_NORMAL + 2);
	sd_event_source_set_priority(m->timer, SD_EVENT_PRIORITY_NORMAL + 2);
	sd_event_source_set_priority(m->step, SD_EVENT_PRIORITY_NORMAL + 2);
	return sd_event_source_set_enabled(m->step, SD_EVENT_OFF);
}

static int serve(struct supervisor *s)
{
	struct metrics *m = &s->metrics;
	int result = metrics_make(s);

	if (result < 0)
		return result;
	m->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
		MHD_OPTION_LISTEN_SOCKET, m->socket, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)MEMORY_EACH, MHD_OPTION_END);
	return m->daemon ? watch(s) : -EIO;
}

int metrics_start(struct supervisor *s)
{
	struct metrics *m = &s->metrics;
	int result = 0;

	m->socket = s->place.metrics;
	if (m->socket < 0 && !s->options->metrics)
		return 0;
	if (m->socket < 0)
		result = listen_at(m, s->options->metrics);
	if (result == 0)
		result = serve(s);
	if (result < 0)
		log_event(LOG_ERR, "failed what=metrics where=\"%s\" error=\"%s\"",
			  s->options->metrics ? s->options->metrics : "handed down",
			  strerror(-result));
	return result < 0 ? result : 0;
}

void metrics_stop(struct supervisor *s)
{
	struct metrics *m = &s->metrics;

	m->io = sd_event_source_disable_unref(m->io);
	m->timer = sd_event_source_disable_unref(m->timer);
	m->step = sd_event_source_disable_unref(m->step);
	/* Whoever is still waiting has to be let go first. */
	while (m->n_askers > 0)
		MHD_resume_connection(m->askers[--m->n_askers]);
	if (m->daemon)
		MHD_stop_daemon(m->daemon); /* and the socket with it */
	else if (m->socket >= 0 && m->socket != s->place.metrics)
		close(m->socket);
	m->daemon = NULL;
	if (m->bound.sun_path[0])
		unlink(m->bound.sun_path);
	metrics_free(s);
}
