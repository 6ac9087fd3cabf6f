/*
 * shm/learn.c - which share of a limit a vendor really grants
 * SPDX-License-Identifier: MIT
 */
#include "shm/learn.h"

#include "shm/layout.h"
#include "shm/saturate.h"

#define CUT_MASK    ((UINT64_C(1) << 24) - 1)
#define SPREAD      (UINT64_C(1) << 63)
#define SHARE_MASK  ((UINT64_C(1) << 19) - 1)
#define KNEE_MASK   ((UINT64_C(1) << 20) - 1)
#define SHARE_SHIFT 44
#define KNEE_SHIFT  24

#define PERIOD_LEAST TICKS_PER_SEC
#define PERIOD_MOST  (3600 * TICKS_PER_SEC)
#define PLATEAU_MOST (86400 * TICKS_PER_SEC)

#define REQUESTS_EACH   3000u /* around the knee */
#define PERIODS_EACH    20u
#define PERIODS_TO_KNEE 3u

/* Per cent of the knee: what the fast growth leads to, and the slow one. */
#define NEAR_KNEE 98u
#define AT_KNEE   100u

/* Beyond it: so many periods to twice the knee. Faster, and a vendor's burst hides for how long it was too fast. */
#define PERIODS_TO_TWICE 50u

#define CUT_TO   95u /* per cent of the share */
#define LOWER_TO 4u  /* of the share, at least this part */

static uint64_t share_of(uint64_t word)
{
	return word ? word >> SHARE_SHIFT & SHARE_MASK : LEARN_ALL;
}

static uint64_t knee_of(uint64_t word)
{
	return word ? word >> KNEE_SHIFT & KNEE_MASK : LEARN_ALL;
}

uint32_t learn_stamp(uint64_t ticks)
{
	return (uint32_t)(ticks / LEARN_UNIT & CUT_MASK);
}

uint64_t learn_since(uint64_t stamp, uint64_t now)
{
	const uint64_t units = (now / LEARN_UNIT - stamp) & CUT_MASK;

	return units > CUT_MASK / 2 ? 0 : units * LEARN_UNIT;
}

/* Of the word before it whether it is spread stays. */
static uint64_t word_after(uint64_t word, uint64_t share, uint64_t knee, uint64_t cut)
{
	return (word & SPREAD) | least(most(share, LEARN_LEAST), LEARN_MOST) << SHARE_SHIFT |
	       least(most(knee, LEARN_LEAST), LEARN_MOST) << KNEE_SHIFT | learn_stamp(cut);
}

struct learn_pace learn_pace(uint64_t period, uint64_t interval, bool seeks)
{
	struct learn_pace pace = {
		.period = least(most(period, PERIOD_LEAST), PERIOD_MOST),
		.most = seeks ? LEARN_MOST : LEARN_ALL,
	};

	pace.plateau =
		least(most(PERIODS_EACH * pace.period, ratio(interval, REQUESTS_EACH, 1, true)),
		      PLATEAU_MOST);
	return pace;
}

static uint64_t part(uint64_t from, uint64_t to, uint64_t passed, uint64_t whole)
{
	return to <= from ? from : from + ratio(to - from, least(passed, whole), whole, false);
}

/* As the square of the time. */
static uint64_t beyond(uint64_t knee, uint64_t passed, uint64_t period)
{
	const uint64_t tenths = least(passed / (period / 10), 100000);
	const uint64_t twice = (uint64_t)10 * PERIODS_TO_TWICE;

	return sum(knee * AT_KNEE / 100, ratio(knee, tenths * tenths, twice * twice, false));
}

/* Since the cut, until more than the knee is tried. */
static uint64_t until_more(const struct learn_pace *pace)
{
	return PERIODS_TO_KNEE * pace->period + pace->plateau;
}

uint64_t learn_share(uint64_t word, uint64_t now, const struct learn_pace *pace)
{
	const uint64_t knee = knee_of(word), passed = learn_since(word, now);
	const uint64_t rise = PERIODS_TO_KNEE * pace->period;
	const uint64_t near = part(share_of(word), knee * NEAR_KNEE / 100, passed, rise);
	uint64_t share = near;

	if (word == 0)
		return LEARN_ALL;
	if (passed > rise)
		share = part(near, knee * AT_KNEE / 100, passed - rise, pace->plateau);
	if (passed > until_more(pace))
		share = most(share, beyond(knee, passed - until_more(pace), pace->period));
	return least(most(share, LEARN_LEAST), pace->most);
}

bool learn_knows(uint64_t word, uint64_t permit, uint64_t now)
{
	return word != 0 && learn_since(word, now) <= learn_since(permit / LEARN_UNIT, now);
}

uint64_t learn_cut(uint64_t word, uint64_t now, const struct learn_pace *pace)
{
	const uint64_t share = learn_share(word, now, pace);

	return word_after(word, share * CUT_TO / 100, share, now);
}

uint64_t learn_granted(uint64_t word, uint64_t share, uint64_t granted, uint64_t now,
		       const struct learn_pace *pace)
{
	const uint64_t lowest = learn_share(word, now, pace) / LOWER_TO;

	return word_after(word, most(share, lowest), most(granted, lowest), now);
}

uint64_t learn_spread(uint64_t word, uint64_t now, const struct learn_pace *pace)
{
	return learn_cut(word, now, pace) | SPREAD;
}

bool learn_is_spread(uint64_t word)
{
	return word & SPREAD;
}

bool learn_is_over(uint64_t word, uint64_t now, const struct learn_pace *pace)
{
	return learn_share(word, now, pace) >= LEARN_ALL &&
	       (!learn_is_spread(word) || learn_since(word, now) > until_more(pace));
}

uint64_t learn_less(uint64_t word, uint64_t by)
{
	return word_after(word, minus(share_of(word), by), minus(knee_of(word), by),
			  (word & CUT_MASK) * LEARN_UNIT);
}

uint64_t learn_try(uint64_t word, uint64_t now, const struct learn_pace *pace)
{
	const uint64_t knee = least(learn_share(word, now, pace), pace->most);

	return word_after(word, knee, knee, now - least(now, until_more(pace)));
}

bool learn_is_trying(uint64_t word, uint64_t now, const struct learn_pace *pace)
{
	return learn_share(word, now, pace) > knee_of(word);
}

uint64_t learn_hold(uint64_t word, uint64_t now)
{
	return word_after(word, knee_of(word), knee_of(word), now);
}
