/*
 * cli/request.c - one line of JSON: a request, or an operation of the pipe
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/request.h"

static bool bad(struct request_error *error, const char *format, ...) CLI_PRINTF(2, 3);

static bool bad(struct request_error *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return false;
}

/* The library's own texts quote the line; these do not. */
static const char *syntax_text(enum json_error_code code)
{
	switch (code) {
	case json_error_invalid_utf8:
		return "invalid UTF-8";
	case json_error_premature_end_of_input:
		return "the line ends inside the JSON";
	case json_error_end_of_input_expected:
		return "something follows the JSON";
	case json_error_wrong_type:
		return "not a JSON object";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "a zero byte in a string";
	case json_error_duplicate_key:
		return "a field stands twice in an object";
	case json_error_numeric_overflow:
		return "a number is too large";
	case json_error_stack_overflow:
		return "nested too deeply";
	default:
		return "not JSON";
	}
}

json_t *request_decode(const char *text, size_t size, struct request_error *error)
{
	json_error_t e;
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);

	if (json_is_object(root))
		return root;
	if (root)
		bad(error, "not a JSON object");
	else
		bad(error, "%s, at byte %d", syntax_text(json_error_code(&e)), e.position);
	json_decref(root);
	return NULL;
}

char *request_id(const json_t *root, struct request_error *error)
{
	const json_t *id = json_object_get(root, "id");
	char *text;

	if (!id || !(json_is_string(id) || json_is_integer(id))) {
		bad(error, id ? "id: must be a string or a whole number" : "id: missing");
		return NULL;
	}
	text = cli_need(json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT));
	if (strlen(text) <= REQUEST_ID_MAX)
		return text;
	free(text);
	bad(error, "id: longer than %d bytes", REQUEST_ID_MAX);
	return NULL;
}

/* One field: its name, its lines, what it must be, and where it goes in struct request. */
struct field {
	const char *name;
	unsigned forms;
	unsigned required; /* by these forms */
	bool (*read)(const struct field *field, json_t *value, void *to,
		     struct request_error *error);
	size_t offset;
	size_t max; /* bytes of text */
};

static bool read_text(const struct field *field, json_t *value, void *to,
		      struct request_error *error)
{
	if (!json_is_string(value))
		return bad(error, "%s: must be a string", field->name);
	if (json_string_length(value) > field->max)
		return bad(error, "%s: longer than %zu bytes", field->name, field->max);
	*(const char **)to = json_string_value(value);
	return true;
}

/* Names of the key go into one text with separators, so control characters are refused here already. */
static bool read_name(const struct field *field, json_t *value, void *to,
		      struct request_error *error)
{
	if (json_is_null(value))
		return true;
	if (!read_text(field, value, to, error))
		return false;
	for (const char *s = json_string_value(value); *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return bad(error, "%s: holds a control character", field->name);
	return true;
}

static bool read_body(const struct field *field, json_t *value, void *to,
		      struct request_error *error)
{
	struct request *request = to;

	if (!read_text(field, value, &request->body, error))
		return false;
	request->body_size = json_string_length(value);
	return true;
}

/* Milliseconds, whole or not, up to ten years. */
static bool read_ms(const struct field *field, json_t *value, void *to, struct request_error *error)
{
	double ms = json_number_value(value);

	if (!json_is_number(value) || !(ms >= 0 && ms <= 3.2e11))
		return bad(error, "%s: must be a number of milliseconds", field->name);
	*(uint64_t *)to = (uint64_t)(ms * 1e6);
	return true;
}

/* Unset: the run's. */
static bool read_choice(const struct field *field, json_t *value, void *to,
			struct request_error *error)
{
	if (!json_is_boolean(value))
		return bad(error, "%s: must be true or false", field->name);
	*(enum request_choice *)to = json_is_true(value) ? REQUEST_YES : REQUEST_NO;
	return true;
}

static bool read_attempt(const struct field *field, json_t *value, void *to,
			 struct request_error *error)
{
	if (!json_is_integer(value) || json_integer_value(value) < 1 ||
	    json_integer_value(value) > 1000000)
		return bad(error, "%s: must be which try it was, 1 to 1000000", field->name);
	*(uint32_t *)to = (uint32_t)json_integer_value(value);
	return true;
}

static bool read_ticket(const struct field *field, json_t *value, void *to,
			struct request_error *error)
{
	if (!json_is_integer(value) || json_integer_value(value) < 1)
		return bad(error, "%s: must be the number of a ticket", field->name);
	*(uint64_t *)to = (uint64_t)json_integer_value(value);
	return true;
}

static bool read_cost(const struct field *field, json_t *value, void *to,
		      struct request_error *error)
{
	struct request *request = to;

