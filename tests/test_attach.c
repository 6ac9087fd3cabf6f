/*
 * tests/test_attach.c - libration and rationd together: who is refused, and workers in other clocks
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ration/ration.h>

#include "client/client.h"
#include "client/memory.h"
#include "support_rationd.h"

#define NOBODY 65534
#define DAY_NS INT64_C(86400000000000)

/* 1 an hour: what is taken during the test is still taken at its end. */
static const char slow_policy[] =
	"version: 1\n"
	"classes: [interactive]\n"
	"defaults: { delay: 0ms }\n"
	"vendors:\n"
	"  crm:\n"
	"    limits:\n"
	"      - { name: rate, rate: 1/h, burst: 20, scope: [vendor], margin: 0% }\n";

static int take(struct ration_handle *handle, struct ration_denial *denial)
{
	struct ration_ticket ticket;

	return ration_acquire(handle, NULL, 0, &ticket, denial);
}

/* How many are admitted before the first that is not; that one's answer in *denial. */
static int drain(struct ration_handle *handle, struct ration_denial *denial)
{
	int n = 0;

	while (n < 100 && take(handle, denial) == 0)
		n++;
	return n;
}

static int resolve(struct ration *ration, struct ration_handle **ret_handle)
{
	const struct ration_key key = {.vendor = "crm", .traffic_class = "interactive"};

	return ration_resolve(ration, &key, ret_handle, NULL);
}

/* --- users --- */

static int attach_as(const char *path, uid_t uid, const char *wanted)
{
	const pid_t pid = fork();

	if (pid == 0) {
		struct ration *ration = NULL;
		struct ration_error error = {""};
		int code;

		if (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0)
			_exit(99);
		code = ration_attach(path, 0, &ration, &error);
		if (!strstr(error.text, wanted) || (code != 0) == (ration != NULL))
			_exit(98);
		_exit(-code);
	}
	return wait_child(pid);
}

Test(attach_refused, a_user_who_is_not_allowed)
{
	struct rationd r;

	if (getuid() != 0)
		cr_skip_test("only root can become somebody else");
	rationd_start(&r, slow_policy, (const char *[]){"--allow-user", "4321", NULL});
	cr_expect_eq(attach_as(r.socket, NOBODY, ""), EACCES, "by the modes of the files");
	rationd_open_to_all(&r);
	cr_expect_eq(attach_as(r.socket, NOBODY, "user 65534, group 65534 may not attach"), EACCES);
	cr_expect_eq(attach_as(r.socket, 4321, ""), 0);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* --- segments that are not what they should be: a supervisor by hand --- */

struct offer {
	int state_fd;
	uint64_t state_size;
	int policy_fd;
	uint64_t policy_size;
};

static int listen_at(const char *path)
{
	const struct sockaddr_un address = socket_address(path);
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
		  listen(fd, 1) == 0);
	return fd;
}

static void welcome_with(int listening, const struct offer *offer)
{
	const struct wire_welcome welcome = {
		.head = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = WIRE_WELCOME},
		.state_size = offer->state_size,
		.policy_size = offer->policy_size,
		.policy_generation = 1,
		.worker = 1,
		.wall_offset_ns = clock_wall_offset_ns(),
	};
	const int fds[2] = {offer->state_fd, offer->policy_fd};
	const int socket = accept(listening, NULL, NULL);
	struct wire_hello hello;

	if (recv(socket, &hello, sizeof(hello), 0) != (ssize_t)sizeof(hello) ||
	    hello_send(socket, &welcome, sizeof(welcome), fds, 2) != 0)
		_exit(1);
	(void)recv(socket, &hello, sizeof(hello), 0); /* until the worker hangs up */
	_exit(0);
}

/* What ration_attach() says to a supervisor that offers this. */
static int attach_to(const struct offer *offer, struct ration_error *error)
{
	struct ration *ration = NULL;
	char dir[] = "/tmp/ration-test-XXXXXX", path[64];
	int listening, code;
	pid_t pid;

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	listening = listen_at(path);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		welcome_with(listening, offer);
	}
	close(listening);
	code = ration_attach(path, 0, &ration, error);
	ration_detach(&ration);
	cr_expect_eq(wait_child(pid), 0);
	unlink(path);
	rmdir(dir);
	return code;
}

/* Real ones, of a real supervisor. */
static struct offer good_offer(const struct rationd *r)
{
	int socket;
	const struct hello_answer answer = hello_attach(r->socket, &socket);

	cr_assert_eq(answer.n_fds, 2);
	return (struct offer){
		.state_fd = answer.fds[0],
		.state_size = answer.message.welcome.state_size,
		.policy_fd = answer.fds[1],
		.policy_size = answer.message.welcome.policy_size,
	};
}

