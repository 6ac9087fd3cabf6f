/*
 * tests/model/taker.c - an actor that takes from one bucket, and gives back or takes more
 * SPDX-License-Identifier: MIT
 */
#include "taker.h"

struct bucket_ref taken_from;

static struct seg_hot *hot(void)
{
	return &world.seg.hot[taken_from.bucket];
}

void op_take(void *self, const struct op *op)
{
	struct taker *me = self;
	const uint64_t at = now();
	const uint32_t life = taken_from.generation;
	struct bucket_view view;

	*me = (struct taker){.units = op->a};
	if (bucket_look(hot(), life, op->a, at, &view) != TAKE_ADMIT ||
	    bucket_charge(hot(), life, op->a, at, &view) != TAKE_ADMIT)
		return;
	me->charged = (struct bucket_charged){life, view.ticks, view.tat, view.refunds};
	me->permit = note_permit(0, at, op->a);
}

/* Ticks of what was charged, in whole units: never less than they are worth. */
static uint64_t units_of(const struct taker *me, uint64_t ticks)
{
	return (ticks * me->units + me->charged.ticks - 1) / me->charged.ticks;
}

static uint64_t give_back(struct taker *me, uint64_t units)
{
	struct bucket_charged charged = me->charged;
	uint64_t given = 0;

	charged.ticks = charged.ticks / me->units * units;
	for (int i = 0; i < CAS_ATTEMPTS; i++) {
		struct bucket_pair pair;

		bucket_refund_look(hot(), &pair);
		if (bucket_refund(hot(), &charged, &pair, now(), &given)) {
			me->permit->back += units_of(me, given);
			break;
		}
	}
	return given;
}

void op_settle(void *self, const struct op *op)
{
	struct taker *me = self;

	if (me->permit && me->units > op->a)
		(void)give_back(me, me->units - op->a);
	*me = (struct taker){0};
}

void op_settle_alone(void *self, const struct op *op)
{
	struct taker *me = self;

	if (!me->permit || units_of(me, give_back(me, me->units - op->a)) != me->units - op->a)
		model_fail("a refund gave too little");
	*me = (struct taker){0};
}

void op_debit(void *self, const struct op *op)
{
	(void)self;
	if (bucket_debit(hot(), taken_from.generation, op->a, now()))
		notes()->debts[0] += op->a;
}

struct bucket_view taken_view(void)
{
	struct bucket_view view;

	(void)bucket_look(hot(), taken_from.generation, 0, T0, &view);
	return view;
}
