/*
 * client/correct.c - buckets follow what a vendor says is left
 * SPDX-License-Identifier: MIT
 *
 * The vendor's figure is of some time between the permit of the request and now, and it does not know what has not
 * arrived. So two bounds follow for what is used of a bucket: at least what it says as of the permit, and no more than what
 * it says, plus all that was charged a `delay` before the permit and since (shm/view.h). Between the two nothing is known,
 * and nothing is changed.
 */
#include "client/gate.h"
#include "client/observe.h"
#include "client/view.h"
#include "shm/learn.h"
#include "shm/rolling.h"
#include "shm/view.h"
#include "shm/window.h"

#define PPM 1000000u

/* Vendors tell times in seconds: their windows end within that of ours, or are others. */
#define SAME_EDGE_NS INT64_C(1500000000)

/* A window is compared with a mark at most so often, and only if the units that marks cost are not a hundredth of it. */
#define MARKS_EACH UINT64_C(64)
#define MARK_PART  UINT64_C(100)

static uint64_t ticks_now(void *user)
{
	return client_now(user);
}

static uint64_t part_of(uint64_t units, uint32_t ppm)
{
	return (uint64_t)((unsigned __int128)units * ppm / PPM);
}

/* --- what follows for the bucket --- */

/* What a token bucket holds back, because requests may arrive late (policy_effective()). */
static uint64_t held_back(const struct told *t)
{
	const struct seg_hot *hot = &t->o->ration->seg.hot[t->bucket.bucket];
	const uint64_t each = bucket_cost(shm_load_relaxed(&hot->numbers), 1);

	if (t->limit->kind != KIND_BUCKET || each == 0)
		return 0;
	return (t->numbers->delay_ns * TICKS_PER_NS + each - 1) / each;
}

/*
 * What refusals have taught about the rest: of what was said to be left, so much was gone by the time we asked for it, for
 * others spend it, too (learner.c).
 */
static uint64_t learned_back(struct told *t)
{
	const struct learn_pace pace =
		learn_pace_of(t->numbers, (t->limit->flags & LIMIT_SEEKS) != 0);
	const uint64_t limit = told_limit(t);
	uint64_t word, base;

	if (t->limit->kind == KIND_BUCKET || limit == 0 ||
	    !client_view_find(t->o->ration, t->bucket, &t->view))
		return 0;
	word = view_value(&t->o->ration->seg, t->view, VIEW_LEARNED);
	base = told_base(t);
	return word == 0 ? 0
			 : minus(least(limit, base),
				 ratio_of(base, learn_share(word, t->o->at.now, &pace), LEARN_ALL));
}

/*
 * In units of the bucket: of what the vendor has left, the margin is not ours, and of the rest only a share. A bucket
 * whose burst is less than what the vendor counts together knows only what is left.
 */
static void compare(struct told *t)
{
	const struct blob_numbers *n = t->numbers;
	const uint64_t written = t->limit->kind == KIND_BUCKET ? n->burst : n->amount;
	const uint64_t whole = t->told->limit == RATION_UNKNOWN ? most(written, t->told->remaining)
								: t->told->limit;
	const uint64_t used = minus(whole, t->told->remaining);
	const uint64_t left =
		part_of(minus(t->told->remaining, part_of(whole, n->margin_ppm)), n->share_ppm);

	/* Of a quota that nobody has touched nothing is late, or gone meanwhile. */
	const uint64_t held = used == 0 ? 0 : held_back(t) + learned_back(t);

	t->missing = minus(t->size, minus(left, held));
	t->spent = least(part_of(used, n->share_ppm), t->missing);
	t->most = most(used, t->missing);
}

/* --- down --- */

static uint64_t window_start_ticks(const struct told *t)
{
	const int64_t passed = t->o->at.wall - (int64_t)t->link->shape[WINDOW_START];

	return minus(t->o->at.now, (uint64_t)passed * TICKS_PER_NS);
}

/* Whether permit and now are in the present window, by whatever clock: what was told is of that one. */
static bool within_window(const struct told *t)
{
	const uint64_t *shape = t->link->shape;
	const struct observing *o = t->o;
	const int64_t permit = o->at.wall - (int64_t)((o->at.now - o->permit) / TICKS_PER_NS);

	return permit >= (int64_t)(shape[WINDOW_START] + shape[WINDOW_AFTER]) &&
	       o->at.wall < (int64_t)(shape[WINDOW_END] - shape[WINDOW_BEFORE]);
}

