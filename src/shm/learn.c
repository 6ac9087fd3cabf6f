/*
 * shm/learn.c - which share of a limit a vendor really grants
 * SPDX-License-Identifier: MIT
 */
#include "shm/learn.h"

#include "shm/layout.h"
#include "shm/saturate.h"

#define UNIT_SHIFT  30
#define CUT_MASK    ((UINT64_C(1) << 24) - 1)
#define SHARE_MASK  ((UINT64_C(1) << 20) - 1)
#define SHARE_SHIFT 44
#define KNEE_SHIFT  24

#define PERIOD_LEAST TICKS_PER_SEC
#define PERIOD_MOST  (3600 * TICKS_PER_SEC)
#define PLATEAU_MOST (86400 * TICKS_PER_SEC)

#define REQUESTS_EACH   1500u /* around the knee */
#define PERIODS_EACH    20u
#define PERIODS_TO_KNEE 3u

/* Per cent of the knee: what the fast growth leads to, and the slow one. */
#define NEAR_KNEE 97u
#define AT_KNEE   99u

#define CUT_TO 90u /* per cent of the share */

static uint64_t word_of(uint64_t share, uint64_t knee, uint64_t now)
{
	return least(most(share, LEARN_LEAST), LEARN_MOST) << SHARE_SHIFT |
	       least(most(knee, LEARN_LEAST), LEARN_MOST) << KNEE_SHIFT |
	       (now >> UNIT_SHIFT & CUT_MASK);
}

static uint64_t share_of(uint64_t word)
{
	return word >> SHARE_SHIFT & SHARE_MASK;
}

static uint64_t knee_of(uint64_t word)
{
	return word >> KNEE_SHIFT & SHARE_MASK;
}

/* Ticks since the cut; what seems to be to come has just been. */
static uint64_t since_cut(uint64_t word, uint64_t now)
{
	const uint64_t units = ((now >> UNIT_SHIFT) - word) & CUT_MASK;

	return units > CUT_MASK / 2 ? 0 : units << UNIT_SHIFT;
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

/* Beyond the plateau: a hundredth of the knee in the first period, and then as the square of the time. */
static uint64_t beyond(uint64_t knee, uint64_t passed, uint64_t period)
{
	const uint64_t tenths = least(passed / (period / 10), 100000);

	return sum(knee * AT_KNEE / 100, ratio(knee, tenths * tenths, 10000, false));
}

uint64_t learn_share(uint64_t word, uint64_t now, const struct learn_pace *pace)
{
	const uint64_t knee = knee_of(word), passed = since_cut(word, now);
	const uint64_t rise = PERIODS_TO_KNEE * pace->period;
	uint64_t share;

	if (word == 0)
		return LEARN_ALL;
	if (passed <= rise)
		share = part(share_of(word), knee * NEAR_KNEE / 100, passed, rise);
	else if (passed - rise <= pace->plateau)
		share = part(most(share_of(word), knee * NEAR_KNEE / 100), knee * AT_KNEE / 100,
			     passed - rise, pace->plateau);
	else
		share = beyond(knee, passed - rise - pace->plateau, pace->period);
	return least(most(share, LEARN_LEAST), pace->most);
}

uint64_t learn_cut(uint64_t word, uint64_t permit, uint64_t now, const struct learn_pace *pace)
{
	const uint64_t share = learn_share(word, now, pace);

	if (word != 0 && since_cut(word, now) <= since_cut(permit >> UNIT_SHIFT, now))
		return word;
	return word_of(share * CUT_TO / 100, share, now);
}

uint64_t learn_measured(uint64_t word, uint64_t accepted, uint64_t limited, uint64_t now)
{
	const uint64_t knee = word ? knee_of(word) : LEARN_ALL;
	const uint64_t granted = ratio(knee, accepted, sum(accepted, limited), false);

	return word_of(granted * NEAR_KNEE / 100, granted, now);
}
