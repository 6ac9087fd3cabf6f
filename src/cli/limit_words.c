/*
 * cli/limit_words.c - a limit in words: what was written, what it comes to, and for whom
 * SPDX-License-Identifier: MIT
 */
#include "cli/limit_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/words.h"
#include "shm/rolling.h"
#include "shm/slots.h"
#include "shm/take.h"
#include "shm/window.h"

typedef unsigned long long ull;

__attribute__((format(printf, 2, 3))) static void add(char buf[LIMIT_WORDS_SIZE],
						      const char *format, ...)
{
	const size_t used = strlen(buf);
	va_list args;

	va_start(args, format);
	vsnprintf(buf + used, LIMIT_WORDS_SIZE - used, format, args);
	va_end(args);
}

static const struct blob_numbers *numbers_of(const struct limit_view *view,
					     const struct blob_limit *limit)
{
	return blob_numbers_for(view->blob, (uint32_t)(limit - view->blob->limits), view->tenant);
}

const char *limit_kind(uint32_t kind)
{
	static const char *const names[KIND_COUNT] = {
		[KIND_NONE] = "unknown kind",       [KIND_BUCKET] = "token bucket",
		[KIND_WINDOW] = "window",           [KIND_ROLLING] = "rolling limit",
		[KIND_SLOTS] = "concurrency limit",
	};

	return names[kind < KIND_COUNT ? kind : KIND_NONE];
}

/* --- what was written --- */

/* words_rate() goes over to powers of ten where a policy's author wants to see all digits. */
static void add_rate(char buf[LIMIT_WORDS_SIZE], double per_second, uint64_t burst)
{
	char rate[32];

	if (per_second < 10000)
		add(buf, "%s", words_rate(per_second, rate, sizeof(rate)));
	else
		add(buf, "%.0f/s", per_second);
	add(buf, ", burst %llu", (ull)burst);
}

static void add_period(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE])
{
	static const char *const units[] = {
		[CALENDAR_DAY] = "day",
		[CALENDAR_WEEK] = "week",
		[CALENDAR_MONTH] = "month",
	};
	const struct blob_limit *limit = view->limit;
	char period[32];

	words_duration(limit->numbers.period_ns, period, sizeof(period));
	if (limit->kind == KIND_ROLLING)
		add(buf, " in any %s", period);
	else if (limit->calendar == CALENDAR_LENGTH)
		add(buf, " in each %s", period);
	else
		add(buf, " in each %s", units[limit->calendar]);
	if (limit->kind == KIND_WINDOW && limit->zone != BLOB_NO_INDEX)
		add(buf, " of %s", blob_text(view->blob, view->blob->zones[limit->zone].name));
	if (limit->offset_ns > 0)
		add(buf, ", from %s on",
		    words_duration((uint64_t)limit->offset_ns, period, sizeof(period)));
}

static void add_amount(const struct limit_view *view, uint64_t amount, char buf[LIMIT_WORDS_SIZE])
{
	add(buf, "%llu", (ull)amount);
	if (view->limit->kind == KIND_SLOTS)
		add(buf, " at a time");
	else
		add_period(view, buf);
}

char *limit_written(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE])
{
	const struct blob_numbers *n = numbers_of(view, view->limit);

	buf[0] = '\0';
	if (view->limit->kind == KIND_BUCKET)
		add_rate(buf, (double)n->amount * 1e9 / (double)n->period_ns, n->burst);
	else
		add_amount(view, n->amount, buf);
	return buf;
}

/* --- what it comes to --- */

static const struct blob_limit *derived_of(const struct limit_view *view, uint32_t class_index,
					   enum limit_role role)
{
	const uint32_t parent = (uint32_t)(view->limit - view->blob->limits);

	for (uint32_t i = 0; i < view->blob->n_limits; i++) {
		const struct blob_limit *l = &view->blob->limits[i];

		if (l->parent == parent && l->role == role && l->class_index == class_index)
			return l;
	}
	return NULL;
}

uint64_t limit_amount(uint32_t kind, uint64_t effective)
{
	switch (kind) {
	case KIND_BUCKET:
		return bucket_burst(effective);
	case KIND_SLOTS:
		return slots_count(effective);
	case KIND_ROLLING:
		return rolling_amount(effective);
	default:
		return window_amount(effective);
	}
}

