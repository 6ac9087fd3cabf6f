/*
 * client/observe.c - what a vendor answered, fed back into the buckets
 * SPDX-License-Identifier: MIT
 *
 * The vendor's figure is of some time between the permit of the request and now, and it does not know what has not
 * arrived. So two bounds follow for what is used of a bucket: at least what it says as of the permit, and no more than what
 * it says, plus all that was charged a `delay` before the permit and since (shm/view.h). Between the two nothing is known,
 * and nothing is changed.
 */
#include <errno.h>
#include <string.h>

#include "client/attachment.h"
#include "client/events.h"
#include "client/gate.h"
#include "client/view.h"
#include "shm/learn.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/view.h"
#include "shm/window.h"

#define PPM 1000000u

/* Vendors tell times in seconds: their windows end within that of ours, or are others. */
#define SAME_EDGE_NS INT64_C(1500000000)

/* A window is compared with a mark at most so often, and only if the units that marks cost are not a hundredth of it. */
#define MARKS_EACH UINT64_C(64)
#define MARK_PART  UINT64_C(100)

/* More of a limit is tried only if all of it was asked for within so many periods, counted in 12 bits. */
#define PERIODS_IDLE 3u

/* How fast units are granted is known after so many. */
#define RATE_PERIODS 5u
#define PERIODS_MASK 0xfffu

struct observing {
	struct ration *ration;
	struct ration_handle *handle;
	const struct blob *blob;
	const struct ration_ticket *ticket; /* NULL: not known */
	const struct ration_signal *signal;
	uint32_t tenant;
	struct instant at;
	uint64_t permit; /* ticks; of no ticket: now */
	struct chain chain;
};

/* One told limit and the link that it is about. */
struct told {
	const struct observing *o;
	const struct ration_told *told;
	const struct link *link;
	const struct blob_limit *limit;
	const struct blob_numbers *numbers;
	struct bucket_ref bucket;
	struct bucket_ref view;
	uint64_t size;    /* of the bucket, in its own effective units */
	uint64_t missing; /* of it are not there, says the vendor; most of that */
	uint64_t spent;   /* was spent, by whomever: the rest its limit does not have */
	uint64_t most;    /* are not used for more, but for what it does not know */
};

