/*
 * cli/run_frame.h - what `ration run` and its workers say to each other
 * SPDX-License-Identifier: MIT
 *
 * A stream socket carries frames: this head, then `size` bytes. Both ends are the same program on the same host,
 * so structs go as they are. End of file at the worker's end without FRAME_END means that the run was killed.
 */
#ifndef RATION_CLI_RUN_FRAME_H
#define RATION_CLI_RUN_FRAME_H

#include <stdint.h>
#include <string.h>

#include <ration/ration.h>

#include "cli/buffer.h"

enum {
	RUN_WINDOW = 256, /* requests that one worker may hold */
	RUN_WORKERS_MAX = 128,
};

enum frame_type {
	/* To a worker. */
	FRAME_REQUEST, /* frame_request and the line: take this one */
	FRAME_STOP,    /* give back what was not sent yet, finish the rest */
	FRAME_END,     /* nothing more will come: exit when done */
	/* From a worker. */
	FRAME_ANSWER, /* frame_answer and an error text: a request has ended */
	FRAME_BACK,   /* uint32_t slot: was not sent, as told to stop */
	FRAME_FATAL,  /* int32_t status and a text: this worker cannot work */
};

struct frame {
	uint32_t size;
	uint32_t type;
};

struct frame_request {
	uint32_t slot; /* names the request until its answer */
	uint32_t reserved;
	uint64_t read_ns; /* CLOCK_BOOTTIME */
};

struct frame_answer {
	uint32_t slot;
	int32_t error; /* as in struct ration_http_result */
	int32_t status;
	uint32_t attempts;
	uint32_t fate_unknown;
	uint32_t refusals; /* for a limit, among the attempts */
	uint64_t wait_ns;
	uint64_t latency_ns;
	uint64_t acquire_ns;
	uint64_t sent_ns; /* CLOCK_BOOTTIME; 0: never */
	char limit[2 * RATION_NAME_MAX +
		   2]; /* "vendor/limit" that made it wait or refused it; "" */
	/* Of a route: "vendor/resource" that it went to, or tried to; "" */
	char to[RATION_NAME_MAX + RATION_KEY_MAX + 2];
};

static inline void frame_put(struct buffer *out, enum frame_type type, const void *head,
			     size_t head_size, const void *rest, size_t rest_size)
{
	const struct frame frame = {(uint32_t)(head_size + rest_size), type};

	buffer_append(out, &frame, sizeof(frame));
	buffer_append(out, head, head_size);
	buffer_append(out, rest, rest_size);
}

/* The next whole frame: its payload, to be consumed with frame_done(); NULL: more bytes are needed. */
static inline const char *frame_get(const struct buffer *in, struct frame *ret_frame)
{
	if (buffer_size(in) < sizeof(*ret_frame))
		return NULL;
	memcpy(ret_frame, buffer_bytes(in), sizeof(*ret_frame));
	if (buffer_size(in) - sizeof(*ret_frame) < ret_frame->size)
		return NULL;
	return buffer_bytes(in) + sizeof(*ret_frame);
}

static inline void frame_done(struct buffer *in, const struct frame *frame)
{
	buffer_consume(in, sizeof(*frame) + frame->size);
}

#endif