/* used: units. Returns by how much it raised what is used. */
static uint64_t correct_to(const struct told *t, uint64_t used)
{
	struct ration *ration = t->o->ration;
	struct seg *seg = &ration->seg;
	uint64_t units = 0, gone = 0;

	switch (LINK_KIND(t->link->flags)) {
	case KIND_BUCKET:
		(void)bucket_correct(&seg->hot[t->bucket.bucket], t->bucket.generation, used,
				     t->o->permit, &units);
		break;
	case KIND_WINDOW:
		if (within_window(t))
			(void)window_correct(seg, t->bucket, t->link->shape[WINDOW_INDEX], used,
					     ticks_now, ration, &units);
		break;
	case KIND_ROLLING:
		if (rolling_gone(seg, t->bucket.bucket, t->bucket.generation, t->o->permit,
				 t->o->at.now, &gone))
			(void)rolling_correct(seg, t->bucket.bucket, t->bucket.generation,
					      minus(used, gone), t->o->at.now, &units);
		break;
	default:
		break;
	}
	return units;
}

/* Returns what others have spent. */
static uint64_t correct_down(const struct told *t)
{
	const uint64_t foreign = correct_to(t, t->spent);

	if (t->missing > t->spent)
		(void)correct_to(t, t->missing);
	return foreign;
}

/* --- up --- */

/* Where the vendor begins anew at another time than we do, marks and figures may be of different windows. */
static bool same_edge(const struct told *t)
{
	const int64_t left = (int64_t)t->link->shape[WINDOW_END] - t->o->at.wall;
	int64_t apart;

	if (t->told->reset_in_ns == RATION_UNKNOWN)
		return true;
	if (t->told->reset_in_ns > INT64_MAX)
		return false;
	apart = (int64_t)t->told->reset_in_ns - left;
	return apart <= SAME_EDGE_NS && -apart <= SAME_EDGE_NS;
}

static uint64_t credit_window(const struct told *t, const struct view_mark *mark)
{
	struct ration *ration = t->o->ration;
	const uint64_t good = t->most + t->size / 100;
	uint64_t units = 0;

	if (mark->at >= window_start_ticks(t) && within_window(t) && same_edge(t))
		window_credit(&ration->seg, t->bucket, t->link->shape[WINDOW_INDEX], good,
			      mark->level, ticks_now, ration, &units);
	return units;
}

static uint64_t credit(const struct told *t, const struct view_mark *mark)
{
	struct seg *seg = &t->o->ration->seg;
	const uint64_t delay = t->o->chain.head.delay;
	uint64_t units = 0;

	if (LINK_KIND(t->link->flags) == KIND_ROLLING) {
		(void)rolling_credit(seg, t->bucket.bucket, t->bucket.generation,
				     t->most + t->size / 100, minus(t->o->permit, delay),
				     t->o->at.now, &units);
		return units;
	}
	if (mark->at + delay > t->o->permit)
		return 0;
	if (LINK_KIND(t->link->flags) == KIND_WINDOW)
		return credit_window(t, mark);
	(void)bucket_credit(&seg->hot[t->bucket.bucket], t->bucket.generation, t->most, mark->level,
			    t->o->at.now, &units);
	return units;
}

/* How long a mark is to serve. */
static uint64_t mark_life(const struct told *t)
{
	const uint64_t delay = t->o->chain.head.delay;

	if (LINK_KIND(t->link->flags) != KIND_WINDOW)
		return delay;
	return most(delay, t->limit->numbers.period_ns / MARKS_EACH * TICKS_PER_NS);
}

/* The clock is read after the level: no permit of what it counts is later. */
static void remark(const struct told *t, const struct view_mark *mark)
{
	struct ration *ration = t->o->ration;
	struct seg *seg = &ration->seg;
	struct view_mark next = {0, 0};
	bool good = false;

	/* A new view's is none yet. */
	if (mark->level != 0 && mark->at + mark_life(t) > t->o->at.now)
		return;
	if (LINK_KIND(t->link->flags) == KIND_BUCKET)
		good = bucket_level(&seg->hot[t->bucket.bucket], t->bucket.generation, &next.level);
	else if (LINK_KIND(t->link->flags) == KIND_WINDOW && t->size >= MARKS_EACH * MARK_PART)
		good = window_mark(seg, t->bucket, t->link->shape[WINDOW_INDEX], &next.level);
	if (!good)
		next.level =
			0; /* nothing is given back by it; it only says that the view is in use */
	next.at = client_now(ration);
	(void)view_remark(seg, t->view, mark, &next);
}