static uint64_t ticks_now(void *user)
{
	return client_now(user);
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t part_of(uint64_t units, uint32_t ppm)
{
	return (uint64_t)((unsigned __int128)units * ppm / PPM);
}

/* --- which limit of ours it speaks of --- */

static bool alone(const struct link *link)
{
	return !(link->flags & (LINK_BACKING | LINK_OR));
}

static bool of_unit(const struct ration_told *told, const struct link *link)
{
	return link->unit == hash_unit(told->unit[0] ? told->unit : "requests");
}

static const struct blob_limit *limit_of(const struct observing *o, const struct link *link)
{
	return &o->blob->limits[LINK_LIMIT(link->flags)];
}

static const char *told_name(const struct observing *o, const struct blob_limit *limit)
{
	const char *told = blob_text(o->blob, limit->told);

	return told[0] ? told : blob_text(o->blob, limit->name);
}

/* The same amount in the same time; 2 %: some vendors round. */
static bool same_window(const struct ration_told *told, const struct blob_limit *limit)
{
	const uint64_t period = limit->numbers.period_ns, amount = limit->numbers.amount;
	unsigned __int128 ours, theirs;

	if (told->window_ns == RATION_UNKNOWN || limit->kind == KIND_SLOTS)
		return false;
	if (limit->kind != KIND_BUCKET)
		return told->window_ns / 50 >= (told->window_ns > period
							? told->window_ns - period
							: period - told->window_ns);
	if (told->limit == RATION_UNKNOWN)
		return false;
	ours = (unsigned __int128)amount * told->window_ns;
	theirs = (unsigned __int128)told->limit * period;
	return ours / 50 >= (ours > theirs ? ours - theirs : theirs - ours);
}

enum likeness { UNLIKE, SAME_UNIT, SAME_WINDOW, SAME_NAME };

static enum likeness likeness(const struct observing *o, const struct ration_told *told,
			      const struct link *link)
{
	const struct blob_limit *limit = limit_of(o, link);

	if (!alone(link) || limit->role != LIMIT_WRITTEN || limit->kind == KIND_SLOTS)
		return UNLIKE;
	if (told->name[0] && strcmp(told->name, told_name(o, limit)) == 0)
		return SAME_NAME;
	if (!of_unit(told, link))
		return UNLIKE;
	return same_window(told, limit) ? SAME_WINDOW : SAME_UNIT;
}

static bool same_unit(const struct ration_told *a, const struct ration_told *b)
{
	return strcmp(a->unit[0] ? a->unit : "requests", b->unit[0] ? b->unit : "requests") == 0;
}

/* Of one unit it may be over any time; if another is told as well, one with a time may be of a limit that we do not have. */
static bool is_told_alone(const struct observing *o, const struct ration_told *told)
{
	if (told->window_ns == RATION_UNKNOWN)
		return true;
	for (uint32_t i = 0; i < o->signal->n_told; i++) {
		if (&o->signal->told[i] != told && same_unit(&o->signal->told[i], told))
			return false;
	}
	return true;
}

/* The one that is most like it, if there is only one such; that it has the same unit is enough if nothing else has. */
static const struct link *find_link(const struct observing *o, const struct ration_told *told)
{
	enum likeness best = UNLIKE;
	const struct link *found = NULL;

	for (uint64_t i = 0; i < o->chain.head.n_links; i++) {
		const struct link *link = &o->chain.links[i];
		const enum likeness this = likeness(o, told, link);

		if (this == UNLIKE || this < best)
			continue;
		found = this > best ? link : NULL;
		best = this;
	}
	return best == SAME_UNIT && !is_told_alone(o, told) ? NULL : found;
}

/* --- what follows for the bucket --- */

static uint64_t effective_size(const struct seg_hot *hot, enum seg_kind kind)
{
	const uint64_t numbers = shm_load_relaxed(&hot->numbers);

	switch (kind) {
	case KIND_BUCKET:
		return bucket_burst(numbers);
	case KIND_WINDOW:
		return window_amount(numbers);
	case KIND_ROLLING:
		return rolling_amount(numbers);
	case KIND_SLOTS:
		return slots_count(numbers);
	default:
		return 0;
	}
}

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
 * In units of the bucket: of what the vendor has left, the margin is not ours, and of the rest only a share. A bucket
 * whose burst is less than what the vendor counts together knows only what is left.
 */
static void compare(struct told *t)
{
	const struct blob_numbers *n = t->numbers;
	const uint64_t written = t->limit->kind == KIND_BUCKET ? n->burst : n->amount;
	const uint64_t whole = t->told->limit == RATION_UNKNOWN
				       ? greater(written, t->told->remaining)
				       : t->told->limit;
	const uint64_t used = less(whole, t->told->remaining);
	const uint64_t left =
		part_of(less(t->told->remaining, part_of(whole, n->margin_ppm)), n->share_ppm);

	t->missing = used == 0 ? 0 : less(t->size, less(left, held_back(t)));
	t->spent = lesser(part_of(used, n->share_ppm), t->missing);
	t->most = greater(used, t->missing);
}

/* Every response may say the same: people are told once a second. */
static void tell(const struct told *t, enum event_type type, enum event_number what,
		 uint64_t number, const char *why)
{
	const struct observing *o = t->o;
	struct event event;
	uint64_t times;

	if (!event_due(o->ration, type, t->bucket.bucket, CHAIN_CLASS(o->chain.head.flags),
		       o->at.now, &times))
		return;
	event = event_about(o->handle, type);
	event.number[EVENT_TIMES] = times;
	event.number[what] = number;
	if (t->told)
		event.number[EVENT_REMAINING] = t->told->remaining;
	event.text[EVENT_LIMIT] = blob_text(o->blob, t->limit->name);
	event.text[EVENT_UNIT] = blob_text(o->blob, t->limit->unit);
	event.text[EVENT_WHY] = why;
	event_tell(o->ration, &event);
}

/* --- down --- */

static uint64_t window_start_ticks(const struct told *t)
{
	const int64_t passed = t->o->at.wall - (int64_t)t->link->shape[WINDOW_START];

	return less(t->o->at.now, (uint64_t)passed * TICKS_PER_NS);
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
					      less(used, gone), t->o->at.now, &units);
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
				     t->most + t->size / 100, less(t->o->permit, delay),
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
	return greater(delay, t->limit->numbers.period_ns / MARKS_EACH * TICKS_PER_NS);
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
	else if (LINK_KIND(t->link->flags) == KIND_WINDOW &&
		 effective_size(&seg->hot[t->bucket.bucket], KIND_WINDOW) >= MARKS_EACH * MARK_PART)
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
	tell(t, EVENT_CORRECTED_UP, EVENT_AMOUNT, units, "");
}

