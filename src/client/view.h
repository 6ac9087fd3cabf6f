/*
 * client/view.h - the record of what a vendor has told of a bucket
 * SPDX-License-Identifier: MIT
 */
#ifndef RATION_CLIENT_VIEW_H
#define RATION_CLIENT_VIEW_H

#include "client/client.h"
#include "shm/index.h"

/* The view (shm/view.h) of a linked bucket, if there is one. */
bool client_view_find(const struct ration *ration, struct bucket_ref bucket,
		      struct bucket_ref *ret_view);

/* The same, or a new one; field, limit: what the bucket counts. False: no room, or others were always faster. */
bool client_view(struct ration *ration, const char *const field[KEY_FIELDS],
		 const struct blob *blob, uint32_t limit, struct bucket_ref bucket,
		 struct bucket_ref *ret_view);

#endif