	if (!json_is_object(value))
		return bad(error, "%s: must be an object such as {\"tokens\": 1200}", field->name);
	for (void *i = json_object_iter(value); i; i = json_object_iter_next(value, i)) {
		const char *unit = json_object_iter_key(i);
		json_t *amount = json_object_iter_value(i);

		if (strlen(unit) > RATION_NAME_MAX)
			return bad(error, "%s: the name of a unit is too long", field->name);
		if (!json_is_integer(amount) || json_integer_value(amount) < 0 ||
		    (uint64_t)json_integer_value(amount) > RATION_COST_MAX)
			return bad(error, "%s: %s must be a whole number, 0 to %llu", field->name,
				   unit, (unsigned long long)RATION_COST_MAX);
		if (request->n_costs == REQUEST_COSTS_MAX)
			return bad(error, "%s: more than %d units", field->name, REQUEST_COSTS_MAX);
		request->costs[request->n_costs++] =
			(struct ration_cost){unit, (uint64_t)json_integer_value(amount)};
	}
	return true;
}

/* Characters that may stand in the name of a header (RFC 9110, token). */
static bool header_name(const char *name)
{
	static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
				      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return name[0] && name[strspn(name, allowed)] == '\0';
}

static bool read_headers(const struct field *field, json_t *value, void *to,
			 struct request_error *error)
{

	if (!json_is_object(value) || json_object_size(value) > REQUEST_HEADERS_MAX)
		return bad(error, "%s: must be an object of at most %d strings", field->name,
			   REQUEST_HEADERS_MAX);
	for (void *i = json_object_iter(value); i; i = json_object_iter_next(value, i)) {
		json_t *text = json_object_iter_value(i);

		if (!header_name(json_object_iter_key(i)))
			return bad(error, "%s: a name is not allowed in HTTP", field->name);
		if (!json_is_string(text) || strpbrk(json_string_value(text), "\r\n"))
			return bad(error, "%s: a value must be a string of one line", field->name);
	}
	*(json_t **)to = value;
	return true;
}

/* Each is checked as it will be read again when it is sent. */
static bool read_alternatives(const struct field *field, json_t *value, void *to,
			      struct request_error *error)
{
	const enum request_form form = field->forms & FORM_RUN ? FORM_ALTERNATIVE : FORM_CHOICE;
	struct request each;
	struct request_error why;