static void touch(const struct told *t)
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

static uint64_t ratio_of(uint64_t a, uint64_t b, uint64_t c)
{
	const unsigned __int128 result = c ? (unsigned __int128)a * b / c : 0;

	return result > RATION_COST_MAX ? RATION_COST_MAX : (uint64_t)result;
}

/* As the policy's amount, in its period: what the vendor says in another time is converted; 0: it does not say. */
static uint64_t told_limit(const struct told *t)
{
	const struct blob_numbers *n = t->numbers;

	if (t->told->limit == RATION_UNKNOWN)
		return 0;
	if (t->limit->kind != KIND_BUCKET)
		return lesser(t->told->limit, RATION_COST_MAX);
	return t->told->window_ns == RATION_UNKNOWN
		       ? ratio_of(n->amount, t->told->limit, n->burst)
		       : ratio_of(t->told->limit, n->period_ns, t->told->window_ns);
}

static void tell_learned(struct ration *ration)
{
	shm_add(&ration->seg.control->learned, 1);
}

/* The vendor's number is another than the policy's. */
static void tell_limit(const struct told *t, uint64_t limit)
{
	const bool adopts = t->limit->flags & LIMIT_ADOPTS;

	if (adopts)
		tell_learned(t->o->ration);
	tell(t, EVENT_LEARNED, EVENT_SIZE, limit,
	     adopts ? "the vendor's number is used" : "the policy says another, which is used");
}

static void remember(const struct told *t, uint64_t foreign)
{
	struct seg *seg = &t->o->ration->seg;
	const struct ration_told *told = t->told;
	uint64_t limit;

	if (foreign > 0) {
		view_count_foreign(seg, t->view, foreign);
		tell(t, EVENT_FOREIGN, EVENT_AMOUNT, foreign, "");
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
			  t->o->at.now + lesser(told->reset_in_ns, INT64_MAX / 8) * TICKS_PER_NS);
}

static bool begin(const struct observing *o, const struct link *link, struct told *t)
{
	t->o = o;
	t->link = link;
	t->limit = limit_of(o, link);
	t->numbers = blob_numbers_for(o->blob, LINK_LIMIT(link->flags), o->tenant);
	t->bucket = (struct bucket_ref){link->bucket, link->generation};
	if (link->bucket >= o->ration->seg.n_buckets)
		return false;
	t->size = effective_size(&o->ration->seg.hot[link->bucket], (enum seg_kind)t->limit->kind);
	return true;
}

static void observe_told(const struct observing *o, const struct ration_told *told)
{
	const struct link *link = find_link(o, told);
	struct told t = {.told = told};
	uint64_t foreign;

	if (!link || told->remaining == RATION_UNKNOWN || !begin(o, link, &t))
		return;
	compare(&t);
	foreign = correct_down(&t);
	if (!client_view(o->ration, o->handle->field, o->blob, LINK_LIMIT(link->flags), t.bucket,
			 &t.view))
		return;
	remember(&t, foreign);
	correct_up(&t);
	touch(&t);
	hold(&t);
}