/* A sealed copy of a state, which the caller may spoil first. */
static int copy_state(const struct offer *offer, void (*spoil)(struct seg_header *header))
{
	const int fd = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *from = mmap(NULL, offer->state_size, PROT_READ, MAP_SHARED, offer->state_fd, 0);
	void *to;

	cr_assert(fd >= 0 && from != MAP_FAILED && ftruncate(fd, (off_t)offer->state_size) == 0);
	to = mmap(NULL, offer->state_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert(to != MAP_FAILED);
	memcpy(to, from, offer->state_size);
	spoil(to);
	munmap(to, offer->state_size);
	munmap(from, offer->state_size);
	cr_assert(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	return fd;
}

static void nothing(struct seg_header *header)
{
	(void)header;
}

static void half_made(struct seg_header *header)
{
	header->ready = 0;
}

static void another_fingerprint(struct seg_header *header)
{
	header->fingerprint++;
}

static void another_abi(struct seg_header *header)
{
	header->abi++;
}

static void too_many_buckets(struct seg_header *header)
{
	header->sections[SEC_HOT].count *= 2;
}

Test(attach_refused, a_segment_that_is_half_made_or_of_another_layout)
{
	static const struct {
		void (*spoil)(struct seg_header *header);
		int code;
	} table[] = {
		{nothing, 0},
		{half_made, RATION_ENOTREADY},
		{another_fingerprint, RATION_ELAYOUT},
		{another_abi, RATION_ELAYOUT},
		{too_many_buckets, RATION_ECORRUPT},
	};
	struct ration_error error;
	struct rationd r;
	struct offer good;

	rationd_start(&r, slow_policy, (const char *[]){"--buckets", "64", NULL});
	good = good_offer(&r);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct offer offer = good;

		offer.state_fd = copy_state(&good, table[i].spoil);
		cr_expect_eq(attach_to(&offer, &error), table[i].code, "%zu: %s", i, error.text);
		close(offer.state_fd);
	}
	rationd_stop(&r);
}

Test(attach_refused, memory_that_is_not_what_was_said)
{
	struct ration_error error;
	struct offer good, offer;
	struct rationd r;

	rationd_start(&r, slow_policy, (const char *[]){"--buckets", "64", NULL});
	good = good_offer(&r);
	offer = good;
	offer.state_size -= 4096;
	cr_expect_eq(attach_to(&offer, &error), RATION_ECORRUPT, "a size that is not the file's");
	/* Whoever could shrink it could kill us. */
	offer = good;
	offer.state_fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	cr_assert(ftruncate(offer.state_fd, (off_t)good.state_size) == 0);
	cr_expect_eq(attach_to(&offer, &error), RATION_ECORRUPT, "not sealed");
	offer = good;
	offer.policy_fd = copy_state(&good, nothing);
	offer.policy_size = good.state_size;
	cr_expect_eq(attach_to(&offer, &error), RATION_EPOLICY, "a policy that can be written");
	rationd_stop(&r);
}

/* --- a layout that the supervisor refuses, in its words --- */

static int refuse_layout(int listening, const char *real)
{
	const int to = hello_connect(real), from = accept(listening, NULL, NULL);
	struct hello_answer answer;
	struct wire_hello hello;

	if (recv(from, &hello, sizeof(hello), 0) != (ssize_t)sizeof(hello))
		return 1;
	hello.state_fingerprint = 0x1234;
	if (hello_send(to, &hello, sizeof(hello), NULL, 0) != 0)
		return 2;
	answer = hello_answer(to);
	return send(from, &answer.message, (size_t)answer.size, 0) == answer.size ? 0 : 3;
}

/* The library is honest, so a relay between the two changes what it says. */
Test(attach_refused, a_layout_mismatch_names_both_versions)
{
	struct ration *ration = NULL;
	struct ration_error error = {""};
	struct rationd r;
	char path[128], ours[32];
	int listening;
	pid_t pid;

	rationd_start(&r, slow_policy, NULL);
	snprintf(path, sizeof(path), "%s/relay", r.dir);
	listening = listen_at(path);
	pid = fork();
	if (pid == 0)
		_exit(refuse_layout(listening, r.socket));
	cr_expect_eq(ration_attach(path, 0, &ration, &error), RATION_ELAYOUT);
	cr_expect_null(ration);
	snprintf(ours, sizeof(ours), "%016" PRIx64, seg_fingerprint());
	cr_expect(strstr(error.text, ours), "%s", error.text);
	cr_expect(strstr(error.text, "0000000000001234"), "%s", error.text);
	cr_expect(strstr(error.text, "rationd " RATION_VERSION), "%s", error.text);
	cr_expect_eq(wait_child(pid), 0);
	rationd_stop(&r);
}

/* --- time namespaces --- */

/* Children of this process live a day later from now on. False, with the reason: not possible here. */
static bool shift_clocks_of_children(const char **ret_why)
{
	static const char offsets[] = "monotonic 86400 0\nboottime 86400 0\n";
	int fd;

	*ret_why = "making a time namespace needs root and CONFIG_TIME_NS";
	if (unshare(CLONE_NEWTIME) < 0)
		return false;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, offsets, sizeof(offsets) - 1) < 0)
		return false;
	close(fd);
	return true;
}