static void correct_up(const struct told *t)
{
	struct view_mark mark;
	uint64_t units;

	if (!view_mark(&t->o->ration->seg, t->view, &mark) || !t->o->ticket)
		return;
	units = credit(t, &mark);
	if (units == 0)
		return;
	wake_next(t->o->ration, t->bucket.bucket);
	told_event(t, EVENT_CORRECTED_UP, EVENT_AMOUNT, units, "");
}

void touch_view(const struct told *t)
{
	struct view_mark mark;

	if (view_mark(&t->o->ration->seg, t->view, &mark))
		remark(t, &mark);
}

/* --- a window that ends at another time --- */

/*
 * Nothing is left of the vendor's window, and it ends later than ours, by a clock or a calendar of its own: what our next
 * one has is not there before that.
 */
static void hold(const struct told *t)
{
	const struct observing *o = t->o;
	const uint64_t most = 2 * t->limit->numbers.period_ns;
	const uint32_t scope = t->limit->scope;
	enum ration_reach reach = RATION_REACH_TENANT;

	if (LINK_KIND(t->link->flags) != KIND_WINDOW || t->told->remaining > 0 ||
	    t->told->reset_in_ns > most ||
	    (int64_t)t->told->reset_in_ns <=
		    (int64_t)t->link->shape[WINDOW_END] - o->at.wall + SAME_EDGE_NS)
		return;
	if (scope & RATION_SCOPE_RESOURCE)
		reach = RATION_REACH_RESOURCE;
	else if (scope & RATION_SCOPE_ACCOUNT && !(scope & RATION_SCOPE_TENANT))
		reach = RATION_REACH_ACCOUNT;
	(void)gate_hold(o->handle, reach, t->told->reset_in_ns, o->at.now);
}

/* --- one told limit --- */

uint64_t ratio_of(uint64_t a, uint64_t b, uint64_t c)
{
	const unsigned __int128 result = c ? (unsigned __int128)a * b / c : 0;

	return result > RATION_COST_MAX ? RATION_COST_MAX : (uint64_t)result;
}

uint64_t told_base(const struct told *t)
{
	const uint64_t told = view_value(&t->o->ration->seg, t->view, VIEW_LIMIT);

	return t->limit->flags & LIMIT_ADOPTS && told > 1 ? told - 1 : t->numbers->amount;
}

/* As the policy's amount, in its period: what the vendor says in another time is converted; 0: it does not say. */
uint64_t told_limit(const struct told *t)
{
	const struct blob_numbers *n = t->numbers;

	if (t->told->limit == RATION_UNKNOWN)
		return 0;
	if (t->limit->kind != KIND_BUCKET)
		return least(t->told->limit, RATION_COST_MAX);
	return t->told->window_ns == RATION_UNKNOWN
		       ? ratio_of(n->amount, t->told->limit, n->burst)
		       : ratio_of(t->told->limit, n->period_ns, t->told->window_ns);
}

/* The vendor's number is another than the policy's. */
static void tell_limit(const struct told *t, uint64_t limit)
{
	const bool adopts = t->limit->flags & LIMIT_ADOPTS;

	if (adopts)
		told_learned(t);
	told_event(t, EVENT_LEARNED, EVENT_SIZE, limit,
		   adopts ? "the vendor's number is used"
			  : "the policy says another, which is used");
}

static void remember(const struct told *t, uint64_t foreign)
{
	struct seg *seg = &t->o->ration->seg;
	const struct ration_told *told = t->told;
	uint64_t limit;

	if (foreign > 0) {
		view_count_foreign(seg, t->view, foreign);
		told_event(t, EVENT_FOREIGN, EVENT_AMOUNT, foreign, "");
	}
	view_tell(seg, t->view, VIEW_REMAINING, told->remaining + 1);
	limit = told_limit(t);
	if (limit != 0 && view_value(seg, t->view, VIEW_LIMIT) != limit + 1) {
		view_tell(seg, t->view, VIEW_LIMIT, limit + 1);
		if (limit != t->numbers->amount)
			tell_limit(t, limit);
	}
	if (told->reset_in_ns != RATION_UNKNOWN)
		view_tell(seg, t->view, VIEW_RESET,
			  t->o->at.now + least(told->reset_in_ns, INT64_MAX / 8) * TICKS_PER_NS);
}

void correct_by_told(const struct observing *o, const struct ration_told *told)
{
	const struct link *link = match_told(o, told);
	struct told t = {.told = told};
	uint64_t foreign;

	if (!link || told->remaining == RATION_UNKNOWN || !told_begin(o, link, &t))
		return;
	compare(&t);
	foreign = correct_down(&t);
	if (!told_view(&t))
		return;
	remember(&t, foreign);
	correct_up(&t);
	touch_view(&t);
	hold(&t);
}