/* --- refusals --- */

/* Whether a refusal of this class can be for such a limit. */
static bool may_be_for(const struct observing *o, const struct link *link)
{
	const bool slots = LINK_KIND(link->flags) == KIND_SLOTS;

	return (o->signal->limit_class == RATION_LIMIT_CONCURRENCY) == slots;
}

static bool written(const struct observing *o, const struct link *link)
{
	return alone(link) && limit_of(o, link)->role == LIMIT_WRITTEN;
}

/* The one that is over soonest, or latest where a quota is used up. */
static const struct link *find_by_class(const struct observing *o, bool any)
{
	const bool quota = o->signal->limit_class == RATION_LIMIT_QUOTA;
	const struct link *found = NULL;
	uint64_t period = 0;

	for (uint64_t i = 0; i < o->chain.head.n_links; i++) {
		const struct link *link = &o->chain.links[i];
		const uint64_t this = limit_of(o, link)->numbers.period_ns;

		if (written(o, link) && (any || may_be_for(o, link)) &&
		    (!found || (quota ? this > period : this < period))) {
			found = link;
			period = this;
		}
	}
	return found;
}

static const struct ration_told *exhausted(const struct observing *o, const struct link **ret_link)
{
	for (uint32_t i = 0; i < o->signal->n_told; i++) {
		if (o->signal->told[i].remaining == 0 &&
		    (*ret_link = find_link(o, &o->signal->told[i])))
			return &o->signal->told[i];
	}
	return NULL;
}

/*
 * Which told limit has nothing left; else one of the class, if there is any, for many vendors have one word for all that
 * they refuse.
 */
static const struct link *find_culprit(const struct observing *o,
				       const struct ration_told **ret_told)
{
	const struct link *found = NULL;

	*ret_told = exhausted(o, &found);
	if (!found)
		found = find_by_class(o, false);
	return found ? found : find_by_class(o, true);
}

/* --- how much was granted --- */

static struct learn_pace pace_of(const struct told *t)
{
	return learn_pace_of(t->numbers, (t->limit->flags & LIMIT_SEEKS) != 0);
}

/* What the request took of the bucket. */
static uint64_t units_of(const struct told *t)
{
	const struct ration_ticket *ticket = t->o->ticket;

	for (uint32_t i = 0; ticket && i < ticket->n_links && i < RATION_LINKS_MAX; i++) {
		if (ticket->links[i].bucket == t->bucket.bucket)
			return ticket->links[i].amount;
	}
	return 1;
}

static uint64_t tokens(const struct seg *seg, const struct told *t)
{
	struct bucket_view view;
	const enum take take = bucket_look(&seg->hot[t->bucket.bucket], t->bucket.generation, 1,
					   t->o->at.now, &view);

	return take == TAKE_ADMIT || take == TAKE_WAIT ? bucket_left(&view, t->o->at.now) : t->size;
}

static uint64_t leases(const struct seg *seg, uint32_t bucket, uint64_t size)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < size; i++)
		n += slots_word(seg, bucket, i) != 0;
	return n;
}

/* Units that we count as used of what a limit has at a time. */
static uint64_t used_now(const struct told *t)
{
	const struct seg *seg = &t->o->ration->seg;

	switch (LINK_KIND(t->link->flags)) {
	case KIND_WINDOW:
		return window_used(&seg->hot[t->bucket.bucket], t->link->shape[WINDOW_INDEX]);
	case KIND_ROLLING:
		return rolling_used(seg, t->bucket.bucket, t->o->at.now);
	case KIND_BUCKET:
		return less(t->size, tokens(seg, t));
	default:
		return leases(seg, t->bucket.bucket, t->size);
	}
}

