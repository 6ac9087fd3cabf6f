/*
 * supervisor/options.c - what the command line says
 * SPDX-License-Identifier: MIT
 */
#include "supervisor/options.h"

#include <bsd/stdlib.h>
#include <bsd/string.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <ration/ration.h>

#include "policy/scalar.h"
#include "supervisor/metrics.h"

#define DEFAULT_POLICY  "/etc/ration/policy.yaml"
#define DEFAULT_BUCKETS 65536u
#define DEFAULT_WORKERS 256u
#define DEFAULT_PERIOD  UINT64_C(1000000000)
#define PERIOD_MIN_NS   UINT64_C(10000000)
#define PERIOD_MAX_NS   (UINT64_C(3600) * 1000000000)

static int usage_error(const char *what, const char *value)
{
	fprintf(stderr, "rationd: %s '%s' (see rationd --help)\n", what, value);
	return EX_USAGE;
}

static int set_policy(struct options *o, const char *value)
{
	o->policy = value;
	return *value ? 0 : usage_error("--policy needs a file, not", value);
}

static int set_socket(struct options *o, const char *value)
{
	o->address.sun_family = AF_UNIX;
	if (*value == '\0')
		return usage_error("--socket needs a path, not", value);
	if (strlcpy(o->address.sun_path, value, sizeof(o->address.sun_path)) >=
	    sizeof(o->address.sun_path))
		return usage_error("longer than a socket's path may be (107 bytes):", value);
	return 0;
}

static int set_number(uint32_t *number, const char *value, uint32_t max, const char *what)
{
	const char *problem = NULL;
	const long long n = strtonum(value, 1, max, &problem);

	if (problem) {
		fprintf(stderr, "rationd: %s '%s' is %s (1 ... %u)\n", what, value, problem, max);
		return EX_USAGE;
	}
	*number = (uint32_t)n;
	return 0;
}

static int set_buckets(struct options *o, const char *value)
{
	return set_number(&o->config.buckets, value, SEG_BUCKETS_MAX, "--buckets");
}

static int set_workers(struct options *o, const char *value)
{
	return set_number(&o->config.workers, value, SEG_WORKERS_MAX - 1, "--workers");
}

/* An id in digits is taken as it stands: a container's users need not have names here. */
static bool numeric_id(const char *value, uint32_t *ret_id)
{
	const char *problem = NULL;
	const long long id = strtonum(value, 0, UINT32_MAX - 1, &problem);

	if (problem || strspn(value, "0123456789") != strlen(value))
		return false;
	*ret_id = (uint32_t)id;
	return true;
}

static int allow_user(struct options *o, const char *value)
{
	const struct passwd *entry;
	uint32_t id;

	if (o->access.n_users == ACCESS_MAX)
		return usage_error("too many --allow-user at", value);
	if (!numeric_id(value, &id)) {
		entry = getpwnam(value);
		if (!entry)
			return usage_error("no such user:", value);
		id = entry->pw_uid;
	}
	o->access.users[o->access.n_users++] = id;
	o->access_given = true;
	return 0;
}

static int allow_group(struct options *o, const char *value)
{
	const struct group *entry;
	uint32_t id;

	if (o->access.n_groups == ACCESS_MAX)
		return usage_error("too many --allow-group at", value);
	if (!numeric_id(value, &id)) {
		entry = getgrnam(value);
		if (!entry)
			return usage_error("no such group:", value);
		id = entry->gr_gid;
	}
	o->access.groups[o->access.n_groups++] = id;
	o->access_given = true;
	return 0;
}

static int set_metrics(struct options *o, const char *value)
{
	struct sockaddr_storage address;
	socklen_t size;

	o->metrics = value;
	if (!metrics_address(value, &address, &size))
		return usage_error("--metrics needs ADDRESS:PORT or unix:/PATH, not", value);
	return 0;
}

static int set_metrics_tenants(struct options *o, const char *value)
{
	return set_number(&o->metrics_tenants, value, METRIC_TENANTS_MAX, "--metrics-tenants");
}

static int set_state_directory(struct options *o, const char *value)
{
	o->state_directory = value;
	return *value ? 0 : usage_error("--state-dir needs a directory, not", value);
}

static int set_checkpoint_period(struct options *o, const char *value)
{
	if (!scalar_duration(value, PERIOD_MAX_NS, &o->checkpoint_period_ns) ||
	    o->checkpoint_period_ns < PERIOD_MIN_NS)
		return usage_error("--checkpoint-period needs a time, 10ms to 1h, not", value);
	return 0;
}

static int set_check(struct options *o, const char *value)
{
	(void)value;
	o->check = true;
	return 0;
}

static int set_keep(struct options *o, const char *value)
{
	(void)value;
	o->keep = true;
	return 0;
}

static int print_help(struct options *o, const char *value);

static int print_version(struct options *o, const char *value)
{
	(void)value;
	printf("rationd %s\n", RATION_VERSION);
	o->leave = true;
	return 0;
}

