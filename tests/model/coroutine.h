/*
 * tests/model/coroutine.h - actors on stacks of their own, which can be copied away and put back
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_MODEL_COROUTINE_H
#define RATION_MODEL_COROUTINE_H

#include <stddef.h>

#define CO_MAX 6

/* Prepare coroutine i to begin with body(i). body never returns: it ends in a last co_pause(). */
void co_prepare(int i, void (*body)(int i));

/* Let i run until it pauses. */
void co_resume(int i);

/* Back to whoever resumed. */
void co_pause(void);

/* Which one runs; -1: none. */
int co_current(void);

/* The part of a paused coroutine's stack that is in use, its registers included. */
char *co_frame(int i, size_t *ret_size);

/* Make it `size` bytes again; the caller fills them in. */
char *co_reframe(int i, size_t size);

#endif