/* Whether nearly all that there is at a time is used. */
static bool is_full(const struct told *t)
{
	return used_now(t) >= t->size / 4 * 3;
}

static uint32_t periods(const struct told *t)
{
	return (uint32_t)(t->o->at.now / pace_of(t).period) & PERIODS_MASK;
}

/* What is granted is counted from the first that is, after the last cut. */
static void count(const struct told *t, uint64_t word)
{
	const struct seg *seg = &t->o->ration->seg;
	struct view_count c = view_counts(seg, t->view.bucket);
	const uint64_t now = t->o->at.now;

	if (word == 0 || learn_since(c.since, now) > learn_since(word, now) ||
	    c.granted >= VIEW_GRANTED_MAX / 2)
		c.since = learn_stamp(now);
	c.granted = (uint32_t)lesser(units_of(t), VIEW_GRANTED_MAX);
	if (is_full(t))
		c.full = periods(t);
	view_count(&t->o->ration->seg, t->view, &c);
}

/* Units in so many ticks, as a share of the limit. */
static uint64_t share_of_rate(const struct told *t, uint64_t units, uint64_t ticks)
{
	const struct blob_numbers *n = t->numbers;
	const unsigned __int128 all = (unsigned __int128)ticks * n->amount / TICKS_PER_NS;
	const unsigned __int128 part = (unsigned __int128)units * n->period_ns * LEARN_ALL;

	return all == 0 || part / all > LEARN_MOST ? LEARN_MOST : (uint64_t)(part / all);
}

/*
 * How fast the vendor grants, as a share of the limit; 0: too short a time to say. Nothing was left there when it was last
 * refused. Until the next was granted it saved: no more than its burst, nor than it gives in that time.
 */
static uint64_t rate_granted(const struct told *t, uint64_t word, uint64_t share)
{
	const struct view_count c = view_counts(&t->o->ration->seg, t->view.bucket);
	const uint64_t since = learn_since(c.since, t->o->at.now) + LEARN_UNIT / 2;
	const uint64_t in_all = learn_since(word, t->o->at.now) + LEARN_UNIT / 2;
	const uint64_t burst = ratio_of(t->numbers->burst, share, LEARN_ALL);

	if (word == 0 || since > in_all || in_all < RATE_PERIODS * pace_of(t).period)
		return 0;
	return greater(share_of_rate(t, c.granted, in_all),
		       share_of_rate(t, less(c.granted, burst), since));
}

static uint64_t share_of_size(const struct told *t, uint64_t units, uint64_t share)
{
	const unsigned __int128 result =
		t->size ? (unsigned __int128)units * share / t->size : share;

	return result > LEARN_MOST ? LEARN_MOST : (uint64_t)result;
}

/*
 * Of a window, a rolling period or slots: all that we count, but for what is refused. Those that are under way are
 * counted, too: each takes away its part when it is refused.
 */
static uint64_t after_count(const struct told *t, uint64_t word, uint64_t share, uint64_t part,
			    const struct learn_pace *pace)
{
	const uint64_t now = t->o->at.now;
	uint64_t granted;

	if (learn_knows(word, t->o->permit, now))
		return learn_less(word, part);
	granted = less(lesser(share, share_of_size(t, used_now(t), share)), part);
	return learn_granted(word, granted, granted, now, pace);
}

/* The vendor's number, as a share of the policy's; the present one if it does not say. */
static uint64_t share_told(const struct told *t, uint64_t share)
{
	const uint64_t limit = t->told ? told_limit(t) : 0;

	return limit == 0 ? share : ratio_of(limit, LEARN_ALL, t->numbers->amount);
}

/* What is left was told: only what was still under way was too much. */
static uint64_t after_told(const struct told *t, uint64_t word, uint64_t share, uint64_t part,
			   const struct learn_pace *pace)
{
	const uint64_t granted = less(lesser(share, share_told(t, share)), part);

	return learn_granted(word, granted, granted, t->o->at.now, pace);
}

