/*
 * tests/model/coroutine.c - actors on stacks of their own, which can be copied away and put back
 * SPDX-License-Identifier: MIT
 *
 * x86-64, like the project. swapcontext() would cost two system calls a switch, and would keep the
 * registers where they cannot be compared.
 */
#include "coroutine.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STACK_SIZE 32768

static _Alignas(64) char stacks[CO_MAX][STACK_SIZE];
static void *sp[CO_MAX];
static void (*bodies[CO_MAX])(int i);
static void *outside;
static int current = -1;

/* Keep what a call must preserve on the old stack, take it from the new one. */
void co_switch(void **save, void *to);
__asm__(".text\n"
	".globl co_switch\n"
	".type co_switch, @function\n"
	"co_switch:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size co_switch, . - co_switch\n");

static void begin(void)
{
	bodies[current](current);
	abort();
}

void co_prepare(int i, void (*body)(int i))
{
	uint64_t *top = (uint64_t *)(void *)(stacks[i] + STACK_SIZE);

	memset(stacks[i], 0, STACK_SIZE);
	bodies[i] = body;
	/* Where a call would have left its return address; below it, where co_switch() goes to. */
	top[-2] = (uint64_t)(uintptr_t)begin;
	sp[i] = top - 8;
}

void co_resume(int i)
{
	current = i;
	co_switch(&outside, sp[i]);
	current = -1;
}

void co_pause(void)
{
	co_switch(&sp[current], outside);
}

int co_current(void)
{
	return current;
}

char *co_frame(int i, size_t *ret_size)
{
	*ret_size = (size_t)(stacks[i] + STACK_SIZE - (char *)sp[i]);
	return sp[i];
}

char *co_reframe(int i, size_t size)
{
	sp[i] = stacks[i] + STACK_SIZE - size;
	return sp[i];
}
