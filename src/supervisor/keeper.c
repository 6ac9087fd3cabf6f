/*
 * supervisor/keeper.c - holds descriptors and restarts rationd, where no service manager does
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/keeper.h"

#include <bsd/libutil.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "shm/layout.h"
#include "supervisor/log.h"
#include "supervisor/place.h"
#include "supervisor/store.h"

/* Two for each worker, and those that are not of workers. */
#define KEPT_MAX (2 * SEG_WORKERS_MAX + 32)

/* In one message: two are the most that a supervisor sends; the kernel closes what does not fit. */
#define FDS_MAX 4

#define NOTICE_MAX 2048

/* A supervisor that is silent for so long after it was ready hangs. It speaks twice as often. */
#define WATCHDOG_USEC UINT64_C(30000000)

/* At once after the first death; then twice as long each time, unless one lasted. */
#define BACKOFF_USEC     UINT64_C(100000)
#define BACKOFF_MAX_USEC UINT64_C(5000000)
#define LASTED_USEC      UINT64_C(10000000)

struct kept {
	int fd;
	char name[64]; /* socket units may have longer names than we give */
};

struct keeper {
	const struct options *options;
	char program[PATH_MAX]; /* by its path: the next one may be another build */
	char **argv;
	struct pidfh *lock;
	char place[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int notify;
	sd_event *event;
	sd_event_source *child_source, *restart, *watchdog;
	pid_t child; /* 0: none */
	uint64_t started_usec;
	uint64_t backoff_usec;
	bool was_ready; /* one of them */
	bool replacing;
	bool stopping;
	struct kept kept[KEPT_MAX];
	unsigned n_kept;
};

static int failed(const char *what, int error)
{
	log_event(LOG_ERR, "failed what=%s error=\"%s\"", what, strerror(error));
	return EX_OSERR;
}

/* --- what is kept --- */

static void keep(struct keeper *k, int fd, const char *name)
{
	if (k->n_kept == KEPT_MAX || strlen(name) >= sizeof(k->kept[0].name)) {
		log_event(LOG_ERR, "not-kept name=%s kept=%u", name, k->n_kept);
		close(fd);
		return;
	}
	k->kept[k->n_kept].fd = fd;
	strcpy(k->kept[k->n_kept++].name, name);
}

static void drop(struct keeper *k, const char *name)
{
	unsigned left = 0;

	for (unsigned i = 0; i < k->n_kept; i++) {
		if (strcmp(k->kept[i].name, name) == 0)
			close(k->kept[i].fd);
		else
			k->kept[left++] = k->kept[i];
	}
	k->n_kept = left;
}

/* Sockets that a service manager made for us are for the supervisor. */
static int keep_handed(struct keeper *k)
{
	struct handed handed;
	const int result = handed_take(&handed);

	if (result < 0)
		return failed("handed-down", -result);
	for (unsigned i = 0; i < handed.n; i++) {
		keep(k, handed.item[i].fd, handed.item[i].name);
		handed.item[i].fd = -1;
	}
	handed_free(&handed, false);
	return 0;
}

/* --- notices --- */

struct notice {
	char text[NOTICE_MAX];
	char name[64];
	bool store, remove, ready;
	int fds[FDS_MAX];
	int n_fds;
	pid_t sender;
};

static void take_control(struct msghdr *msg, struct notice *n)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const size_t size = c->cmsg_len - CMSG_LEN(0);
		struct ucred cred;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && size == sizeof(cred)) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			n->sender = cred.pid;
		}
		if (c->cmsg_type == SCM_RIGHTS && size <= sizeof(n->fds)) {
			memcpy(n->fds, CMSG_DATA(c), size);
			n->n_fds = (int)(size / sizeof(int));
		}
	}
}

