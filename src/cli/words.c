/*
 * cli/words.c - numbers and scopes for people
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "cli/words.h"

char *words_rate(double per_second, char *buf, size_t size)
{
	static const struct {
		double seconds;
		const char *name;
	} units[] = {{1, "s"}, {60, "min"}, {3600, "h"}, {86400, "day"}};
	size_t i = 0;

	/* Packed rates are rounded down by up to 2^-16: 0.99999 a second is meant as 1/s. */
	while (i < 3 && per_second * units[i].seconds < 0.9999)
		i++;
	snprintf(buf, size, "%.4g/%s", per_second * units[i].seconds, units[i].name);
	return buf;
}

char *words_duration(uint64_t ns, char *buf, size_t size)
{
	static const struct {
		double ns;
		const char *name;
	} units[] = {{86400e9, "days"}, {3600e9, "h"}, {60e9, "min"}, {1e9, "s"},
		     {1e6, "ms"},       {1e3, "us"},   {1, "ns"}};
	size_t i = 0;

	/* Days from two on: 24 h, 36 h, 2 days. */
	while (i < 6 && (double)ns < units[i].ns * (i == 0 ? 2 : 1))
		i++;
	snprintf(buf, size, "%.4g %s", (double)ns / units[i].ns, units[i].name);
	return buf;
}

char *words_scope(uint32_t scope, char *buf, size_t size)
{
	static const char *const names[] = {"tenant", "vendor", "class", "account", "resource"};
	const int n = __builtin_popcount(scope & 31);
	size_t used = 0;
	int listed = 0;

	snprintf(buf, size, "for all requests together");
	for (int i = 0; i < 5 && used < size; i++) {
		const char *before = listed == 0 ? "per " : listed == n - 1 ? " and " : ", ";

		if (!(scope & 1u << i))
			continue;
		used += (size_t)snprintf(buf + used, size - used, "%s%s", before, names[i]);
		listed++;
	}
	return buf;
}

double words_per_second(bucket_numbers numbers)
{
	const uint64_t ticks = bucket_tolerance(numbers);

	if (ticks == 0)
		return 0;
	return (double)bucket_burst(numbers) * (double)TICKS_PER_SEC / (double)ticks;
}

void words_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}
