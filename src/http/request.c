/*
 * http/request.c - what a caller may ask for, and a copy of it
 * SPDX-License-Identifier: MIT
 *
 * Whatever goes into the head of a request is checked here for bytes that would end a line or a
 * field: a caller that passes on what it was given by others cannot be made to send a second
 * request or header.
 */
#include "http/request.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Names that mean something to the engine. */
static const struct known_header {
	const char *name;
	bool dropped;       /* the engine knows the size of the body itself */
	const char *unless; /* the line that is sent where the caller has none of that name */
} known_headers[] = {
	{"Content-Length", true, NULL},
	{"Transfer-Encoding", true, NULL},
	/*
	 * libcurl would call every body a form, and wait a second for "100 Continue" before a long
	 * one.
	 */
	{"Content-Type", false, "Content-Type:"},
	{"Expect", false, "Expect:"},
};

enum {
	N_KNOWN = sizeof(known_headers) / sizeof(known_headers[0]),
};

/* ---- checks ---- */

static bool is_token(const char *s, size_t n)
{
	if (!n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("!#$%&'*+-.^_`|~", s[i]))
			return false;
	return true;
}

static bool is_line(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' && *s != '\t')
			return false;
	return true;
}

static bool is_header(const char *line)
{
	const char *colon = line ? strchr(line, ':') : NULL;

	return colon && is_token(line, (size_t)(colon - line)) && is_line(colon);
}

static const char *after_scheme(const char *url)
{
	if (!strncasecmp(url, "http://", 7))
		return url + 7;
	if (!strncasecmp(url, "https://", 8))
		return url + 8;
	return NULL;
}

static bool is_url(const char *url)
{
	const char *host = url ? after_scheme(url) : NULL;

	if (!host || !*host || strchr("/?#", *host))
		return false;
	for (; *url; url++)
		if ((unsigned char)*url <= ' ' || *url == 0x7f)
			return false;
	return true;
}

static bool is_cost(const struct ration_cost *cost)
{
	return cost->unit && *cost->unit && strlen(cost->unit) <= RATION_NAME_MAX;
}

static bool lists_are_good(const struct ration_http_request *spec)
{
	if ((spec->n_headers && !spec->headers) || (spec->n_costs && !spec->costs) ||
	    (spec->body_size && !spec->body))
		return false;
	for (size_t i = 0; i < spec->n_headers; i++)
		if (!is_header(spec->headers[i]))
			return false;
	for (size_t i = 0; i < spec->n_costs; i++)
		if (!is_cost(&spec->costs[i]))
			return false;
	return true;
}

bool request_is_good(const struct ration_http_request *spec)
{
	if (!spec->on_done || !is_url(spec->url) || !lists_are_good(spec))
		return false;
	if (spec->method && !is_token(spec->method, strlen(spec->method)))
		return false;
	if (spec->method && !strcmp(spec->method, "HEAD") && spec->body_size)
		return false;
	return spec->body_size <= SIZE_MAX / 4;
}

/* ---- copying: two passes over the same function, the first only counts ---- */

struct block {
	char *next; /* NULL: count */
	size_t used;
};

static void *take(struct block *block, size_t size)
{
	size_t rounded = (size + 7) & ~(size_t)7;
	void *p = block->next;

	block->used += rounded;
	if (block->next)
		block->next += rounded;
	return p;
}

static const void *copy(struct block *block, const void *data, size_t size)
{
	void *p = take(block, size);

	if (p && size)
		memcpy(p, data, size);
	return p;
}

static const char *copy_text(struct block *block, const char *text)
{
	return text ? copy(block, text, strlen(text) + 1) : NULL;
}

static void add_line(struct block *block, struct curl_slist ***tail, const char *line)
{
	struct curl_slist *node = take(block, sizeof(*node));
	char *text = take(block, strlen(line) + 1);

	if (!node || !text)
		return;
	*node = (struct curl_slist){.data = strcpy(text, line)};
	**tail = node;
	*tail = &node->next;
}

/*
 * To libcurl "Name:" says that there shall be no such header; one without a value is written
 * "Name;".
 */
static void add_caller_line(struct block *block, struct curl_slist ***tail, const char *line)
{
	struct curl_slist **at = *tail;
	char *colon;

	add_line(block, tail, line);
	if (!*at)
		return;
	colon = strchr((*at)->data, ':');
	if (!colon[1 + strspn(colon + 1, " \t")])
		strcpy(colon, ";");
}