static uint64_t packed_amount(const struct limit_view *view, const struct blob_numbers *n)
{
	return limit_amount(view->limit->kind, n->effective);
}

/* Parts of a window or a rolling limit that are some class's own. */
static uint64_t own_parts(const struct limit_view *view)
{
	uint64_t sum = 0;

	for (uint32_t k = 0; k < view->blob->n_classes; k++) {
		const struct blob_limit *own = derived_of(view, k, LIMIT_GUARANTEE);

		if (own && view->limit->kind != KIND_BUCKET)
			sum += packed_amount(view, numbers_of(view, own));
	}
	return sum;
}

char *limit_effective(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE])
{
	const struct blob_numbers *n = numbers_of(view, view->limit);
	const uint64_t own = own_parts(view);

	buf[0] = '\0';
	if (view->limit->kind == KIND_BUCKET)
		add_rate(buf, words_per_second(n->effective), bucket_burst(n->effective));
	else
		add_amount(view, packed_amount(view, n) + own, buf);
	if (own > 0)
		add(buf, ", of which %llu for all classes", (ull)packed_amount(view, n));
	return buf;
}

/* --- what classes claim --- */

static void add_claim(const struct limit_view *view, const char *what,
		      const struct blob_limit *derived, char buf[LIMIT_WORDS_SIZE])
{
	const struct blob_numbers *n = derived ? numbers_of(view, derived) : NULL;

	if (!n)
		return;
	add(buf, "%s%s ", buf[0] ? "; " : "", what);
	if (view->limit->kind == KIND_BUCKET)
		add_rate(buf, words_per_second(n->effective), bucket_burst(n->effective));
	else
		add(buf, "%llu", (ull)packed_amount(view, n));
}

static void add_range(uint64_t range, char buf[LIMIT_WORDS_SIZE])
{
	const ull own = range >> 16 & 0xffff, most = range >> 48;

	if (own > 0)
		add(buf, "guaranteed %llu", own);
	if (most > 0)
		add(buf, "%sat most %llu", own > 0 ? "; " : "", most);
}

char *limit_claims(const struct limit_view *view, uint32_t class_index, char buf[LIMIT_WORDS_SIZE])
{
	const uint64_t by_class = numbers_of(view, view->limit)->by_class[class_index];
	const struct blob_limit *own = derived_of(view, class_index, LIMIT_GUARANTEE);

	buf[0] = '\0';
	if (view->limit->kind == KIND_SLOTS) {
		add_range(by_class, buf);
		return buf;
	}
	add_claim(view, "guaranteed", own, buf);
	add_claim(view, "at most", derived_of(view, class_index, LIMIT_CEILING), buf);
	if (by_class > 0)
		add(buf, "%s%sleaves %llu", buf[0] ? "; " : "", own ? "beyond that " : "",
		    (ull)by_class);
	return buf;
}

/* --- modes --- */

static void add_effect(const struct blob *blob, uint32_t deny, char buf[LIMIT_WORDS_SIZE])
{
	const char *before = "denies only ";

	deny &= (UINT32_C(1) << blob->n_classes) - 1;
	if (deny == 0 || deny == (UINT32_C(1) << blob->n_classes) - 1) {
		add(buf, deny ? "enforce" : "shadow");
		return;
	}
	for (uint32_t k = 0; k < blob->n_classes; k++) {
		if (!(deny >> k & 1))
			continue;
		add(buf, "%s%s", before, blob_text(blob, blob->classes[k].name));
		before = " and ";
	}
}

char *limit_mode(const struct blob *blob, const struct blob_rules *rules,
		 char buf[LIMIT_WORDS_SIZE])
{
	bool whole = false;

	buf[0] = '\0';
	for (uint32_t i = 0; i < rules->count; i++) {
		const struct blob_rule *r = &blob->rules[rules->first + i];

		add(buf, "%s", i > 0 ? "; else " : "");
		add_effect(blob, r->deny, buf);
		whole |= r->from == 0 && r->until == 86400;
		if (r->from != 0 || r->until != 86400)
			add(buf, " from %02u:%02u to %02u:%02u in %s", r->from / 3600,
			    r->from / 60 % 60, r->until / 3600, r->until / 60 % 60,
			    r->zone == BLOB_NO_INDEX ? "UTC"
						     : blob_text(blob, blob->zones[r->zone].name));
	}
	if (!whole)
		add(buf, "%senforce", rules->count > 0 ? "; else " : "");
	return buf;
}

