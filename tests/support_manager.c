/*
 * tests/support_manager.c - what a service manager does for rationd: notices, and the descriptor store
 * SPDX-License-Identifier: MIT
 */
#include "support_manager.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 24

void manager_begin(struct manager *m, struct rationd *rationd)
{
	*m = (struct manager){.rationd = rationd};
}

/* --- what is stored --- */

static void value_of(const char *text, const char *key, char value[32])
{
	const char *at = strstr(text, key);

	snprintf(value, 32, "%s", at ? at + strlen(key) : "");
	value[strcspn(value, "\n")] = '\0';
}

static void store(struct manager *m, const char *text, const int *fds, int n_fds)
{
	cr_assert(strstr(text, "FDPOLL=0"), "a dead worker's pidfd has hung up: %s", text);
	for (int i = 0; i < n_fds; i++) {
		cr_assert_lt(m->n, MANAGER_FDS_MAX);
		value_of(text, "FDNAME=", m->name[m->n]);
		m->fd[m->n++] = fds[i];
	}
}

void manager_remove(struct manager *m, const char *name)
{
	int left = 0;

	for (int i = 0; i < m->n; i++) {
		if (strcmp(m->name[i], name) == 0) {
			close(m->fd[i]);
			continue;
		}
		memmove(m->name[left], m->name[i], sizeof(m->name[i]));
		m->fd[left++] = m->fd[i];
	}
	m->n = left;
}

void manager_end(struct manager *m)
{
	while (m->n > 0)
		close(m->fd[--m->n]);
}

int manager_has(const struct manager *m, const char *name)
{
	int n = 0;

	for (int i = 0; i < m->n; i++)
		n += strcmp(m->name[i], name) == 0;
	return n;
}

int manager_fd(const struct manager *m, const char *name)
{
	for (int i = 0; i < m->n; i++) {
		if (strcmp(m->name[i], name) == 0)
			return m->fd[i];
	}
	cr_assert_fail("%s is not stored", name);
	return -1;
}

/* --- notices --- */

static ssize_t receive(int socket, char *text, size_t size, int fds[8], int *ret_n_fds)
{
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {text, size - 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	const ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);

	*ret_n_fds = 0;
	if (c && c->cmsg_type == SCM_RIGHTS) {
		*ret_n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), (size_t)*ret_n_fds * sizeof(int));
	}
	return n;
}

bool manager_read(struct manager *m, int patience_ms)
{
	struct pollfd p = {.fd = m->rationd->notify, .events = POLLIN};
	char text[1024], name[32];
	int fds[8], n_fds;
	ssize_t n;

	if (poll(&p, 1, patience_ms) != 1)
		return false;
	n = receive(m->rationd->notify, text, sizeof(text), fds, &n_fds);
	cr_assert_gt(n, 0);
	text[n] = '\0';
	value_of(text, "FDNAME=", name);
	if (strstr(text, "FDSTORE=1"))
		store(m, text, fds, n_fds);
	else if (strstr(text, "FDSTOREREMOVE=1"))
		manager_remove(m, name);
	m->ready += strstr(text, "READY=1") != NULL;
	return true;
}

void manager_until_ready(struct manager *m)
{
	const int before = m->ready;

	while (m->ready == before)
		cr_assert(manager_read(m, 10000), "it is not ready; its log:\n%s",
			  rationd_log(m->rationd));
}

/* --- starting --- */

static void set_number(const char *name, int number)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", number);
	setenv(name, text, 1);
}

/* From descriptor 3 on. First out of each other's way. */
static void hand_down(const struct manager *m)
{
	char names[MANAGER_FDS_MAX * 32] = "";
	int high[MANAGER_FDS_MAX];

	for (int i = 0; i < m->n; i++) {
		high[i] = fcntl(m->fd[i], F_DUPFD_CLOEXEC, 3 + MANAGER_FDS_MAX);
		strcat(strcat(names, i > 0 ? ":" : ""), m->name[i]);
	}
	for (int i = 0; i < m->n; i++)
		dup2(high[i], 3 + i);
	if (m->n == 0)
		return;
	setenv("LISTEN_FDNAMES", names, 1);
	set_number("LISTEN_FDS", m->n);
	set_number("LISTEN_PID", (int)getpid());
}

/* A command that runs rationd gives it another pid than ours: that is only for the first one, which is handed nothing. */
static void become(const struct manager *m, const char *const before[], const char *program)
{
	const struct rationd *r = m->rationd;
	const char *argv[ARGS_MAX + 8];
	char notify[128];
	int n = 0;

	for (; before && before[n]; n++)
		argv[n] = before[n];
	argv[n++] = program;
	argv[n++] = "--policy";
	argv[n++] = r->policy;
	argv[n++] = "--socket";
	argv[n++] = r->socket;
	for (int i = 0; r->more && r->more[i]; i++)
		argv[n++] = r->more[i];
	argv[n] = NULL;
	snprintf(notify, sizeof(notify), "%s/notify", r->dir);
	setenv("NOTIFY_SOCKET", notify, 1);
	setenv("FDSTORE", "64", 1);
	unsetenv("JOURNAL_STREAM");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(open(r->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), STDERR_FILENO);
	hand_down(m);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

void manager_spawn(struct manager *m, const char *const before[])
{
	const char *program = rationd_program("rationd");

	m->rationd->pid = fork();
	cr_assert(m->rationd->pid >= 0);
	if (m->rationd->pid == 0)
		become(m, before, program);
}

/* --- a process of its own --- */

static volatile sig_atomic_t told_to_stop;

static void on_term(int signal)
{
	(void)signal;
	told_to_stop = 1;
}

pid_t manager_pid(const struct rationd *r)
{
	char path[160];
	FILE *file;
	int pid = 0;

	snprintf(path, sizeof(path), "%s.pid", r->socket);
	file = fopen(path, "r");
	if (file && fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

/* Until rationd ends: its status. */
static int attend(struct manager *m)
{
	bool stopping = false;
	int status = 0;

	while (waitpid(m->rationd->pid, &status, WNOHANG) == 0) {
		(void)manager_read(m, 20);
		if (told_to_stop && !stopping && manager_pid(m->rationd) > 0) {
			stopping = true;
			kill(manager_pid(m->rationd), SIGTERM);
		}
	}
	while (manager_read(m, 0))
		;
	return status;
}

void manager_serve(struct rationd *r, const char *const before[], unsigned deaths_max)
{
	struct manager m;
	int status;

	signal(SIGTERM, on_term);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	manager_begin(&m, r);
	manager_spawn(&m, before);
	status = attend(&m);
	for (unsigned deaths = 0; deaths < deaths_max && !told_to_stop; deaths++) {
		/* What never worked is not going to. */
		if (WIFEXITED(status) && m.ready == 0)
			break;
		manager_spawn(&m, NULL);
		status = attend(&m);
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status));
}
