/*
 * tests/test_supervisor_attach.c - who gets in, and what they are handed (sockets by hand)
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/memory.h"
#include "shm/worker.h"
#include "support_rationd.h"

#define NOBODY 65534

static void expect_refused(struct hello_answer answer, int code, const char *text)
{
	cr_assert_eq(answer.size, sizeof(answer.message.refuse), "size %zd", answer.size);
	cr_expect_eq(answer.message.head.type, WIRE_REFUSE);
	cr_expect_eq(answer.message.refuse.code, code, "%d: %s", answer.message.refuse.code,
		     answer.message.refuse.text);
	cr_expect(strstr(answer.message.refuse.text, text), "%s", answer.message.refuse.text);
	cr_expect_eq(answer.n_fds, 0);
}

/* One packet, one answer. */
static struct hello_answer converse(const struct rationd *r, const void *message, size_t size,
				    const int *fds, int n_fds)
{
	const int socket = hello_connect(r->socket);
	struct hello_answer answer;

	cr_assert(socket >= 0);
	cr_assert(hello_send(socket, message, size, fds, n_fds) == 0);
	answer = hello_answer(socket);
	close(socket);
	return answer;
}

/* --- what a worker gets --- */

Test(supervisor_attach, a_worker_gets_state_and_policy)
{
	struct hello_answer answer;
	struct blob blob;
	struct rationd r;
	struct seg seg;
	int socket;

	rationd_start(&r, rationd_plain_policy,
		      (const char *[]){"--buckets", "100", "--workers", "3", NULL});
	answer = hello_attach(r.socket, &socket);
	cr_assert_eq(answer.size, sizeof(answer.message.welcome));
	cr_assert_eq(answer.n_fds, 2);
	cr_assert_eq(memory_map_state(answer.fds[0], answer.message.welcome.state_size, true, &seg),
		     0);
	cr_assert_eq(memory_map_policy(answer.fds[1], answer.message.welcome.policy_size, &blob),
		     0);
	cr_expect_eq(seg.n_buckets, 100);
	cr_expect_eq(seg.n_workers, 3 + 1, "and the supervisor's own");
	cr_expect_eq(blob.n_limits, 1);
	cr_expect_eq(answer.message.welcome.policy_generation, 1);
	cr_expect_eq(answer.message.welcome.slot, 0);
	cr_expect_eq(worker_pid(answer.message.welcome.worker), (uint32_t)getpid());
	cr_expect_eq(shm_load(&seg.workers[0].identity), answer.message.welcome.worker);
	cr_expect_lt(llabs(answer.message.welcome.wall_offset_ns - clock_wall_offset_ns()),
		     INT64_C(1000000000));
	rationd_stop(&r);
}

/* No SIGBUS, whatever a worker does: nobody can change the size of what others have mapped. */
Test(supervisor_attach, state_can_neither_shrink_nor_grow)
{
	struct hello_answer answer;
	struct rationd r;
	struct stat st;
	int socket;

	rationd_start(&r, rationd_plain_policy, NULL);
	answer = hello_attach(r.socket, &socket);
	cr_assert_eq(answer.n_fds, 2);
	cr_assert(fstat(answer.fds[0], &st) == 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_geq((uint64_t)st.st_blocks * 512, answer.message.welcome.state_size,
		      "all of it is allocated");
	cr_expect(ftruncate(answer.fds[0], 4096) < 0 && errno == EPERM);
	cr_expect(ftruncate(answer.fds[0], st.st_size + 4096) < 0 && errno == EPERM);
	cr_expect(fcntl(answer.fds[0], F_ADD_SEALS, F_SEAL_WRITE) < 0);
	rationd_stop(&r);
}

Test(supervisor_attach, a_policy_cannot_be_written)
{
	struct hello_answer answer;
	struct rationd r;
	char path[64];
	int socket, again;

	rationd_start(&r, rationd_plain_policy, NULL);
	answer = hello_attach(r.socket, &socket);
	cr_assert_eq(answer.n_fds, 2);
	cr_expect(pwrite(answer.fds[1], "x", 1, 0) < 0);
	cr_expect(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, answer.fds[1], 0) == MAP_FAILED);
	cr_expect(ftruncate(answer.fds[1], 0) < 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", answer.fds[1]);
	again = open(path, O_RDWR | O_CLOEXEC);
	cr_expect(again < 0 || pwrite(again, "x", 1, 0) < 0);
	rationd_stop(&r);
}

/* --- observers --- */

static struct hello_answer observe(const struct rationd *r)
{
	const struct wire_hello hello = hello_right(ROLE_OBSERVER);

	return converse(r, &hello, sizeof(hello), NULL, 0);
}

static int try_to_write(int fd, bool as_another)
{
	char path[64];
	void *mem = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED || mprotect(mem, 4096, PROT_READ | PROT_WRITE) == 0)
		return 1;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		return 2;
	if (pwrite(fd, "x", 1, 0) >= 0)
		return 3;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (as_another && open(path, O_RDWR | O_CLOEXEC) >= 0)
		return 4;
	return 0;
}