/* --- the rest --- */

static void cost_line(const struct limit_view *view, limit_line *line, void *user)
{
	const char *unit = blob_text(view->blob, view->limit->unit);
	char buf[LIMIT_WORDS_SIZE] = "";

	if (view->limit->kind == KIND_SLOTS)
		return;
	if (!(view->limit->flags & LIMIT_HAS_DEFAULT_COST))
		add(buf, "a request must say how many %s", unit);
	else if (strcmp(unit, "requests") != 0 || view->limit->default_cost != 1)
		add(buf, "%llu %s unless a request says otherwise", (ull)view->limit->default_cost,
		    unit);
	if (buf[0])
		line(user, "cost", buf);
}

static bool releases(const struct limit_view *view)
{
	const uint32_t parent = (uint32_t)(view->limit - view->blob->limits);
	const struct blob_table *links = &view->blob->header->tables[BLOB_LINKS];

	for (uint32_t i = 0; i < links->count; i++) {
		const struct blob_link *link = &view->blob->links[i];

		if (link->flags & LINK_RELEASED && view->blob->limits[link->limit].parent == parent)
			return true;
	}
	return false;
}

void limit_lines(const struct limit_view *view, limit_line *line, void *user)
{
	const struct blob_limit *limit = view->limit;
	const struct blob_numbers *n = numbers_of(view, limit);
	char buf[LIMIT_WORDS_SIZE] = "", time[32];

	cost_line(view, line, user);
	if (limit->flags & LIMIT_CLAMP)
		line(user, "oversize", "a cost that could never fit takes all there is");
	if (n->max_debt > 0) {
		add(buf, "at most %llu", (ull)n->max_debt);
		line(user, "max_debt", buf);
	}
	if (limit->flags & LIMIT_PACED)
		line(user, "pace", "what is left is spread over the time that is left");
	if (releases(view))
		line(user, "release", "what guarantees leave unused goes to all, as time passes");
	if (limit->flags & LIMIT_FIFO)
		line(user, "order", "first come, first served, whatever the class");
	if (limit->hold_ns > 0)
		line(user, "max_hold", words_duration(limit->hold_ns, time, sizeof(time)));
	if (limit->kind == KIND_SLOTS && n->delay_ns > 0) {
		buf[0] = '\0';
		add(buf, "a slot is free %s after its request was given up",
		    words_duration(n->delay_ns, time, sizeof(time)));
		line(user, "delay", buf);
	}
	if (limit->mode.count > 0)
		line(user, "mode", limit_mode(view->blob, &limit->mode, buf));
}

char *limit_breaker(const struct blob_breaker *breaker, char buf[LIMIT_WORDS_SIZE])
{
	char open[32], window[32];

	buf[0] = '\0';
	if (breaker->window_ns == 0)
		add(buf, "none");
	else
		add(buf, "opens for %s when %.4g %% of %u or more responses in %s were limited",
		    words_duration(breaker->open_ns, open, sizeof(open)),
		    (double)breaker->share_ppm / 1e4, breaker->least,
		    words_duration(breaker->window_ns, window, sizeof(window)));
	return buf;
}

/* --- what delay and clock_skew cost --- */

struct lateness {
	uint64_t skew, delay; /* ns */
};

/* Of the limit's vendor; where it holds for all of them, of the one it costs most with. */
static struct lateness lateness_of(const struct limit_view *view)
{
	const struct blob *blob = view->blob;
	const char *name = blob_text(blob, view->limit->vendor);
	struct lateness most = {0, 0};

	for (uint32_t i = 0; i < blob->n_vendors; i++) {
		const struct blob_vendor *v = &blob->vendors[i];

		if ((name[0] == '\0' || strcmp(blob_text(blob, v->name), name) == 0) &&
		    2 * v->clock_skew_ns + v->delay_ns > 2 * most.skew + most.delay)
			most = (struct lateness){v->clock_skew_ns, v->delay_ns};
	}
	return most;
}

