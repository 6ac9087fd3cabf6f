/*
 * tests/support_nginx.c - a real nginx in a directory of its own
 * SPDX-License-Identifier: MIT
 */
#include "support_nginx.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* How long anything may take before the test gives up. Nothing that works comes near it. */
enum {
	PATIENCE_MS = 8000,
	STEP_MS = 5,
	PORT_TRIES = 20,
};

static const char head[] =
	"daemon off;\n"
	"master_process off;\n"
	"pid $DIR/pid;\n"
	"error_log $DIR/error.log warn;\n"
	"events { worker_connections 4096; }\n"
	"http {\n"
	"  log_format plain 'c=$connection n=$connection_requests $status $request_method '\n"
	"                   '$request_uri $server_protocol body=$body_bytes_sent';\n"
	"  access_log $DIR/access.log plain;\n"
	"  root $DIR;\n"
	"  client_body_temp_path $DIR/t1; proxy_temp_path $DIR/t2; fastcgi_temp_path $DIR/t3;\n"
	"  uwsgi_temp_path $DIR/t4; scgi_temp_path $DIR/t5;\n";

/* ---- configuration ---- */

static void write_replaced(FILE *file, const struct nginx *nginx, const char *text)
{
	for (; *text; text++) {
		if (!strncmp(text, "$PORT", 5)) {
			fprintf(file, "127.0.0.1:%d", nginx->port);
			text += 4;
		} else if (!strncmp(text, "$TLS_PORT", 9)) {
			fprintf(file, "127.0.0.1:%d", nginx->tls_port);
			text += 8;
		} else if (!strncmp(text, "$DIR", 4)) {
			fputs(nginx->dir, file);
			text += 3;
		} else {
			fputc(*text, file);
		}
	}
}

const char *nginx_path(const struct nginx *nginx, const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", nginx->dir, name);
	return path;
}

const char *nginx_url(const struct nginx *nginx, const char *path)
{
	static char urls[4][256];
	static unsigned next;
	char *url = urls[next++ % 4];

	snprintf(url, sizeof(urls[0]), "http://127.0.0.1:%d%s", nginx->port, path);
	return url;
}

static void write_config(const struct nginx *nginx, const char *http)
{
	FILE *file = fopen(nginx_path(nginx, "nginx.conf"), "w");

	cr_assert(file, "%s: %s", nginx->dir, strerror(errno));
	if (geteuid() == 0)
		fputs("user root;\n", file);
	write_replaced(file, nginx, head);
	write_replaced(file, nginx, http);
	fputs("\n}\n", file);
	cr_assert_eq(fclose(file), 0);
}

void nginx_file(const struct nginx *nginx, const char *name, size_t size)
{
	FILE *file = fopen(nginx_path(nginx, name), "w");

	cr_assert(file);
	for (size_t i = 0; i < size; i++)
		fputc('a' + (int)(i % 26), file);
	cr_assert_eq(fclose(file), 0);
}

/* ---- process ---- */

static int free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&address, size) &&
		  !getsockname(fd, (struct sockaddr *)&address, &size));
	close(fd);
	return ntohs(address.sin_port);
}

static bool answers(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = !connect(fd, (struct sockaddr *)&address, sizeof(address));

	close(fd);
	return yes;
}

static void become_nginx(const struct nginx *nginx)
{
	const char *log = nginx_path(nginx, "stderr");
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd >= 0 && dup2(fd, 2) == 2)
		execlp("nginx", "nginx", "-p", nginx->dir, "-e", nginx_path(nginx, "error.log"),
		       "-c", nginx_path(nginx, "nginx.conf"), (char *)NULL);
	_exit(127);
}

/* False if it ended instead: somebody else has taken the port meanwhile. */
static bool wait_until_it_answers(struct nginx *nginx)
{
	int status;

	for (int ms = 0; ms < PATIENCE_MS; ms += STEP_MS) {
		if (waitpid(nginx->pid, &status, WNOHANG) == nginx->pid) {
			cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 127,
				  "nginx is not installed");
			nginx->pid = 0;
			return false;
		}
		if (answers(nginx->port) && !waitpid(nginx->pid, &status, WNOHANG))
			return true;
		poll(NULL, 0, STEP_MS);
	}
	cr_assert_fail("nginx in %s does not answer", nginx->dir);
	return false;
}

