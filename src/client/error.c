/*
 * client/error.c - results in words
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/attachment.h"

static const struct {
	int code;
	const char *text;
} results[] = {
	{0, "granted"},
	{RATION_DENIED, "denied for now"},
	{RATION_OVERSIZE, "larger than the limit can ever hold"},
	{RATION_CONTENDED, "other workers were faster too often, try again now"},
	{RATION_BUSY, "too many wait for it already"},
	{RATION_WAITING, "stands in line"},
	{RATION_GIVE_UP, "not to be tried again"},
	{RATION_ESUPERVISOR, "no supervisor listens on the socket"},
	{RATION_ELAYOUT, "library and supervisor differ in memory layout"},
	{RATION_ENOTREADY, "the segment is not completely made"},
	{RATION_EVENDOR, "the policy has no such vendor"},
	{RATION_ECLASS, "the policy has no such class"},
	{RATION_EUNIT, "a limit counts a unit that the cost does not name"},
	{RATION_EFULL, "the segment has no room for another bucket"},
	{RATION_ECORRUPT, "shared memory holds an impossible value"},
	{RATION_EPOLICY, "the policy is not usable"},
	{RATION_ELOST, "the lease was held too long and has been lost"},
	{RATION_EWORKERS, "every worker slot is taken"},
};

const char *ration_strerror(int code)
{
	const char *text = NULL;

	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		if (results[i].code == code)
			return results[i].text;
	}
#ifdef __GLIBC__
	/* Constant, and free of locales and locks: unlike strerror(). */
	if (code < 0 && code > -1000)
		text = strerrordesc_np(-code);
#else
	if (code < 0 && code > -1000)
		text = strerror(-code);
#endif
	return text ? text : "unknown result";
}

int explain(struct ration_error *error, int code, const char *format, ...)
{
	va_list args;

	if (error) {
		va_start(args, format);
		vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return code;
}

/* Append to what is in buf; `used` goes on counting when there is no more room, as snprintf does.
 */
__attribute__((format(printf, 4, 5))) static void append(char *buf, size_t size, size_t *used,
							 const char *format, ...)
{
	const size_t at = *used < size ? *used : size;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(size ? buf + at : NULL, size - at, format, args);
	va_end(args);
	if (n > 0)
		*used += (size_t)n;
}

/* 1.2 ms, 20 ms, 3.5 s, 2 min, ...: three digits are enough to decide by. */
static void append_duration(char *buf, size_t size, size_t *used, uint64_t ns)
{
	static const struct {
		uint64_t ns;
		const char *name;
	} units[] = {
		{UINT64_C(86400000000000), "d"},
		{UINT64_C(3600000000000), "h"},
		{UINT64_C(60000000000), "min"},
		{1000000000, "s"},
		{1000000, "ms"},
		{1000, "us"},
	};
	uint64_t tenths;
	size_t i = 0;

	while (i < sizeof(units) / sizeof(units[0]) - 1 && ns < units[i].ns)
		i++;
	tenths = ns / (units[i].ns / 10) + (ns % (units[i].ns / 10) != 0);
	if (tenths % 10 == 0 || tenths >= 1000)
		append(buf, size, used, "%" PRIu64 " %s", (tenths + 9) / 10, units[i].name);
	else
		append(buf, size, used, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
		       units[i].name);
}

static void append_room(char *buf, size_t size, size_t *used, const struct ration_denial *denial)
{
	append(buf, size, used, ": %" PRIu64 " of %" PRIu64, denial->left, denial->size);
	if (strcmp(denial->unit, "requests") != 0)
		append(buf, size, used, " %s", denial->unit);
	append(buf, size, used, " left, needs %" PRIu64 "; ", denial->needed);
}

/* "(tenant acme, account a1)": whose bucket it is. The vendor is named already. */
static void append_scope(char *buf, size_t size, size_t *used, const struct ration_denial *denial,
			 const struct ration_handle *handle)
{
	static const char *const names[KEY_FIELDS] = {"tenant", "vendor", "class", "account",
						      "resource"};
	bool first = true;

	for (int i = 0; handle && i < KEY_FIELDS; i++) {
		const char *value = handle->field[i];

		if (!(denial->scope & 1u << i) || i == KEY_VENDOR)
			continue;
		append(buf, size, used, "%s%s %s", first ? " (" : ", ", names[i],
		       *value ? value : "-");
		first = false;
	}
	if (!first)
		append(buf, size, used, ")");
}

/* "the vendor limits its rate"; why there is no more to say of it than when it is over. */
static const char *block_text(uint32_t block)
{
	static const char *const texts[] = {
		[RATION_LIMIT_RATE] = "blocked: the vendor limits the rate",
		[RATION_LIMIT_QUOTA] = "blocked: the vendor says the quota is used up",
		[RATION_LIMIT_CONCURRENCY] = "blocked: the vendor has too many at a time",
		[RATION_LIMIT_COST] = "blocked: the vendor says it costs too much",
		[RATION_LIMIT_OVERLOAD] = "blocked: the vendor is overloaded",
		[RATION_LIMIT_BILLING] = "blocked: the vendor asks for payment",
		[RATION_BLOCK_BREAKER] = "too many of the last responses were limited",
		[RATION_BLOCK_OPERATOR] = "blocked by an operator",
		[RATION_BLOCK_VENDOR] = "blocked: the vendor asks for a pause",
	};

	return block < sizeof(texts) / sizeof(texts[0]) && texts[block]
		       ? texts[block]
		       : texts[RATION_BLOCK_VENDOR];
}

int ration_denial_text(const struct ration_denial *denial, const struct ration_handle *handle,
		       char *buf, size_t size)
{
	const bool ever = denial->needed <= denial->size;
	size_t used = 0;

	append(buf, size, &used, "denied: %s%s%s", denial->vendor, *denial->vendor ? "/" : "",
	       denial->limit);
	append_scope(buf, size, &used, denial, handle);
	if (denial->block != RATION_BLOCK_NONE)
		append(buf, size, &used, ": %s; ", block_text(denial->block));
	else
		append_room(buf, size, &used, denial);
	/* There is enough of it: the rest of the period is to have some, too. */
	if (ever && denial->left >= denial->needed)
		append(buf, size, &used, "paced, ");
	if (ever) {
		append(buf, size, &used, "retry in ");
		append_duration(buf, size, &used, denial->retry_in_ns);
	} else {
		append(buf, size, &used, "can never fit");
	}
	return (int)used;
}