static void guard_of_window(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE])
{
	const struct lateness most = lateness_of(view);
	const uint64_t period = view->limit->numbers.period_ns;
	const uint64_t skew = most.skew, delay = most.delay;
	char before[32], after[32];

	if (skew + delay == 0)
		return;
	add(buf,
	    "from %s before an edge to %s after it, permits count on both sides of it: (2 x "
	    "clock_skew + delay) / period = %.3g%% of an even demand at most",
	    words_duration(skew + delay, before, sizeof(before)),
	    words_duration(skew, after, sizeof(after)),
	    (double)(2 * skew + delay) * 100 / (double)period);
}

static void guard_of_rolling(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE])
{
	const struct blob_numbers *n = numbers_of(view, view->limit);
	const double cells = ROLLING_CELLS;
	const double longer = (double)(n->period_ns + n->delay_ns) * (1 + 1 / cells);

	add(buf,
	    "counted over period + delay, in %u cells: under saturating demand 1 - period / "
	    "((period + delay) x (1 + 1/%u)) = %.3g%% is not used",
	    ROLLING_CELLS, ROLLING_CELLS, (1 - (double)n->period_ns / longer) * 100);
}

/* How long a request takes at the vendor nobody knows here. */
static void guard_of_slots(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE])
{
	const double way = 2 * (double)numbers_of(view, view->limit)->delay_ns / 1e9;

	if (way > 0)
		add(buf,
		    "a slot is taken on the way there and back, too: of the slots, 2 x delay / (2 "
		    "x delay "
		    "+ T) = %.3g%% at most, where requests take T = 1 s",
		    way * 100 / (way + 1));
}

char *limit_guard(const struct limit_view *view, char buf[LIMIT_WORDS_SIZE])
{
	buf[0] = '\0';
	if (view->limit->kind == KIND_WINDOW)
		guard_of_window(view, buf);
	else if (view->limit->kind == KIND_ROLLING)
		guard_of_rolling(view, buf);
	else if (view->limit->kind == KIND_SLOTS)
		guard_of_slots(view, buf);
	return buf;
}

char *retry_words(const struct blob_retry *retry, char *buf, size_t size)
{
	char total[40], base[40], cap[40];

	if (retry->attempts <= 1)
		snprintf(buf, size, "none");
	else
		snprintf(buf, size,
			 "sent at most %u times in %s, after waits of up to %s, doubling up to %s; "
			 "%g%% of "
			 "the first tries earn one",
			 retry->attempts, words_duration(retry->total_ns, total, sizeof(total)),
			 words_duration(retry->base_ns, base, sizeof(base)),
			 words_duration(retry->cap_ns, cap, sizeof(cap)), retry->budget_ppm / 1e4);
	return buf;
}

/* --- routes --- */

static size_t weight_words(const struct blob *blob, const struct blob_route *route, uint32_t i,
			   char *buf, size_t size)
{
	const struct blob_alternative *run = &blob->alternatives[route->first];
	uint64_t sum = 0;

	if (run[i].weight == 0)
		return (size_t)snprintf(buf, size, "choice %u", i + 1);
	for (uint32_t k = 0; k < route->count; k++)
		sum += run[k].weight;
	return (size_t)snprintf(buf, size, "weight %u of %llu", run[i].weight,
				(unsigned long long)sum);
}

char *route_place(const struct blob *blob, const struct blob_route *route, uint32_t i,
		  char buf[LIMIT_WORDS_SIZE])
{
	const uint32_t classes = blob->alternatives[route->first + i].classes;
	const uint32_t all = (UINT32_C(1) << blob->n_classes) - 1;
	size_t n = weight_words(blob, route, i, buf, LIMIT_WORDS_SIZE);
	bool any = false;

	if (classes == all)
		return buf;
	for (uint32_t k = 0; k < blob->n_classes && n < LIMIT_WORDS_SIZE; k++) {
		if (!(classes >> k & 1))
			continue;
		n += (size_t)snprintf(buf + n, LIMIT_WORDS_SIZE - n, "%s%s", any ? ", " : "; for ",
				      blob_text(blob, blob->classes[k].name));
		any = true;
	}
	return buf;
}