static void run_nginx(struct nginx *nginx, const char *http)
{
	for (int i = 0; i < PORT_TRIES; i++) {
		nginx->port = free_port();
		nginx->tls_port = free_port();
		write_config(nginx, http);
		nginx->pid = fork();
		cr_assert(nginx->pid >= 0);
		if (!nginx->pid)
			become_nginx(nginx);
		if (wait_until_it_answers(nginx))
			return;
	}
	cr_assert_fail("nginx does not start: see %s/error.log", nginx->dir);
}

static void make_dir(struct nginx *nginx)
{
	*nginx = (struct nginx){0};
	snprintf(nginx->dir, sizeof(nginx->dir), "/tmp/ration-nginx-XXXXXX");
	cr_assert(mkdtemp(nginx->dir), "mkdtemp: %s", strerror(errno));
}

void nginx_start(struct nginx *nginx, const char *http)
{
	make_dir(nginx);
	run_nginx(nginx, http);
}

void nginx_stop(struct nginx *nginx)
{
	int status;

	if (!nginx->pid)
		return;
	kill(nginx->pid, SIGTERM);
	cr_assert_eq(waitpid(nginx->pid, &status, 0), nginx->pid);
	nginx->pid = 0;
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "nginx ended with %x", status);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void nginx_remove(struct nginx *nginx)
{
	nginx_stop(nginx);
	cr_assert_eq(nftw(nginx->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- certificates ---- */

static void openssl(const struct nginx *nginx, const char *command)
{
	char line[1024], sh[] = "sh", c[] = "-c";
	char *argv[] = {sh, c, line, NULL};
	pid_t pid;
	int status;

	snprintf(line, sizeof(line), "cd %s && openssl %s >>openssl.log 2>&1", nginx->dir, command);
	status = posix_spawnp(&pid, "sh", NULL, NULL, argv, environ);
	cr_assert_eq(status, 0);
	cr_assert(waitpid(pid, &status, 0) == pid && status == 0, "openssl %s", command);
}

static void make_certificates(const struct nginx *nginx)
{
	static const char *const commands[] = {
		"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out "
		"ca.pem "
		"-days 2 -subj /CN=test-authority",
		"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key "
		"-out other.pem -days 2 -subj /CN=another-authority",
		"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key "
		"-out server.csr -subj /CN=localhost",
		"x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 2 -extfile names -out "
		"server.pem",
	};
	FILE *names = fopen(nginx_path(nginx, "names"), "w");

	cr_assert(names && fputs("subjectAltName=DNS:localhost\n", names) >= 0 && !fclose(names));
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		openssl(nginx, commands[i]);
}

void nginx_start_tls(struct nginx *nginx, const char *http)
{
	make_dir(nginx);
	make_certificates(nginx);
	run_nginx(nginx, http);
}

/* ---- log ---- */

static FILE *open_log(const struct nginx *nginx, const char *log)
{
	FILE *file = fopen(nginx_path(nginx, log ? log : "access.log"), "r");

	cr_assert(file, "log of nginx in %s: %s", nginx->dir, strerror(errno));
	return file;
}

int nginx_count(const struct nginx *nginx, const char *log, const char *text)
{
	FILE *file = open_log(nginx, log);
	char line[4096];
	int n = 0;

	while (fgets(line, sizeof(line), file))
		n += strstr(line, text) != NULL;
	fclose(file);
	return n;
}

/* Its numbers only ever grow, but lines are in order of the ends of requests. */
int nginx_connections(const struct nginx *nginx, const char *log)
{
	FILE *file = open_log(nginx, log);
	static unsigned long seen[65536];
	unsigned long connection;
	char line[4096];
	int n = 0, i;

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "c=%lu", &connection) != 1)
			continue;
		for (i = 0; i < n && seen[i] != connection; i++)
			;
		if (i == n && n < 65536)
			seen[n++] = connection;
	}
	fclose(file);
	return n;
}
