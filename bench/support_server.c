/*
 * bench/support_server.c - a server of the benchmark's own, in a directory that vanishes
 * SPDX-License-Identifier: MIT
 */
#include "support_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
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

	if (strchr(name, '/'))
		return name;
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
	char buf[4096];
	const char *program = find_program(argv[0], buf, sizeof(buf));

	if (!program)
		return false;
	fflush(NULL);
	server->pid = fork();
	if (server->pid == 0)
		run_program(server, program, argv);
	if (server->pid < 0)
		server->pid = 0;
	return server->pid > 0;
}

static int try_connect(const struct sockaddr *address, socklen_t size)
{
	const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, address, size) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A program that has ended never answers. */
bool server_runs(const struct server *server)
{
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
		return info.si_pid == 0;
	return kill(server->pid, 0) == 0; /* we are not who started it */
}

static void show_log(const struct server *server)
{
	char path[128], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", server->dir);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		fputs(line, stderr);
	if (file)
		fclose(file);
}

static int connect_patiently(const struct server *server, const void *address, socklen_t size)
{
	static const struct timespec pause = {.tv_nsec = 10000000};

	for (int i = 0; i < 500 && server_runs(server); i++) {
		const int fd = try_connect(address, size);

		if (fd >= 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	show_log(server);
	return -1;
}

int server_connect_unix(const struct server *server, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", server->dir, name);
	return connect_patiently(server, &address, sizeof(address));
}

int server_connect_tcp(const struct server *server, unsigned port)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	return connect_patiently(server, &address, sizeof(address));
}

unsigned server_free_port(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (bind(fd, (const struct sockaddr *)&address, size) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) != 0)
		address.sin_port = 0;
	close(fd);
	return ntohs(address.sin_port);
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
