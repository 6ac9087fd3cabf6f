/*
 * signal/number.c - decimal numbers as vendors write them
 * SPDX-License-Identifier: MIT
 */
#include "signal/number.h"

typedef __int128 wide;

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool push_digit(int64_t *digits, char c)
{
	int64_t more;

	if (__builtin_mul_overflow(*digits, 10, &more) ||
	    __builtin_add_overflow(more, c - '0', &more))
		return false;
	*digits = more;
	return true;
}

static struct number shortened(struct number n)
{
	while (n.scale > 0 && n.digits % 10 == 0) {
		n.digits /= 10;
		n.scale--;
	}
	return n;
}

/* Decimal places that do not fit any more are dropped. */
static size_t take_places(const char *text, size_t size, struct number *n)
{
	bool full = false;
	size_t i = 0;

	for (; i < size && digit(text[i]); i++) {
		full = full || n->scale == NUMBER_SCALE_MAX || !push_digit(&n->digits, text[i]);
		n->scale += !full;
	}
	return i;
}

bool number_prefix(const char *text, size_t size, struct number *ret, size_t *ret_used)
{
	const bool negative = size > 0 && text[0] == '-';
	struct number n = number_of(0);
	size_t i = negative, start = i, places;

	for (; i < size && digit(text[i]); i++) {
		if (!push_digit(&n.digits, text[i]))
			return false;
	}
	if (i == start)
		return false;
	if (i + 1 < size && text[i] == '.' && digit(text[i + 1])) {
		places = take_places(text + i + 1, size - i - 1, &n);
		i += 1 + places;
	}
	if (negative)
		n.digits = -n.digits;
	*ret = shortened(n);
	*ret_used = i;
	return true;
}

static bool space(char c)
{
	return c == ' ' || c == '\t';
}

bool number_parse(const char *text, size_t size, struct number *ret)
{
	struct number n;
	size_t used;

	while (size > 0 && space(text[0])) {
		text++;
		size--;
	}
	while (size > 0 && space(text[size - 1]))
		size--;
	if (!number_prefix(text, size, &n, &used) || used != size)
		return false;
	*ret = n;
	return true;
}

static wide power_of_ten(int32_t exponent)
{
	wide result = 1;

	while (exponent-- > 0)
		result *= 10;
	return result;
}

static wide at_scale(struct number n, int32_t scale)
{
	return (wide)n.digits * power_of_ten(scale - n.scale);
}

static struct number combine(struct number a, struct number b, int sign)
{
	const int32_t scale = a.scale > b.scale ? a.scale : b.scale;
	wide sum;

	if (!number_known(a) || !number_known(b))
		return NUMBER_UNKNOWN;
	sum = at_scale(a, scale) + sign * at_scale(b, scale);
	if (sum > INT64_MAX || sum < -INT64_MAX)
		return NUMBER_UNKNOWN;
	return shortened((struct number){(int64_t)sum, scale});
}

struct number number_sum(struct number a, struct number b)
{
	return combine(a, b, 1);
}

struct number number_difference(struct number a, struct number b)
{
	return combine(a, b, -1);
}

int number_compare(struct number a, struct number b)
{
	const int32_t scale = a.scale > b.scale ? a.scale : b.scale;
	const wide left = at_scale(a, scale), right = at_scale(b, scale);

	return (left > right) - (left < right);
}

bool number_is_zero(struct number n)
{
	return number_known(n) && n.digits == 0;
}

static bool divide_up(wide dividend, wide divisor, int64_t *ret)
{
	wide quotient = dividend / divisor;

	quotient += quotient * divisor < dividend;
	if (quotient > INT64_MAX || quotient < -INT64_MAX)
		return false;
	*ret = (int64_t)quotient;
	return true;
}

bool number_times(struct number n, int64_t factor, int64_t *ret)
{
	return divide_up((wide)n.digits * factor, power_of_ten(n.scale), ret);
}

bool number_ratio(struct number a, int64_t factor, struct number b, int64_t *ret)
{
	wide product;

	if (!number_known(a) || !number_known(b) || b.digits <= 0)
		return false;
	if (__builtin_mul_overflow((wide)a.digits * factor, power_of_ten(b.scale), &product))
		return false;
	return divide_up(product, (wide)b.digits * power_of_ten(a.scale), ret);
}

double number_value(struct number n)
{
	return (double)n.digits / (double)power_of_ten(n.scale);
}
