/*
 * bench/support_server.c - a server of the benchmark's own, in a directory that vanishes
 * SPDX-License-Identifier: MIT
 */
#include "support_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool server_dir(struct server *server)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(server->dir, sizeof(server->dir), "%s/ration-bench.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(server->dir)) {
		perror("bench: cannot make a directory for temporary files");
		server->dir[0] = '\0';
		return false;
	}
	return true;
}

bool server_file(const struct server *server, const char *name, const char *text)
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", server->dir, name);
	file = fopen(path, "w");
	ok = file && fputs(text, file) >= 0;
	if (file && fclose(file) != 0)
		ok = false;
	if (!ok)
		fprintf(stderr, "bench: cannot write %s: %s\n", path, strerror(errno));
	return ok;
}

static const char *find_program(const char *name, char *buf, size_t size)
{
	const char *path = getenv("PATH");
	char *places, *place, *rest;

	if (asprintf(&places, "%s:/usr/local/sbin:/usr/sbin:/sbin", path ? path : "/usr/bin") < 0)
		return NULL;
	rest = places;
	while ((place = strsep(&rest, ":"))) {
		snprintf(buf, size, "%s/%s", place, name);
		if (access(buf, X_OK) == 0)
			break;
	}
	free(places);
	return place ? buf : NULL;
}

static _Noreturn void run_program(const struct server *server, const char *program,
				  const char *const argv[])
{
	char log[128];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	snprintf(log, sizeof(log), "%s/log", server->dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	execv(program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

bool server_start(struct server *server, const char *const argv[])
{
	char program[4096];

	if (!find_program(argv[0], program, sizeof(program)))
		return false;
	fflush(NULL);
	server->pid = fork();
	if (server->pid == 0)
		run_program(server, program, argv);
	if (server->pid < 0)
		server->pid = 0;
	return server->pid > 0;
}

static int try_connect(const struct sockaddr_un *address)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return fd;
	close(fd);
	return -1;
}

int server_connect(const struct server *server, const char *name)
{
	static const struct timespec pause = {.tv_nsec = 10000000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", server->dir, name);
	for (int i = 0; i < 500; i++) {
		const int fd = try_connect(&address);

		if (fd >= 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	fprintf(stderr, "bench: nobody answers at %s (its last words are in %s/log)\n",
		address.sun_path, server->dir);
	return -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void server_stop(struct server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGTERM);
		waitpid(server->pid, NULL, 0);
		server->pid = 0;
	}
	if (server->dir[0])
		nftw(server->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	server->dir[0] = '\0';
}
