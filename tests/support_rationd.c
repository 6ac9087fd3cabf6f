/*
 * tests/support_rationd.c - a real rationd in a directory of its own
 * SPDX-License-Identifier: MIT
 */
#include "support_rationd.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/blob.h"
#include "shm/layout.h"

/* How long anything may take before the test gives up. Nothing that works comes near it. */
#define PATIENCE_MS 10000

const char rationd_plain_policy[] =
	"version: 1\n"
	"classes: [interactive]\n"
	"defaults: { delay: 0ms }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: rate, rate: 100/s, burst: 20, scope: [tenant, vendor], margin: 0% }\n";

const char *rationd_program(const char *name)
{
	static char path[4096];
	const char *build = getenv("RATION_BUILD");

	snprintf(path, sizeof(path), "%s/%s", build && *build ? build : "build", name);
	cr_assert(access(path, X_OK) == 0, "%s: %s", path, strerror(errno));
	return path;
}

/* --- the directory --- */

void rationd_write_policy(struct rationd *r, const char *policy)
{
	char next[sizeof(r->policy) + 8];
	FILE *file;

	/* As one: somebody may be reading it. */
	snprintf(next, sizeof(next), "%s.next", r->policy);
	file = fopen(next, "w");
	cr_assert(file && fputs(policy, file) >= 0 && fclose(file) == 0, "%s", next);
	cr_assert(rename(next, r->policy) == 0, "%s", r->policy);
}