/* As a share of what comes in a period, or at once if that is more. */
static uint64_t rate_part(const struct told *t, uint64_t share, const struct learn_pace *pace)
{
	const struct blob_numbers *n = t->numbers;
	const uint64_t in_period =
		ratio_of(n->amount, pace->period / TICKS_PER_NS, n->period_ns ? n->period_ns : 1);
	const uint64_t whole = greater(greater(n->burst, in_period), 1);

	return ratio_of(units_of(t), share, whole);
}

/*
 * Of a token bucket: as fast as it was granted since the last refusal. Where a burst was too large, those of it that were
 * refused say by how much.
 */
static uint64_t after_rate(const struct told *t, uint64_t word, uint64_t share,
			   const struct learn_pace *pace)
{
	const uint64_t now = t->o->at.now, told = share_told(t, share);
	uint64_t granted = lesser(rate_granted(t, word, share), share);

	if (told < share)
		return learn_granted(word, told, told, now, pace);
	if (learn_knows(word, t->o->permit, now))
		return learn_less(word, rate_part(t, share, pace));
	/* Little was asked for, or it is not known. */
	if (granted < share / 2)
		return learn_cut(word, now, pace);
	/* What the vendor had saved while less was asked for is lost: the truth is between the two. */
	granted += (share - granted) / 4;
	return learn_granted(word, granted / 100 * 98, granted, now, pace);
}

static uint64_t after_refusal(const struct told *t, uint64_t word, const struct learn_pace *pace)
{
	const uint64_t share = learn_share(word, t->o->at.now, pace);
	const uint64_t part = share_of_size(t, units_of(t), share);

	if (LINK_KIND(t->link->flags) == KIND_BUCKET)
		return after_rate(t, word, share, pace);
	return t->told ? after_told(t, word, share, part, pace)
		       : after_count(t, word, share, part, pace);
}

static void learn(const struct told *t, uint64_t word, uint64_t next, const char *why)
{
	const struct learn_pace pace = pace_of(t);

	if (next == word || !view_change(&t->o->ration->seg, t->view, VIEW_LEARNED, word, next))
		return;
	tell_learned(t->o->ration);
	tell(t, EVENT_LEARNED, EVENT_SHARE,
	     learn_share(next, t->o->at.now, &pace) * PPM / LEARN_ALL, why);
}

/* Refused though the bucket admitted it. The vendor's own trouble and an unpaid bill say nothing of the rate. */
static bool is_refusal(const struct ration_signal *signal)
{
	return signal->limited && signal->reach != RATION_REACH_REQUEST &&
	       signal->limit_class != RATION_LIMIT_OVERLOAD &&
	       signal->limit_class != RATION_LIMIT_BILLING;
}

static void observe_refusal(const struct observing *o)
{
	struct told t = {.told = NULL};
	const struct link *link = find_culprit(o, &t.told);
	struct learn_pace pace;
	uint64_t word;

	if (!link || !begin(o, link, &t) ||
	    !client_view(o->ration, o->handle->field, o->blob, LINK_LIMIT(link->flags), t.bucket,
			 &t.view))
		return;
	view_count_limited(&o->ration->seg, t.view);
	pace = pace_of(&t);
	word = view_value(&o->ration->seg, t.view, VIEW_LEARNED);
	learn(&t, word, after_refusal(&t, word, &pace), "refused although there was room");
	touch(&t);
}

/* --- nothing is refused --- */

/*
 * All of it is granted again: nothing more is to be remembered. What a limit may grow to is not bounded if it is sought: then
 * more is tried for as long as all of it is asked for, or nothing would show that there is more.
 */
static uint64_t after_success(const struct told *t, uint64_t word, const struct learn_pace *pace)
{
	const uint64_t now = t->o->at.now;
	const uint32_t full = view_counts(&t->o->ration->seg, t->view.bucket).full;
	const bool idle = ((periods(t) - full) & PERIODS_MASK) > PERIODS_IDLE;

	if (!(t->limit->flags & LIMIT_SEEKS))
		return learn_share(word, now, pace) >= LEARN_ALL ? 0 : word;
	if (word == 0)
		return idle ? word : learn_try(word, now, pace);
	return idle && learn_is_trying(word, now, pace) ? learn_hold(word, now) : word;
}