	if (!json_is_object(value) || json_object_size(value) == 0 ||
	    json_object_size(value) > RATION_ALTERNATIVES_MAX)
		return bad(error, "%s: must be an object of 1 to %d objects", field->name,
			   RATION_ALTERNATIVES_MAX);
	for (void *i = json_object_iter(value); i; i = json_object_iter_next(value, i)) {
		json_t *alternative = json_object_iter_value(i);

		if (!json_is_object(alternative))
			return bad(error, "%s: each must be an object", field->name);
		if (strlen(json_object_iter_key(i)) > RATION_NAME_MAX + 1 + RATION_KEY_MAX)
			return bad(error, "%s: a name is too long", field->name);
		if (!request_read(alternative, form, &each, &why))
			return bad(error, "%s: %s", field->name, why.text);
	}
	*(json_t **)to = value;
	return true;
}

static bool read_any(const struct field *field, json_t *value, void *to,
		     struct request_error *error)
{
	(void)field, (void)value, (void)to, (void)error;
	return true;
}

#define TO(member) offsetof(struct request, member)
#define KEYED      (FORM_RUN | FORM_ACQUIRE | FORM_OBSERVE)
#define ALL        (FORM_RUN | FORM_PIPE)
#define SENT       (FORM_RUN | FORM_ALTERNATIVE)

static const struct field fields[] = {
	{"id", ALL, 0, read_any, 0, 0},
	{"op", FORM_PIPE, FORM_PIPE, read_text, TO(op), 16},
	{"tenant", KEYED, 0, read_name, TO(key[KEY_TENANT]), RATION_KEY_MAX},
	{"vendor", KEYED, 0, read_name, TO(key[KEY_VENDOR]), RATION_NAME_MAX},
	{"class", KEYED, 0, read_name, TO(key[KEY_CLASS]), RATION_NAME_MAX},
	{"account", KEYED, 0, read_name, TO(key[KEY_ACCOUNT]), RATION_KEY_MAX},
	{"resource", KEYED, 0, read_name, TO(key[KEY_RESOURCE]), RATION_KEY_MAX},
	{"method", FORM_RUN, 0, read_text, TO(method), 32},
	{"url", SENT, 0, read_text, TO(url), 65536},
	{"headers", SENT, 0, read_headers, TO(headers), 0},
	{"body", SENT, 0, read_body, 0, SIZE_MAX},
	{"alternatives", FORM_RUN, 0, read_alternatives, TO(alternatives), 0},
	{"alternatives", FORM_ACQUIRE, 0, read_alternatives, TO(alternatives), 0},
	{"status", FORM_OBSERVE, FORM_OBSERVE, read_any, 0, 0}, /* these as `ration signal` does */
	{"headers", FORM_OBSERVE, 0, read_any, 0, 0},
	{"body", FORM_OBSERVE, 0, read_any, 0, 0},
	{"now", FORM_OBSERVE, 0, read_any, 0, 0},
	{"attempt", FORM_OBSERVE, 0, read_attempt, TO(attempt), 0},
	{"cost", SENT | FORM_CHOICE | FORM_ACQUIRE | FORM_SETTLE, 0, read_cost, 0, 0},
	{"retry", FORM_RUN, 0, read_choice, TO(retry), 0},
	{"idempotent", FORM_RUN, 0, read_choice, TO(idempotent), 0},
	{"timeout_ms", FORM_RUN, 0, read_ms, TO(timeout_ns), 0},
	{"deadline_ms", FORM_RUN, 0, read_ms, TO(deadline_ns), 0},
	{"wait_ms", FORM_ACQUIRE, 0, read_ms, TO(wait_ns), 0},
	{"ticket", FORM_SETTLE | FORM_CANCEL | FORM_OBSERVE, FORM_SETTLE | FORM_CANCEL, read_ticket,
	 TO(ticket), 0},
};
enum { N_FIELDS = sizeof(fields) / sizeof(fields[0]) };

static bool read_field(const char *name, json_t *value, enum request_form form,
		       struct request *request, struct request_error *error)
{
	for (size_t i = 0; i < N_FIELDS; i++)
		if ((fields[i].forms & form) && strcmp(name, fields[i].name) == 0)
			return fields[i].read(&fields[i], value, (char *)request + fields[i].offset,
					      error);
	return bad(error, "%.63s: no such field", name);
}

/* A request needs a URL, wherever it goes. */
static bool has_urls(const struct request *request)
{
	const char *name;
	json_t *alternative;

	if (request->url || !request->alternatives)
		return request->url != NULL;
	json_object_foreach(request->alternatives, name, alternative)
	{
		if (!json_object_get(alternative, "url"))
			return false;
	}
	return true;
}

bool request_read(json_t *root, enum request_form form, struct request *ret_request,
		  struct request_error *error)
{
	struct request request = {.root = root};

	for (void *i = json_object_iter(root); i; i = json_object_iter_next(root, i))
		if (!read_field(json_object_iter_key(i), json_object_iter_value(i), form, &request,
				error))
			return false;
	for (size_t i = 0; i < N_FIELDS; i++)
		if ((fields[i].required & form) && !json_object_get(root, fields[i].name))
			return bad(error, "%s: missing", fields[i].name);
	if (form == FORM_RUN && !has_urls(&request))
		return bad(error, "url: missing");
	*ret_request = request;
	return true;
}

struct ration_key request_key(const struct request *request)
{
	return (struct ration_key){
		.tenant = request->key[KEY_TENANT],
		.vendor = request->key[KEY_VENDOR],
		.traffic_class = request->key[KEY_CLASS],
		.account = request->key[KEY_ACCOUNT],
		.resource = request->key[KEY_RESOURCE],
	};
}

size_t request_key_text(const char *const key[KEY_FIELDS], char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s\x1f%s\x1f%s\x1f%s\x1f%s", key[0] ? key[0] : "",
			 key[1] ? key[1] : "", key[2] ? key[2] : "", key[3] ? key[3] : "",
			 key[4] ? key[4] : "");

	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}