/* Codes of what went wrong in a child whose clock is a day ahead. */
enum {
	WELL,
	CLOCK_NOT_SHIFTED = 10,
	NO_ATTACH,
	NO_RESOLVE,
	WRONG_NUMBER,
	NOT_DENIED,
	WRONG_RETRY_IN,
	WRONG_RETRY_AT,
};

/* Everything a shifted worker must see: 8 are left of 20, and then an hour's wait by its own clock. */
static int use_what_is_left(struct ration_handle *handle)
{
	struct ration_denial denial;
	const uint64_t before = clock_boot_ns();

	if (drain(handle, &denial) != 8)
		return WRONG_NUMBER;
	if (take(handle, &denial) != RATION_DENIED)
		return NOT_DENIED;
	if (denial.retry_in_ns > UINT64_C(3600000000000) ||
	    denial.retry_in_ns < UINT64_C(3500000000000))
		return WRONG_RETRY_IN;
	if (denial.retry_at_ns < before ||
	    denial.retry_at_ns > clock_boot_ns() + UINT64_C(3700000000000))
		return WRONG_RETRY_AT;
	return WELL;
}

static int shifted_worker(const char *path, int64_t parents_offset)
{
	struct ration *ration = NULL;
	struct ration_handle *handle = NULL;

	if (llabs(parents_offset - clock_wall_offset_ns() - DAY_NS) > DAY_NS / 24)
		return CLOCK_NOT_SHIFTED;
	if (ration_attach(path, 0, &ration, NULL) != 0)
		return NO_ATTACH;
	if (resolve(ration, &handle) != 0)
		return NO_RESOLVE;
	return use_what_is_left(handle);
}

static void expect_locked_for_an_hour_only(struct ration_handle *handle)
{
	struct ration_denial denial;

	cr_expect_eq(take(handle, &denial), RATION_DENIED);
	cr_expect_leq(denial.retry_in_ns, UINT64_C(3600000000000),
		      "a day ahead would be %" PRIu64 " s", denial.retry_in_ns / 1000000000);
}

/* Without correction it would find a day's worth of refill, and leave the bucket locked for a day. */
Test(attach_clock, a_worker_in_another_time_namespace)
{
	const int64_t offset = clock_wall_offset_ns();
	struct ration_handle *handle = NULL;
	struct ration *ration = NULL;
	struct rationd r;
	const char *why;
	pid_t pid;

	rationd_start(&r, slow_policy, NULL);
	cr_assert_eq(ration_attach(r.socket, 0, &ration, NULL), 0);
	cr_assert_eq(resolve(ration, &handle), 0);
	for (int i = 0; i < 12; i++)
		cr_assert_eq(take(handle, NULL), 0);
	if (!shift_clocks_of_children(&why)) {
		rationd_stop(&r);
		cr_skip_test("%s", why);
	}
	pid = fork();
	if (pid == 0)
		_exit(shifted_worker(r.socket, offset));
	cr_expect_eq(wait_child(pid), WELL);
	expect_locked_for_an_hour_only(handle);
	ration_handle_free(&handle);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&r), 0);
}

/* The same for one that inherits attachment and handle: its clock is compared anew. */
Test(attach_clock, a_child_forked_into_another_time_namespace)
{
	struct ration_handle *handle = NULL;
	struct ration *ration = NULL;
	struct rationd r;
	const char *why;
	pid_t pid;

	rationd_start(&r, slow_policy, NULL);
	cr_assert_eq(ration_attach(r.socket, 0, &ration, NULL), 0);
	cr_assert_eq(resolve(ration, &handle), 0);
	for (int i = 0; i < 12; i++)
		cr_assert_eq(take(handle, NULL), 0);
	if (!shift_clocks_of_children(&why)) {
		rationd_stop(&r);
		cr_skip_test("%s", why);
	}
	pid = fork();
	if (pid == 0)
		_exit(use_what_is_left(handle));
	cr_expect_eq(wait_child(pid), WELL);
	expect_locked_for_an_hour_only(handle);
	ration_handle_free(&handle);
	ration_detach(&ration);
	cr_expect_eq(rationd_stop(&r), 0);
}
