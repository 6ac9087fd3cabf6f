/*
 * tests/support_quota.c - a vendor that enforces one limit, exactly, and tells of it in one of the usual notations
 * SPDX-License-Identifier: MIT
 */
#include "support_quota.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)

static uint64_t interval(const struct quota *q)
{
	return q->period / q->amount;
}

/* --- what is left --- */

static void forget(struct quota *q, uint64_t now)
{
	while (q->first < q->n && q->at[q->first % QUOTA_LOG] + q->period <= now)
		q->first++;
}

static uint64_t slide(struct quota *q, uint64_t now)
{
	const uint64_t window = now / q->period;

	if (window != q->window) {
		q->before = window == q->window + 1 ? q->used : 0;
		q->used = 0;
		q->window = window;
	}
	return q->used + q->before * (q->period - now % q->period) / q->period;
}

static uint64_t used(struct quota *q, uint64_t now)
{
	switch (q->kind) {
	case QUOTA_BUCKET:
		return q->full_at <= now ? 0 : (q->full_at - now + interval(q) - 1) / interval(q);
	case QUOTA_WINDOW:
		return now / q->period == q->window ? q->used : 0;
	case QUOTA_ROLLING:
		forget(q, now);
		return q->n - q->first;
	case QUOTA_SLIDING:
		return slide(q, now);
	default:
		return q->used;
	}
}

static uint64_t whole(const struct quota *q)
{
	return q->kind == QUOTA_BUCKET ? q->burst : q->amount;
}

bool quota_take(struct quota *q, uint64_t now)
{
	const uint64_t so_far = used(q, now);

	if (so_far >= whole(q)) {
		q->used += q->kind == QUOTA_SLIDING;
		return false;
	}
	if (q->kind == QUOTA_SLIDING) {
		q->used++;
		return true;
	}
	q->full_at = (q->full_at > now ? q->full_at : now) + interval(q);
	q->window = now / q->period;
	q->used = so_far + 1;
	q->at[q->n++ % QUOTA_LOG] = now;
	return true;
}

void quota_end(struct quota *q)
{
	q->used--;
}

/* ns until there is something again if nothing is left, else until all is. */
static uint64_t reset_in(struct quota *q, uint64_t now, bool none)
{
	switch (q->kind) {
	case QUOTA_BUCKET:
		if (q->full_at <= now)
			return 0;
		return q->full_at - now - (none ? (q->burst - 1) * interval(q) : 0);
	case QUOTA_WINDOW:
		return q->period - now % q->period;
	case QUOTA_ROLLING:
		return q->n == q->first
			       ? 0
			       : q->at[(none ? q->first : q->n - 1) % QUOTA_LOG] + q->period - now;
	default:
		return 0;
	}
}

/* --- in its own words --- */

struct writer {
	char *text;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	w->size += (size_t)vsnprintf(w->text + w->size, QUOTA_HEADERS - w->size, format, args);
	va_end(args);
}

static uint64_t up_to_second(uint64_t ns)
{
	return (ns + SECOND - 1) / SECOND;
}

static void put_time(struct writer *w, const char *name, const char *format, uint64_t ns)
{
	const time_t seconds = (time_t)up_to_second(ns);
	char text[64];
	struct tm tm;

	strftime(text, sizeof(text), format, gmtime_r(&seconds, &tm));
	put(w, "%s: %s\r\n", name, text);
}

#define HTTP_DATE "%a, %d %b %Y %H:%M:%S GMT"

struct figures {
	unsigned long long limit, remaining, reset, period;
	uint64_t reset_at;
};

static void put_figures(struct writer *w, enum quota_notation notation, const struct figures *f)
{
	switch (notation) {
	case QUOTA_X_TRIPLE:
		put(w, "X-RateLimit-Limit: %llu\r\nX-RateLimit-Remaining: %llu\r\n", f->limit,
		    f->remaining);
		put(w, "X-RateLimit-Reset: %llu\r\n",
		    (unsigned long long)up_to_second(f->reset_at));
		break;
	case QUOTA_TRIPLE:
		put(w, "RateLimit-Limit: %llu\r\nRateLimit-Remaining: %llu\r\n", f->limit,
		    f->remaining);
		put(w, "RateLimit-Reset: %llu\r\n", f->reset);
		break;
	case QUOTA_STANDARD:
		put(w, "RateLimit-Policy: \"quota\";q=%llu;w=%llu\r\n", f->limit, f->period);
		put(w, "RateLimit: \"quota\";r=%llu;t=%llu\r\n", f->remaining, f->reset);
		break;
	case QUOTA_OPENAI:
		put(w, "x-ratelimit-limit-requests: %llu\r\n", f->limit);
		put(w, "x-ratelimit-remaining-requests: %llu\r\n", f->remaining);
		put(w, "x-ratelimit-reset-requests: %llum%llus\r\n", f->reset / 60, f->reset % 60);
		break;
	case QUOTA_ANTHROPIC:
		put(w, "anthropic-ratelimit-requests-limit: %llu\r\n", f->limit);
		put(w, "anthropic-ratelimit-requests-remaining: %llu\r\n", f->remaining);
		put_time(w, "anthropic-ratelimit-requests-reset", "%Y-%m-%dT%H:%M:%SZ",
			 f->reset_at);
		break;
	case QUOTA_SHOPIFY:
		put(w, "X-Shopify-Shop-Api-Call-Limit: %llu/%llu\r\n", f->limit - f->remaining,
		    f->limit);
		break;
	case QUOTA_HUBSPOT:
		put(w, "X-HubSpot-RateLimit-Max: %llu\r\n", f->limit);
		put(w, "X-HubSpot-RateLimit-Remaining: %llu\r\n", f->remaining);
		put(w, "X-HubSpot-RateLimit-Interval-Milliseconds: %llu\r\n", f->period * 1000);
		break;
	default:
		break;
	}
}

/* Those that say it in a header of their own do not say it twice. */
static void put_wait(struct writer *w, enum quota_notation notation, uint64_t reset, uint64_t now)
{
	if (notation == QUOTA_RETRY_DATE)
		put_time(w, "Retry-After", HTTP_DATE, now + reset);
	else if (notation != QUOTA_SILENT && notation != QUOTA_X_TRIPLE)
		put(w, "Retry-After: %llu\r\n", (unsigned long long)up_to_second(reset));
}

size_t quota_headers(struct quota *q, bool granted, uint64_t now, char text[QUOTA_HEADERS])
{
	const uint64_t so_far = used(q, now);
	const uint64_t left = so_far < whole(q) ? whole(q) - so_far : 0;
	const uint64_t reset = reset_in(q, now, left == 0);
	const struct figures figures = {whole(q), left, up_to_second(reset), q->period / SECOND,
					now + reset};
	struct writer w = {text, 0};

	put_time(&w, "Date", HTTP_DATE, now - now % SECOND);
	put_figures(&w, q->notation, &figures);
	if (!granted)
		put_wait(&w, q->notation, reset, now);
	return w.size;
}

const char *quota_adapter(enum quota_notation notation)
{
	static const char *const names[QUOTA_NOTATIONS] = {
		[QUOTA_OPENAI] = "openai",
		[QUOTA_ANTHROPIC] = "anthropic",
		[QUOTA_SHOPIFY] = "shopify",
		[QUOTA_HUBSPOT] = "hubspot",
	};

	return names[notation] ? names[notation] : "generic";
}