static void drop_to(uid_t uid, gid_t gid, const gid_t *groups, size_t n)
{
	if (setgroups(n, groups) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		_exit(99);
}

Test(supervisor_attach, an_observer_cannot_write)
{
	const bool root = getuid() == 0;
	struct hello_answer answer;
	struct rationd r;
	pid_t pid;

	rationd_start(&r, rationd_plain_policy, (const char *[]){"--workers", "1", NULL});
	for (int i = 0; i < 3; i++) {
		answer = observe(&r);
		cr_assert_eq(answer.message.head.type, WIRE_WELCOME);
		cr_expect_eq(answer.message.welcome.worker, 0, "no slot is taken");
		cr_assert_eq(answer.n_fds, 2);
	}
	pid = fork();
	if (pid == 0) {
		if (root)
			drop_to(NOBODY, NOBODY, NULL, 0);
		_exit(try_to_write(answer.fds[0], root));
	}
	cr_expect_eq(wait_child(pid), 0);
	if (!root)
		cr_log_info("not root: reopening as another user was not tried");
	rationd_stop(&r);
}

Test(supervisor_attach, an_observer_sends_no_descriptor)
{
	const struct wire_hello hello = hello_right(ROLE_OBSERVER);
	const int pidfd = open_pidfd(getpid());
	struct rationd r;

	rationd_start(&r, rationd_plain_policy, NULL);
	expect_refused(converse(&r, &hello, sizeof(hello), &pidfd, 1), -EPROTO, "no descriptor");
	rationd_stop(&r);
}

/* --- users and groups --- */

/* In a child that has become somebody else: 0 welcomed, 1 refused with -EACCES, 2 anything else. */
static int attach_as(const struct rationd *r, uid_t uid, gid_t gid, const gid_t *groups, size_t n)
{
	const pid_t pid = fork();

	if (pid == 0) {
		struct hello_answer answer;
		int socket;

		drop_to(uid, gid, groups, n);
		/* By hand up to the answer: a refusal may come, and the socket close, before the hello
		 * is sent. */
		socket = hello_connect(r->socket);
		if (socket >= 0) {
			const struct wire_hello hello = hello_right(ROLE_WORKER);
			const int pidfd = open_pidfd(getpid());

			(void)hello_send(socket, &hello, sizeof(hello), &pidfd, 1);
		}
		answer = hello_answer(socket);
		if (answer.message.head.type == WIRE_WELCOME)
			_exit(0);
		_exit(answer.message.head.type == WIRE_REFUSE &&
				      answer.message.refuse.code == -EACCES
			      ? 1
			      : 2);
	}
	return wait_child(pid);
}

Test(supervisor_attach, other_users_are_refused)
{
	static const gid_t some[] = {4242, 4243};
	struct rationd r;
	char line[64];

	if (getuid() != 0)
		cr_skip_test("only root can become somebody else");
	rationd_start(&r, rationd_plain_policy,
		      (const char *[]){"--allow-user", "1234", "--allow-group", "4243", NULL});
	rationd_open_to_all(&r);
	cr_expect_eq(attach_as(&r, NOBODY, NOBODY, NULL, 0), 1);
	cr_expect_eq(attach_as(&r, NOBODY, NOBODY, some, 1), 1);
	cr_expect_eq(attach_as(&r, NOBODY, 1234, NULL, 0), 1, "a group is not a user");
	cr_expect_eq(attach_as(&r, 4243, NOBODY, NULL, 0), 1, "a user is not a group");
	snprintf(line, sizeof(line), "uid=%d gid=%d code=%d", NOBODY, NOBODY, -EACCES);
	rationd_expect_log(&r, line, 2);
	cr_expect_eq(attach_as(&r, 1234, NOBODY, NULL, 0), 0, "allowed by number");
	cr_expect_eq(attach_as(&r, NOBODY, 4243, NULL, 0), 0, "allowed by primary group");
	cr_expect_eq(attach_as(&r, NOBODY, NOBODY, some, 2), 0, "allowed by supplementary group");
	cr_expect_eq(attach_as(&r, 0, 0, NULL, 0), 0, "root always is");
	cr_expect_eq(rationd_stop(&r), 0);
}

Test(supervisor_attach, names_of_users_and_groups)
{
	struct rationd r;

	if (getuid() != 0)
		cr_skip_test("only root can become somebody else");
	rationd_start(&r, rationd_plain_policy,
		      (const char *[]){"--allow-user", "nobody", "--allow-group", "daemon", NULL});
	rationd_open_to_all(&r);
	cr_expect_eq(attach_as(&r, NOBODY, 4242, NULL, 0), 0);
	cr_expect_eq(attach_as(&r, 4242, 1, NULL, 0), 0);
	cr_expect_eq(attach_as(&r, 4242, 4242, NULL, 0), 1);
	rationd_stop(&r);
}

/* --- layouts --- */

Test(supervisor_attach, another_layout_is_named)
{
	const int pidfd = open_pidfd(getpid());
	struct wire_hello hello = hello_right(ROLE_WORKER);
	struct rationd r;
	char ours[32];

	rationd_start(&r, rationd_plain_policy, NULL);
	hello.state_fingerprint = UINT64_C(0x1122334455667788);
	expect_refused(converse(&r, &hello, sizeof(hello), &pidfd, 1), RATION_ELAYOUT,
		       "1122334455667788");
	snprintf(ours, sizeof(ours), "%016" PRIx64, seg_fingerprint());
	expect_refused(converse(&r, &hello, sizeof(hello), &pidfd, 1), RATION_ELAYOUT, ours);
	hello = hello_right(ROLE_WORKER);
	hello.policy_fingerprint = 0xabc;
	expect_refused(converse(&r, &hello, sizeof(hello), &pidfd, 1), RATION_ELAYOUT,
		       "0000000000000abc");
	expect_refused(converse(&r, &hello, sizeof(hello), &pidfd, 1), RATION_ELAYOUT,
		       "rationd " RATION_VERSION);
	rationd_stop(&r);
}

/* What another version sends is not ours to measure: its head alone says so. */
Test(supervisor_attach, another_abi_is_named_whatever_its_size)
{
	struct {
		struct wire_hello hello;
		char more[100];
	} big = {.hello = hello_right(ROLE_WORKER)};
	struct rationd r;

	big.hello.head.abi = 7;
	rationd_start(&r, rationd_plain_policy, NULL);
	expect_refused(converse(&r, &big, sizeof(big), NULL, 0), RATION_ELAYOUT,
		       "the library has wire ABI 7");
	expect_refused(converse(&r, &big, sizeof(big.hello.head), NULL, 0), RATION_ELAYOUT,
		       "rationd " RATION_VERSION " has wire ABI 2");
	rationd_stop(&r);
}

/* --- garbage --- */

static void send_garbage(const struct rationd *r)
{
	static char huge[100000];
	const struct wire_hello right = hello_right(ROLE_WORKER);
	struct wire_hello hello;

	expect_refused(converse(r, "x", 1, NULL, 0), -EPROTO, "no hello");
	expect_refused(converse(r, huge, sizeof(huge), NULL, 0), -EPROTO, "no hello");
	expect_refused(converse(r, huge, sizeof(right), NULL, 0), -EPROTO, "no hello");
	expect_refused(converse(r, "", 0, NULL, 0), -EPROTO, "no hello");
	memcpy(huge, &right, sizeof(right));
	expect_refused(converse(r, huge, sizeof(huge), NULL, 0), -EPROTO, "one packet");
	memset(huge, 0, sizeof(right));
	expect_refused(converse(r, &right, sizeof(right) - 1, NULL, 0), -EPROTO, "one packet");
	expect_refused(converse(r, &right, sizeof(right), NULL, 0), -EPROTO, "its pidfd (got 0)");
	hello = right;
	hello.role = 99;
	expect_refused(converse(r, &hello, sizeof(hello), NULL, 0), -EPROTO, "no role 99");
	hello = right;
	hello.head.type = WIRE_WELCOME;
	expect_refused(converse(r, &hello, sizeof(hello), NULL, 0), -EPROTO, "one packet");
}

static void send_descriptors(const struct rationd *r)
{
	const struct wire_hello right = hello_right(ROLE_WORKER);
	int fds[200];

	for (int i = 0; i < 200; i++)
		fds[i] = STDERR_FILENO;
	expect_refused(converse(r, &right, sizeof(right), fds, 1), -EPROTO, "no pidfd");
	expect_refused(converse(r, &right, sizeof(right), fds, 2), -EPROTO, "its pidfd (got 2)");
	expect_refused(converse(r, &right, sizeof(right), fds, 200), -EPROTO, "one packet");
	expect_refused(converse(r, "x", 1, fds, 200), -EPROTO, "no hello");
}

Test(supervisor_attach, garbage_is_refused_in_words_and_leaks_nothing)
{
	struct rationd r;
	int socket, before;

	rationd_start(&r, rationd_plain_policy, NULL);
	send_garbage(&r);
	/* Attached and answered: all that came before has been dealt with. */
	cr_assert_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	before = count_fds(r.pid);
	for (int i = 0; i < 20; i++) {
		send_garbage(&r);
		send_descriptors(&r);
	}
	cr_assert_eq(observe(&r).message.head.type, WIRE_WELCOME);
	expect_fds(r.pid, before);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* Anybody who may connect can cause refusals; the log must not grow with them. */
Test(supervisor_attach, refusals_do_not_flood_the_log)
{
	struct rationd r;
	int lines = 0;

	rationd_start(&r, rationd_plain_policy, NULL);
	for (int i = 0; i < 300; i++)
		converse(&r, "x", 1, NULL, 0);
	cr_expect_eq(rationd_stop(&r), 0);
	for (const char *at = r.log; (at = strstr(at, "event=refused")); at++)
		lines++;
	cr_expect(lines >= 20 && lines <= 60, "%d lines", lines);
}

Test(supervisor_attach, a_worker_that_keeps_talking_is_cut_off)
{
	struct hello_answer answer;
	struct rationd r;
	int socket;

	rationd_start(&r, rationd_plain_policy, NULL);
	answer = hello_attach(r.socket, &socket);
	cr_assert_eq(answer.message.head.type, WIRE_WELCOME);
	cr_assert_eq(hello_send(socket, "chatter", 7, answer.fds, 2), 0);
	rationd_expect_log(&r, "event=detached slot=0", 1);
	cr_expect_leq(hello_answer(socket).size, 0);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* --- pidfds --- */

Test(supervisor_attach, the_pidfd_must_be_of_the_process_that_connected)
{
	const struct wire_hello hello = hello_right(ROLE_WORKER);
	struct rationd r;
	int other, pipe_fds[2];
	pid_t pid;

	rationd_start(&r, rationd_plain_policy, NULL);
	cr_assert(pipe(pipe_fds) == 0);
	pid = fork();
	if (pid == 0) {
		char byte;

		close(pipe_fds[1]);
		_exit((int)read(pipe_fds[0], &byte, 1));
	}
	other = open_pidfd(pid);
	expect_refused(converse(&r, &hello, sizeof(hello), &other, 1), -EPROTO,
		       "the connection of process");
	close(pipe_fds[1]);
	cr_expect_eq(wait_child(pid), 0);
	expect_refused(converse(&r, &hello, sizeof(hello), &other, 1), -ESRCH, "dead");
	rationd_stop(&r);
}

/* --- half-open connections --- */

Test(supervisor_attach, silent_connections_are_bounded_and_lock_nobody_out)
{
	enum { MANY = 300 };
	struct rationd r;
	int silent[MANY], socket, before;

	rationd_start(&r, rationd_plain_policy, NULL);
	cr_assert_eq(observe(&r).message.head.type, WIRE_WELCOME);
	before = count_fds(r.pid);
	for (int i = 0; i < MANY; i++) {
		silent[i] = hello_connect(r.socket);
		cr_assert(silent[i] >= 0);
	}
	/* Another one gets in at once, and the oldest have been told why they had to go. */
	cr_assert_eq(hello_attach(r.socket, &socket).message.head.type, WIRE_WELCOME);
	expect_refused(hello_answer(silent[0]), -EBUSY, "too many");
	expect_refused(hello_answer(silent[MANY - 65]), -EBUSY, "too many");
	cr_expect_leq(count_fds(r.pid), before + 64 + 2);
	for (int i = 0; i < MANY; i++)
		close(silent[i]);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* The one test that waits in real time: the supervisor's own deadline of 5 s. */
Test(supervisor_attach, a_silent_connection_ends_after_its_deadline)
{
	struct rationd r;
	int silent;

	rationd_start(&r, rationd_plain_policy, NULL);
	silent = hello_connect(r.socket);
	cr_assert(silent >= 0);
	expect_refused(hello_answer(silent), -ETIMEDOUT, "no hello within 5 seconds");
	rationd_stop(&r);
}