static int bind_notify(const char *dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
	cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

void rationd_prepare(struct rationd *r, const char *policy)
{
	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "/tmp/ration-test-XXXXXX");
	cr_assert(mkdtemp(r->dir) && chmod(r->dir, 0755) == 0, "mkdtemp: %s", strerror(errno));
	snprintf(r->policy, sizeof(r->policy), "%s/policy.yaml", r->dir);
	snprintf(r->socket, sizeof(r->socket), "%s/run/ration.sock", r->dir);
	snprintf(r->log_path, sizeof(r->log_path), "%s/log", r->dir);
	rationd_write_policy(r, policy);
	r->notify = bind_notify(r->dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void remove_directory(struct rationd *r)
{
	cr_assert(nftw(r->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0, "%s: %s", r->dir,
		  strerror(errno));
}

/* --- the process --- */

static void become_rationd(const struct rationd *r, const char *program, const char *const args[])
{
	const char *argv[40] = {"rationd", "--policy", r->policy};
	const int log = open(r->log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	char notify[128];
	int n = 3;

	if (r->by_environment) {
		setenv("RATION_SOCKET", r->socket, 1);
	} else {
		argv[n++] = "--socket";
		argv[n++] = r->socket;
	}
	for (; args && *args && n < 39; args++)
		argv[n++] = *args;
	snprintf(notify, sizeof(notify), "%s/notify", r->dir);
	setenv("NOTIFY_SOCKET", notify, 1);
	unsetenv("JOURNAL_STREAM");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (log >= 0 && dup2(log, STDERR_FILENO) >= 0)
		execv(program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

void rationd_spawn(struct rationd *r, const char *const args[])
{
	const char *program = rationd_program("rationd");

	r->pid = fork();
	cr_assert(r->pid >= 0);
	if (r->pid == 0)
		become_rationd(r, program, args);
}

static void receive_notice(struct rationd *r, char *buf, size_t size)
{
	struct pollfd p = {.fd = r->notify, .events = POLLIN};
	ssize_t n;

	cr_assert(poll(&p, 1, PATIENCE_MS) == 1, "no notice came; its log:\n%s", rationd_log(r));
	n = recv(r->notify, buf, size - 1, 0);
	cr_assert(n >= 0);
	buf[n] = '\0';
}

void rationd_expect_notice(struct rationd *r, const char *text)
{
	char notice[1024];

	receive_notice(r, notice, sizeof(notice));
	cr_assert(strstr(notice, text), "wanted '%s' in a notice, got:\n%s\nits log:\n%s", text,
		  notice, rationd_log(r));
}

void rationd_ready(struct rationd *r)
{
	rationd_expect_notice(r, "READY=1");
}

void rationd_start(struct rationd *r, const char *policy, const char *const args[])
{
	rationd_prepare(r, policy);
	rationd_spawn(r, args);
	rationd_ready(r);
}

int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int wait_child(pid_t pid)
{
	struct pollfd p = {.fd = open_pidfd(pid), .events = POLLIN};
	int status = 0;
	const bool ended = p.fd >= 0 && poll(&p, 1, PATIENCE_MS) == 1;

	if (p.fd >= 0)
		close(p.fd);
	if (!ended)
		kill(pid, SIGKILL);
	cr_assert(waitpid(pid, &status, 0) == pid);
	cr_assert(ended, "process %d did not end by itself", (int)pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int rationd_wait(struct rationd *r)
{
	const int status = wait_child(r->pid);

	r->pid = 0;
	return status;
}

int rationd_stop(struct rationd *r)
{
	int status = 0;

	if (r->pid > 0) {
		kill(r->pid, SIGTERM);
		status = rationd_wait(r);
	}
	cr_expect(!strstr(rationd_log(r), "Sanitizer"), "%s", r->log);
	close(r->notify);
	remove_directory(r);
	return status;
}

void rationd_reload(struct rationd *r)
{
	cr_assert(kill(r->pid, SIGHUP) == 0);
	rationd_expect_notice(r, "RELOADING=1");
	rationd_expect_notice(r, "READY=1");
}

/* --- what it says --- */

const char *rationd_log(struct rationd *r)
{
	FILE *file = fopen(r->log_path, "r");
	const size_t n = file ? fread(r->log, 1, sizeof(r->log) - 1, file) : 0;

	r->log[n] = '\0';
	if (file)
		fclose(file);
	return r->log;
}

static int occurrences(const char *in, const char *text)
{
	int n = 0;

	for (; (in = strstr(in, text)); in += strlen(text))
		n++;
	return n;
}

void rationd_expect_log(struct rationd *r, const char *text, int n)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	for (int i = 0; i < PATIENCE_MS / 2; i++) {
		if (occurrences(rationd_log(r), text) >= n)
			return;
		nanosleep(&pause, NULL);
	}
	cr_assert_fail("'%s' is not %d times in its log:\n%s", text, n, r->log);
}

void rationd_open_to_all(struct rationd *r)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/run", r->dir);
	cr_assert(chmod(path, 0755) == 0 && chmod(r->socket, 0666) == 0);
}

int count_fds(pid_t pid)
{
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	cr_assert(dir);
	for (const struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n;
}

void expect_fds(pid_t pid, int n)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	int found = count_fds(pid);

	for (int i = 0; i < PATIENCE_MS / 2 && found != n; i++) {
		nanosleep(&pause, NULL);
		found = count_fds(pid);
	}
	cr_expect_eq(found, n, "%d descriptors are open, not %d", found, n);
}

/* --- an attach by hand --- */

struct wire_hello hello_right(enum wire_role role)
{
	return (struct wire_hello){
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_HELLO},
		.state_fingerprint = seg_fingerprint(),
		.policy_fingerprint = blob_fingerprint(),
		.role = role,
	};
}

struct sockaddr_un socket_address(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const size_t n = strlen(path);

	cr_assert_lt(n, sizeof(address.sun_path));
	memcpy(address.sun_path, path, n);
	return address;
}

int hello_connect(const char *path)
{
	const struct sockaddr_un address = socket_address(path);
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -errno;
}

int hello_send(int socket, const void *message, size_t size, const int *fds, int n_fds)
{
	union {
		char buf[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {(void *)(uintptr_t)message, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds > 0) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)n_fds * sizeof(int));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

struct hello_answer hello_answer(int socket)
{
	struct hello_answer answer = {.fds = {-1, -1}};
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&answer.message, sizeof(answer.message)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct pollfd p = {.fd = socket, .events = POLLIN};
	const struct cmsghdr *c;

	cr_assert(poll(&p, 1, PATIENCE_MS) == 1, "the supervisor does not answer");
	answer.size = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	if (answer.size < 0)
		answer.size = -errno;
	c = answer.size > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_type == SCM_RIGHTS) {
		answer.n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(answer.fds, CMSG_DATA(c), (size_t)answer.n_fds * sizeof(int));
	}
	return answer;
}

struct hello_answer hello_attach(const char *path, int *ret_socket)
{
	const struct wire_hello hello = hello_right(ROLE_WORKER);
	const int pidfd = open_pidfd(getpid());

	*ret_socket = hello_connect(path);
	cr_assert(pidfd >= 0 && *ret_socket >= 0, "%s: %s", path, strerror(-*ret_socket));
	cr_assert(hello_send(*ret_socket, &hello, sizeof(hello), &pidfd, 1) == 0);
	close(pidfd);
	return hello_answer(*ret_socket);
}