static bool receive(int socket, struct notice *n)
{
	union {
		char buf[CMSG_SPACE(sizeof(n->fds)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {n->text, sizeof(n->text) - 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t size;

	memset(n, 0, sizeof(*n));
	size = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (size < 0)
		return false;
	n->text[size] = '\0';
	take_control(&msg, n);
	return true;
}

/* Takes out what is ours to answer; what is left is for whoever manages us. */
static void read_lines(struct notice *n)
{
	char left[NOTICE_MAX] = "";
	char *rest = n->text;
	size_t size = 0;

	for (char *line; (line = strsep(&rest, "\n"));) {
		if (strcmp(line, "FDSTORE=1") == 0)
			n->store = true;
		else if (strcmp(line, "FDSTOREREMOVE=1") == 0)
			n->remove = true;
		else if (strncmp(line, "FDNAME=", 7) == 0)
			snprintf(n->name, sizeof(n->name), "%s", line + 7);
		else if (strncmp(line, "FDPOLL=", 7) != 0 && strncmp(line, "WATCHDOG=", 9) != 0 &&
			 strncmp(line, "MAINPID=", 8) != 0 && strcmp(line, "BARRIER=1") != 0 &&
			 *line != '\0')
			size += (size_t)snprintf(left + size, sizeof(left) - size, "%s\n", line);
		n->ready |= strcmp(line, "READY=1") == 0;
	}
	memcpy(n->text, left, sizeof(left));
}

static void rearm_watchdog(struct keeper *k)
{
	if (!k->was_ready)
		return;
	sd_event_source_set_time_relative(k->watchdog, WATCHDOG_USEC);
	sd_event_source_set_enabled(k->watchdog, SD_EVENT_ONESHOT);
}

static void obey(struct keeper *k, struct notice *n)
{
	read_lines(n);
	for (int i = 0; i < n->n_fds; i++) {
		if (n->store && n->sender == k->child)
			keep(k, n->fds[i], n->name[0] ? n->name : "stored");
		else
			close(n->fds[i]);
	}
	if (n->sender != k->child)
		return;
	if (n->remove)
		drop(k, n->name);
	k->was_ready |= n->ready;
	rearm_watchdog(k);
	if (n->text[0])
		sd_notify(0, n->text);
}

static void read_notices(struct keeper *k)
{
	struct notice notice;

	while (receive(k->notify, &notice))
		obey(k, &notice);
}

static int on_notice(sd_event_source *source, int fd, uint32_t events, void *user)
{
	(void)source, (void)fd, (void)events;
	read_notices(user);
	return 0;
}

static int on_silence(sd_event_source *source, uint64_t usec, void *user)
{
	struct keeper *k = user;

	(void)source, (void)usec;
	if (k->child > 0) {
		log_event(LOG_ERR, "hangs pid=%d silent-s=%d", (int)k->child,
			  (int)(WATCHDOG_USEC / 1000000));
		kill(k->child, SIGKILL);
	}
	return 0;
}

/* --- the supervisor --- */

/* Descriptors from 3 on, as sd_listen_fds(3) wants them. First out of each other's way. */
static bool place_descriptors(struct keeper *k)
{
	const int n = (int)k->n_kept, first = SD_LISTEN_FDS_START;

	for (int i = 0; i < n; i++) {
		k->kept[i].fd = fcntl(k->kept[i].fd, F_DUPFD_CLOEXEC, first + n);
		if (k->kept[i].fd < 0)
			return false;
	}
	for (int i = 0; i < n; i++) {
		if (dup2(k->kept[i].fd, first + i) < 0)
			return false;
	}
	return true;
}

static bool set_number(const char *name, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	return setenv(name, text, 1) == 0;
}

static bool set_names(const struct keeper *k)
{
	char *names = malloc(k->n_kept * sizeof(k->kept[0].name) + 1), *at = names;

	if (!names)
		return false;
	*at = '\0';
	for (unsigned i = 0; i < k->n_kept; i++)
		at += sprintf(at, "%s%s", i > 0 ? ":" : "", k->kept[i].name);
	return setenv("LISTEN_FDNAMES", names, 1) == 0;
}

static bool set_listen(const struct keeper *k)
{
	return set_names(k) && set_number("LISTEN_FDS", k->n_kept) &&
	       set_number("LISTEN_PID", (uint64_t)getpid());
}

/* After fork. */
static void become_supervisor(struct keeper *k)
{
	sigset_t none;
	const bool ready = place_descriptors(k) && (k->n_kept == 0 || set_listen(k)) &&
			   set_number("FDSTORE", KEPT_MAX) &&
			   set_number("WATCHDOG_USEC", WATCHDOG_USEC) &&
			   set_number("WATCHDOG_PID", (uint64_t)getpid()) &&
			   setenv("NOTIFY_SOCKET", k->place, 1) == 0;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (ready)
		execv(k->program, k->argv);
	log_event(LOG_ERR, "failed what=exec path=\"%s\" error=\"%s\"", k->program,
		  strerror(errno));
	_exit(EX_OSERR);
}

static uint64_t now_usec(struct keeper *k)
{
	uint64_t usec = 0;

	sd_event_now(k->event, CLOCK_MONOTONIC, &usec);
	return usec;
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *user);

static int run(struct keeper *k)
{
	k->started_usec = now_usec(k);
	k->child = fork();
	if (k->child < 0) {
		k->child = 0;
		return -errno;
	}
	if (k->child == 0)
		become_supervisor(k);
	return sd_event_add_child(k->event, &k->child_source, k->child, WEXITED, on_child, k);
}

static int on_restart(sd_event_source *source, uint64_t usec, void *user)
{
	struct keeper *k = user;
	const int result = run(k);

	(void)source, (void)usec;
	if (result < 0)
		log_event(LOG_ERR, "failed what=fork error=\"%s\"", strerror(-result));
	return result < 0 ? sd_event_exit(k->event, EX_OSERR) : 0;
}

static int run_later(struct keeper *k, uint64_t usec)
{
	sd_event_source_set_time_relative(k->restart, usec);
	return sd_event_source_set_enabled(k->restart, SD_EVENT_ONESHOT);
}

/* It ended, and nobody wanted it to. */
static int restart(struct keeper *k, const siginfo_t *info)
{
	uint64_t wait = k->backoff_usec;

	if (now_usec(k) - k->started_usec >= LASTED_USEC)
		wait = 0;
	k->backoff_usec = wait == 0 ? BACKOFF_USEC : 2 * wait;
	if (k->backoff_usec > BACKOFF_MAX_USEC)
		k->backoff_usec = BACKOFF_MAX_USEC;
	log_event(LOG_WARNING, "restarting pid=%d %s=%d kept=%u wait-ms=%u", (int)info->si_pid,
		  info->si_code == CLD_EXITED ? "status" : "signal", info->si_status, k->n_kept,
		  (unsigned)(wait / 1000));
	return run_later(k, wait);
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *user)
{
	struct keeper *k = user;
	const bool exited = info->si_code == CLD_EXITED;

	(void)source;
	read_notices(k); /* its last ones are still its own */
	k->child_source = sd_event_source_unref(k->child_source);
	k->child = 0;
	sd_event_source_set_enabled(k->watchdog, SD_EVENT_OFF);
	if (k->replacing && !k->stopping) {
		k->replacing = false;
		return run_later(k, 0);
	}
	if (k->stopping || (exited && info->si_status == 0))
		return sd_event_exit(k->event, exited ? info->si_status : EX_SOFTWARE);
	/* What never worked is not going to: a wrong option, a broken policy, a place that is taken. */
	if (exited && !k->was_ready)
		return sd_event_exit(k->event, info->si_status);
	return restart(k, info);
}

/* --- signals --- */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	struct keeper *k = user;

	(void)source, (void)info;
	k->stopping = true;
	if (k->child > 0)
		return kill(k->child, SIGTERM) < 0 ? -errno : 0;
	return sd_event_exit(k->event, 0);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	struct keeper *k = user;

	(void)source, (void)info;
	if (k->child > 0)
		kill(k->child, SIGHUP);
	return 0;
}

static int on_replace(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	struct keeper *k = user;

	(void)source, (void)info;
	if (k->child == 0)
		return 0;
	log_event(LOG_NOTICE, "replacing pid=%d", (int)k->child);
	k->replacing = true;
	kill(k->child, SIGTERM);
	return 0;
}

static int watch_signals(struct keeper *k)
{
	static const struct {
		int signal;
		sd_event_signal_handler_t handler;
	} table[] = {
		{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}, {SIGUSR1, on_replace}};
	sigset_t set;
	int result = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		sigaddset(&set, table[i].signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) && result >= 0; i++)
		result = sd_event_add_signal(k->event, NULL, table[i].signal, table[i].handler, k);
	return result;
}

/* --- start --- */

/* Nobody but our user may speak to it, and we listen to our child only. */
static int make_notify_socket(struct keeper *k)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int on = 1;
	mode_t before;
	int result;

	strcpy(address.sun_path, k->place);
	k->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (k->notify < 0 || setsockopt(k->notify, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return failed("keeper-socket", errno);
	if (unlink(k->place) < 0 && errno != ENOENT)
		return failed("keeper-socket", errno);
	before = umask(0177);
	result = bind(k->notify, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	return result < 0 ? failed("keeper-socket", errno) : 0;
}

/* Two keepers of one place would take each other's socket away. */
static int take_place(struct keeper *k)
{
	const char *path = k->options->address.sun_path;
	const int size = snprintf(k->place, sizeof(k->place), "%s.keeper", path);
	char lock[PATH_MAX];
	pid_t other = 0;
	int status;

	if (size < 0 || (size_t)size >= sizeof(k->place)) {
		log_event(LOG_ERR,
			  "failed what=keeper-socket path=\"%s\" text=\"the path is too long\"",
			  path);
		return EX_USAGE;
	}
	status = place_directory(path);
	if (status != 0)
		return status;
	snprintf(lock, sizeof(lock), "%s.pid", k->place);
	k->lock = pidfile_open(lock, 0644, &other);
	if (!k->lock && errno == EEXIST) {
		log_event(LOG_ERR, "already-running pid=%d path=\"%s\"", (int)other, lock);
		return EX_TEMPFAIL;
	}
	if (!k->lock || pidfile_write(k->lock) < 0)
		return failed("keeper-pid-file", errno);
	return make_notify_socket(k);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The path, not the file: after an upgrade another one is found there. */
static int find_program(struct keeper *k, int argc, char **argv)
{
	const ssize_t size = readlink("/proc/self/exe", k->program, sizeof(k->program) - 1);
	int n = 0;

	if (size < 0)
		return failed("find-program", errno);
	k->program[size] = '\0';
	k->argv = calloc((size_t)argc + 1, sizeof(*k->argv));
	if (!k->argv)
		return failed("find-program", ENOMEM);
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "--keep", strlen(argv[i])) != 0 || strlen(argv[i]) < 3)
			k->argv[n++] = argv[i];
	}
	return 0;
}

static int make_loop(struct keeper *k)
{
	int result = sd_event_new(&k->event);

	if (result >= 0)
		result = watch_signals(k);
	if (result >= 0)
		result = sd_event_set_watchdog(k->event, true);
	if (result >= 0)
		result = sd_event_add_io(k->event, NULL, k->notify, EPOLLIN, on_notice, k);
	if (result >= 0)
		result = sd_event_add_time(k->event, &k->restart, CLOCK_MONOTONIC, UINT64_MAX, 0,
					   on_restart, k);
	if (result >= 0)
		result = sd_event_add_time(k->event, &k->watchdog, CLOCK_MONOTONIC, UINT64_MAX, 0,
					   on_silence, k);
	if (result >= 0)
		result = run(k);
	return result < 0 ? failed("event-loop", -result) : 0;
}

static void stop(struct keeper *k)
{
	if (k->notify >= 0) {
		close(k->notify);
		unlink(k->place);
	}
	if (k->lock)
		pidfile_remove(k->lock);
	for (unsigned i = 0; i < k->n_kept; i++)
		close(k->kept[i].fd);
	sd_event_source_unref(k->child_source);
	sd_event_source_unref(k->restart);
	sd_event_source_unref(k->watchdog);
	sd_event_unref(k->event);
	free(k->argv);
}

int keeper_run(const struct options *options, int argc, char **argv)
{
	static struct keeper keeper = {.notify = -1};
	struct keeper *k = &keeper;
	int status;

	k->options = options;
	raise_descriptor_limit();
	status = find_program(k, argc, argv);
	if (status == 0)
		status = keep_handed(k);
	if (status == 0)
		status = take_place(k);
	if (status == 0)
		status = make_loop(k);
	if (status == 0)
		status = sd_event_loop(k->event);
	stop(k);
	return status < 0 ? EX_SOFTWARE : status;
}