static void observe_success(const struct told *t)
{
	const uint64_t word = view_value(&t->o->ration->seg, t->view, VIEW_LEARNED);
	const struct learn_pace pace = pace_of(t);

	if (word == 0 && !(t->limit->flags & LIMIT_SEEKS))
		return;
	count(t, word);
	learn(t, word, after_success(t, word, &pace), "nothing is refused");
	touch(t);
}

static bool view_of(const struct observing *o, const struct link *link, struct told *t)
{
	if (client_view_find(o->ration, t->bucket, &t->view))
		return true;
	return t->limit->flags & LIMIT_SEEKS &&
	       client_view(o->ration, o->handle->field, o->blob, LINK_LIMIT(link->flags), t->bucket,
			   &t->view);
}

/* Where something is being learned, those that were accepted count as well. */
static void observe_accepted(const struct observing *o)
{
	for (uint64_t i = 0; i < o->chain.head.n_links; i++) {
		const struct link *link = &o->chain.links[i];
		struct told t = {.told = NULL};

		if (written(o, link) && begin(o, link, &t) && view_of(o, link, &t))
			observe_success(&t);
	}
}

/* --- the call --- */

static bool ends_within(const char *text)
{
	return strnlen(text, RATION_NAME_MAX + 1) <= RATION_NAME_MAX;
}

static bool signal_ok(const struct ration_signal *signal)
{
	if (signal->n_told > RATION_TOLD_MAX || signal->limit_class > RATION_LIMIT_BILLING ||
	    signal->reach > RATION_REACH_ACCOUNT)
		return false;
	for (uint32_t i = 0; i < signal->n_told; i++) {
		if (!ends_within(signal->told[i].name) || !ends_within(signal->told[i].unit))
			return false;
	}
	return true;
}

static int begin_observing(struct observing *o)
{
	struct ration *ration = o->ration;
	const int ready = attachment_ready(ration);
	int result;

	if (ready != 0)
		return ready;
	o->at.now = client_now(ration);
	if (shm_load(&ration->seg.control->policy_generation) >
	    atomic_load(&ration->policy_generation))
		policy_update(ration, o->at.now);
	o->at.wall = client_wall(ration, o->at.now);
	o->permit = o->ticket ? lesser(o->ticket->permit, o->at.now) : o->at.now;
	result = client_chain(o->handle, o->at.wall, false, &o->chain);
	return result;
}

int ration_observe(struct ration_handle *handle, const struct ration_ticket *ticket,
		   const struct ration_signal *signal)
{
	struct observing o = {
		.ration = handle->ration, .handle = handle, .ticket = ticket, .signal = signal};
	int result;

	if (!signal_ok(signal))
		return -EINVAL;
	result = begin_observing(&o);
	if (result != 0)
		return result;
	if (signal->limited)
		event_tell_limited(handle, signal);
	else if (signal->attempt > 1)
		event_tell_attempt(handle, EVENT_FINISHED, signal, signal->attempt, EVENT_NONE,
				   "answered");
	o.blob = policy_enter(o.ration);
	/* Replaced meanwhile: the chain's limits cannot be named any more, and the next response will say it again. */
	if (o.blob->header->generation == o.chain.head.policy_generation) {
		o.tenant = blob_find_tenant(o.blob, handle->field[KEY_TENANT]);
		for (uint32_t i = 0; i < signal->n_told; i++)
			observe_told(&o, &signal->told[i]);
		if (is_refusal(signal))
			observe_refusal(&o);
		else if (!signal->limited)
			observe_accepted(&o);
	}
	policy_leave(o.ration);
	return gate_observe(handle, ticket, signal, o.at.now);
}