static int find_known(const char *line)
{
	for (int i = 0; i < N_KNOWN; i++) {
		size_t n = strlen(known_headers[i].name);

		if (!strncasecmp(line, known_headers[i].name, n) && line[n] == ':')
			return i;
	}
	return -1;
}

static void copy_headers(struct block *block, const struct ration_http_request *spec,
			 struct curl_slist **head)
{
	bool seen[N_KNOWN] = {false};
	struct curl_slist **tail = head;

	for (size_t i = 0; i < spec->n_headers; i++) {
		int known = find_known(spec->headers[i]);

		if (known >= 0)
			seen[known] = true;
		if (known < 0 || !known_headers[known].dropped)
			add_caller_line(block, &tail, spec->headers[i]);
	}
	for (int i = 0; i < N_KNOWN; i++)
		if (!seen[i] && known_headers[i].unless)
			add_line(block, &tail, known_headers[i].unless);
}

static const struct ration_cost *copy_costs(struct block *block,
					    const struct ration_http_request *spec)
{
	struct ration_cost *costs = take(block, spec->n_costs * sizeof(*costs));

	for (size_t i = 0; i < spec->n_costs; i++) {
		const char *unit = copy_text(block, spec->costs[i].unit);

		if (costs)
			costs[i] = (struct ration_cost){unit, spec->costs[i].amount};
	}
	return spec->n_costs ? costs : NULL;
}

/* scheme://host:port: what shares connections. */
static const char *copy_origin(struct block *block, const char *url)
{
	const char *host = after_scheme(url);
	size_t scheme = (size_t)(host - url), n = strcspn(host, "/?#\\");
	const char *at = memrchr(host, '@', n);
	char *origin = take(block, scheme + n + 1);

	if (!origin)
		return NULL;
	if (at) {
		n -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	memcpy(origin, url, scheme);
	memcpy(origin + scheme, host, n);
	origin[scheme + n] = '\0';
	for (char *p = origin; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return origin;
}

static struct form copy_form(struct block *block, const struct ration_http_request *spec,
			     const char *name)
{
	struct form form = {
		.name = copy_text(block, name),
		.url = copy_text(block, spec->url),
		.method = copy_text(block, spec->method      ? spec->method
					   : spec->body_size ? "POST"
							     : "GET"),
		.origin = copy_origin(block, spec->url),
		.body = spec->body_size ? copy(block, spec->body, spec->body_size) : NULL,
		.body_size = spec->body_size,
		.costs = copy_costs(block, spec),
		.n_costs = spec->n_costs,
		.tls = spec->url[4] != ':',
	};

	copy_headers(block, spec, &form.headers);
	return form;
}

static void copy_request(struct block *block, const struct ration_http_request *specs,
			 const char *const *names, uint32_t n, struct request *to)
{
	to->spec = specs[0];
	to->spec.proxy = copy_text(block, specs[0].proxy);
	to->spec.ca_file = copy_text(block, specs[0].ca_file);
	to->spec.headers = NULL;
	to->spec.alternatives = NULL;
	to->n_forms = n;
	to->forms = take(block, n * sizeof(*to->forms));
	for (uint32_t i = 0; i < n; i++) {
		const struct form form = copy_form(block, &specs[i], names ? names[i] : NULL);

		if (to->forms)
			to->forms[i] = form;
	}
}

int request_make(const struct ration_http_request *specs, const char *const *names, uint32_t n,
		 struct request **ret_request)
{
	struct request counted = {0}, *request;
	struct block block = {0};

	copy_request(&block, specs, names, n, &counted);
	request = malloc(sizeof(*request) + block.used);
	if (!request)
		return -ENOMEM;
	*request = (struct request){0};
	block = (struct block){.next = (char *)(request + 1)};
	copy_request(&block, specs, names, n, request);
	request_wear(request, &request->forms[0]);
	*ret_request = request;
	return 0;
}

void request_wear(struct request *request, struct form *form)
{
	struct ration_http_request *spec = &request->spec;

	request->form = form;
	request->host = form->host;
	spec->url = form->url;
	spec->method = form->method;
	spec->body = form->body;
	spec->body_size = form->body_size;
	spec->costs = form->costs;
	spec->n_costs = form->n_costs;
}