static const struct {
	const char *name;
	char letter;          /* 0: none */
	const char *argument; /* NULL: none */
	int (*apply)(struct options *options, const char *value);
	const char *help;
} table[] = {
	{"policy", 'p', "FILE", set_policy, "policy to serve (" DEFAULT_POLICY ")"},
	{"socket", 's', "PATH", set_socket, "where workers attach ($RATION_SOCKET)"},
	{"buckets", 0, "N", set_buckets, "room for N buckets (65536)"},
	{"workers", 0, "N", set_workers, "room for N workers (256)"},
	{"allow-user", 0, "USER", allow_user, "who may attach, by name or number; repeatable"},
	{"allow-group", 0, "GROUP", allow_group, "the same for a group (ration, if it exists)"},
	{"metrics", 0, "WHERE", set_metrics, "figures for Prometheus: ADDRESS:PORT, unix:/PATH"},
	{"metrics-tenants", 0, "N", set_metrics_tenants, "also for each of up to N tenants"},
	{"keep", 0, NULL, set_keep, "stay, and replace a rationd that dies: without systemd"},
	{"state-dir", 0, "DIR", set_state_directory, "for checkpoints ($STATE_DIRECTORY)"},
	{"checkpoint-period", 0, "TIME", set_checkpoint_period, "how often one is made (1s)"},
	{"check", 'n', NULL, set_check, "check policy and options, then exit"},
	{"help", 'h', NULL, print_help, "show this"},
	{"version", 'V', NULL, print_version, "show the version"},
};

#define N_OPTIONS (sizeof(table) / sizeof(table[0]))
#define LONG_BASE 256 /* getopt_long() returns this plus the index */

static int print_help(struct options *o, const char *value)
{
	(void)value;
	printf("usage: rationd [OPTION]...\n"
	       "Owns the shared memory that workers take vendor quotas from.\n\n");
	for (size_t i = 0; i < N_OPTIONS; i++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s%s%s", table[i].name,
			 table[i].argument ? " " : "", table[i].argument ? table[i].argument : "");
		printf("  %c%c %-22s %s\n", table[i].letter ? '-' : ' ',
		       table[i].letter ? table[i].letter : ' ', left, table[i].help);
	}
	printf("\nSIGHUP reloads the policy, SIGTERM and SIGINT stop. See rationd(8).\n");
	o->leave = true;
	return 0;
}

static void fill_getopt(struct option longs[N_OPTIONS + 1], char shorts[2 * N_OPTIONS + 2])
{
	char *out = shorts;

	*out++ = ':';
	for (size_t i = 0; i < N_OPTIONS; i++) {
		const int has_arg = table[i].argument ? required_argument : no_argument;

		longs[i] = (struct option){table[i].name, has_arg, NULL, LONG_BASE + (int)i};
		if (table[i].letter)
			*out++ = table[i].letter;
		if (table[i].letter && table[i].argument)
			*out++ = ':';
	}
	longs[N_OPTIONS] = (struct option){NULL, 0, NULL, 0};
	*out = '\0';
}

static size_t table_index(int c)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (c == LONG_BASE + (int)i || (table[i].letter && c == table[i].letter))
			return i;
	return N_OPTIONS;
}

static int read_arguments(struct options *options, int argc, char **argv)
{
	struct option longs[N_OPTIONS + 1];
	char shorts[2 * N_OPTIONS + 2];
	int c, status;

	fill_getopt(longs, shorts);
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const size_t i = table_index(c);

		if (c == ':')
			return usage_error("a value is missing after", argv[optind - 1]);
		if (i == N_OPTIONS)
			return usage_error("unknown option", argv[optind - 1]);
		status = table[i].apply(options, optarg);
		if (status != 0 || options->leave)
			return status;
	}
	return optind < argc ? usage_error("unexpected argument", argv[optind]) : 0;
}

static int default_socket(struct options *o)
{
	const char *named = getenv("RATION_SOCKET");
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[sizeof(o->address.sun_path) + 1];

	if (named && *named)
		return set_socket(o, named);
	if (geteuid() == 0 || !runtime || !*runtime)
		return set_socket(o, "/run/ration/ration.sock");
	/* One byte more than fits, so that a path cut here is still too long there. */
	snprintf(path, sizeof(path), "%s/ration/ration.sock", runtime);
	return set_socket(o, path);
}

/* Of a service manager, whose unit names one. */
static void default_state_directory(struct options *o)
{
	const char *named = getenv("STATE_DIRECTORY");

	if (named && *named)
		o->state_directory = named;
}

static void default_access(struct options *o)
{
	const struct group *entry = getgrnam(SUPERVISOR_GROUP);

	if (entry)
		o->access.groups[o->access.n_groups++] = entry->gr_gid;
}

int options_read(struct options *options, int argc, char **argv)
{
	int status;

	*options = (struct options){
		.policy = DEFAULT_POLICY,
		.config = {.buckets = DEFAULT_BUCKETS, .workers = DEFAULT_WORKERS},
		.checkpoint_period_ns = DEFAULT_PERIOD,
	};
	status = read_arguments(options, argc, argv);
	if (status != 0 || options->leave)
		return status;
	if (!options->state_directory)
		default_state_directory(options);
	if (!options->access_given)
		default_access(options);
	return options->address.sun_path[0] ? 0 : default_socket(options);
}
