/*
 * tests/test_wall.c - a wall clock that is set: what windows see of it
 * SPDX-License-Identifier: MIT
 */
#include <criterion/criterion.h>

#include "client/client.h"
#include "client/memory.h"
#include "client/wall.h"
#include "support_rationd.h"

#define SEC      INT64_C(1000000000)
#define AT(secs) ((uint64_t)(secs)*TICKS_PER_SEC)
#define WALL     (INT64_C(1700000000) * SEC)
#define FAR      (WALL_LITTLE_NS + SEC)

static struct wall begun(void)
{
	return wall_begin(WALL, AT(100));
}

Test(wall, readings_of_one_clock_differ_a_little)
{
	struct wall wall = begun();

	cr_assert_eq(wall_follow(&wall, WALL + WALL_SAME_NS, AT(101)), WALL_STEADY);
	cr_assert_eq(wall_follow(&wall, WALL - WALL_SAME_NS, AT(102)), WALL_STEADY);
	cr_assert_eq(wall.offset, WALL);
}

Test(wall, set_back_at_once_however_far)
{
	struct wall wall = begun();

	cr_assert_eq(wall_follow(&wall, WALL - 2 * SEC, AT(101)), WALL_SET_BACK);
	cr_assert_eq(wall.offset, WALL - 2 * SEC);
	cr_assert_eq(wall_follow(&wall, 0, AT(102)), WALL_SET_BACK);
	cr_assert_eq(wall.offset, 0);
}

Test(wall, a_little_forward_at_half_the_speed_of_time)
{
	struct wall wall = begun();

	cr_assert_eq(wall_follow(&wall, WALL + 3 * SEC, AT(102)), WALL_SLEWS);
	cr_assert_eq(wall.offset, WALL + SEC);
	cr_assert_eq(wall_follow(&wall, WALL + 3 * SEC, AT(105)), WALL_SLEWS);
	cr_assert_eq(wall.offset, WALL + 5 * SEC / 2);
	cr_assert_eq(wall_follow(&wall, WALL + 3 * SEC, AT(999)), WALL_SLEWS);
	cr_assert_eq(wall.offset, WALL + 3 * SEC, "and not past it");
	cr_assert_eq(wall_follow(&wall, WALL + 3 * SEC, AT(1000)), WALL_STEADY);
}

Test(wall, far_forward_only_if_it_lasts)
{
	struct wall wall = begun();

	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(101)), WALL_JUMPED);
	cr_assert_eq(wall_follow(&wall, WALL + FAR + SEC, AT(102)), WALL_WAITS);
	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(101) + WALL_CONFIRM - 1), WALL_WAITS);
	cr_assert_eq(wall.offset, WALL);
	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(101) + WALL_CONFIRM), WALL_CONFIRMED);
	cr_assert_eq(wall.offset, WALL + FAR);
	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(9999)), WALL_STEADY);
}

Test(wall, another_jump_begins_to_last_anew)
{
	struct wall wall = begun();

	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(101)), WALL_JUMPED);
	cr_assert_eq(wall_follow(&wall, WALL + 3 * FAR, AT(1001)), WALL_JUMPED);
	cr_assert_eq(wall_follow(&wall, WALL + 3 * FAR, AT(101) + WALL_CONFIRM), WALL_WAITS);
	cr_assert_eq(wall_follow(&wall, WALL + 2 * FAR - 2, AT(1002) + WALL_CONFIRM), WALL_JUMPED,
		     "part of the way back");
	cr_assert_eq(wall.offset, WALL);
}

Test(wall, a_jump_that_is_taken_back_was_none)
{
	struct wall wall = begun();

	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(101)), WALL_JUMPED);
	cr_assert_eq(wall_follow(&wall, WALL, AT(102)), WALL_STEADY);
	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(101) + WALL_CONFIRM), WALL_JUMPED);
	cr_assert_eq(wall.offset, WALL);
}

Test(wall, an_operator_who_says_so_confirms_it)
{
	struct wall wall = begun();

	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(101)), WALL_JUMPED);
	wall_confirm(&wall, WALL + FAR, AT(102));
	cr_assert_eq(wall.offset, WALL + FAR);
	cr_assert_eq(wall_follow(&wall, WALL + FAR, AT(103)), WALL_STEADY);
}

/* --- what a worker makes of what is published --- */

struct world {
	struct rationd r;
	struct ration *ration;
	shm_word *published;
};

static void begin(struct world *w)
{
	rationd_start(&w->r, rationd_plain_policy, NULL);
	cr_assert_eq(ration_attach(w->r.socket, 0, &w->ration, NULL), 0);
	w->published = &client_seg(w->ration)->control->wall_offset;
}

static void end(struct world *w)
{
	ration_detach(&w->ration);
	cr_assert_eq(rationd_stop(&w->r), 0);
}

/* How far it is ahead of the clock, in ns. */
static int64_t ahead(struct world *w)
{
	const uint64_t now = client_now(w->ration);

	return client_wall(w->ration, now) - (int64_t)(now / TICKS_PER_NS) -
	       (clock_wall_offset_ns() + (int64_t)client_seg(w->ration)->epoch_ns);
}

static bool about(int64_t ns, int64_t expected)
{
	return llabs(ns - expected) < SEC / 2;
}

Test(wall, a_worker_believes_no_more_than_its_own_clock_allows, .timeout = 60)
{
	static const int64_t scribbles[] = {3600 * SEC, -3600 * SEC, INT64_MAX / 2, INT64_MIN / 2};
	struct world w;

	begin(&w);
	cr_assert(about(ahead(&w), 0));
	for (size_t i = 0; i < sizeof(scribbles) / sizeof(scribbles[0]); i++) {
		for (int again = 0; again < 5; again++) {
			/* Each time: the supervisor puts it right. */
			shm_store(w.published, (uint64_t)(clock_wall_offset_ns() +
							  (int64_t)client_seg(w.ration)->epoch_ns +
							  scribbles[i]));
			cr_assert(about(ahead(&w), scribbles[i] > 0 ? SEC : -SEC) ||
					  about(ahead(&w), 0),
				  "%lld ns", (long long)ahead(&w));
		}
	}
	end(&w);
}
