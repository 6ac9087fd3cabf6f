/*
 * examples/worker.c - a small worker: takes a permit before each piece of work
 * SPDX-License-Identifier: MIT
 *
 * Usage: worker TENANT VENDOR CLASS COUNT
 * Finds the supervisor at $RATION_SOCKET or the usual places. Where this prints a line, yours sends its request.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <ration/ration.h>

/* Ten seconds from now, as ration_acquire_until() takes it. */
static uint64_t deadline(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)(now.tv_sec + 10) * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One piece of work: what was taken, and what was really used. */
static int work(struct ration *ration, struct ration_handle *handle, int number)
{
	const struct ration_cost estimate = {"requests", 1};
	struct ration_ticket ticket;
	struct ration_denial denial;
	char text[512];
	int r = ration_acquire_until(handle, &estimate, 1, deadline(), &ticket, &denial);

	if (r == RATION_DENIED || r == RATION_OVERSIZE) {
		ration_denial_text(&denial, handle, text, sizeof(text));
		fprintf(stderr, "worker: %s\n", text);
		return -1;
	}
	if (r != 0) {
		fprintf(stderr, "worker: %s\n", ration_strerror(r));
		return -1;
	}
	printf("request %d may go\n", number);
	return ration_settle(ration, &ticket, &estimate, 1);
}

int main(int argc, char **argv)
{
	struct ration_handle *handle = NULL;
	struct ration *ration = NULL;
	struct ration_error error;
	int r = 0;

	if (argc != 5) {
		fprintf(stderr, "usage: worker TENANT VENDOR CLASS COUNT\n");
		return 64;
	}
	const struct ration_key key = {
		.tenant = argv[1], .vendor = argv[2], .traffic_class = argv[3]};

	if (ration_attach(NULL, 0, &ration, &error) != 0 ||
	    ration_resolve(ration, &key, &handle, &error) != 0) {
		fprintf(stderr, "worker: %s\n", error.text);
		ration_detach(&ration);
		return 69;
	}
	for (int i = 1; i <= atoi(argv[4]) && r == 0; i++)
		r = work(ration, handle, i);
	ration_handle_free(&handle);
	ration_detach(&ration);
	return r == 0 ? 0 : 75;
}
