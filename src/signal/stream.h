/*
 * signal/stream.h - server-sent events, one after the other
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_SIGNAL_STREAM_H
#define RATION_SIGNAL_STREAM_H

#include "policy/arena.h"
#include "signal/pattern.h"

/* Whether a body looks like a stream of events: its first line that is not empty is a field of one. */
bool stream_begins(struct text body);

/*
 * The data of the next event at or behind *at that has some; *at moves behind it. Several lines of data
 * are one text, put together in the arena. False: no more, or no memory.
 */
bool stream_next(struct text body, size_t *at, struct arena *arena, struct text *ret_data);

#endif
