/*
 * tests/model/taker.h - an actor that takes from one bucket, and gives back or takes more
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_MODEL_TAKER_H
#define RATION_MODEL_TAKER_H

#include "reference.h"
#include "shm/bucket.h"

/* What such an actor remembers: model.self_size. */
struct taker {
	struct bucket_charged charged;
	struct permit *permit;
	uint64_t units;
};

/* The bucket they take from; setup sets it. */
extern struct bucket_ref taken_from;

void op_take(void *self, const struct op *op);

/* What was taken last comes to op->a units. */
void op_settle(void *self, const struct op *op);

/* The same where nobody else is there and no time has passed: all of it must come back. */
void op_settle_alone(void *self, const struct op *op);

/* op->a ticks more, into debt if need be. */
void op_debit(void *self, const struct op *op);

#define TAKE(n)                                                                                    \
	{                                                                                          \
		op_take, "take %u", n, 0                                                           \
	}
#define CANCEL                                                                                     \
	{                                                                                          \
		op_settle, "cancel", 0, 0                                                          \
	}
#define SETTLE(n)                                                                                  \
	{                                                                                          \
		op_settle, "settle to %u", n, 0                                                    \
	}
#define SETTLE_ALONE(n)                                                                            \
	{                                                                                          \
		op_settle_alone, "settle at once to %u", n, 0                                      \
	}
#define DEBIT(n)                                                                                   \
	{                                                                                          \
		op_debit, "settle up by %u", n, 0                                                  \
	}

/* Where the bucket stands, and how many units it could give at T0. */
struct bucket_view taken_view(void);

#endif
