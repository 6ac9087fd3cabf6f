/*
 * policy/tree.h - a YAML file as a tree of nodes that know where they stand
 * SPDX-License-Identifier: MIT
 *
 * Built from libyaml's events rather than its document API: the latter has no bound on depth (its scanner then takes
 * quadratic time: 200 kB of "[" keep it busy for minutes) and compares each anchor with all before it. For the same reason,
 * and because each number of a policy has one place of its own, there are no anchors and aliases.
 */
#ifndef RATION_POLICY_TREE_H
#define RATION_POLICY_TREE_H

#include "policy/notes.h"
#include "policy/source.h"

enum {
	TREE_DEPTH_MAX = 32,
	TREE_NODES_MAX = 2000000, /* of all files together */
};

enum node_kind {
	NODE_TEXT,
	NODE_LIST,
	NODE_MAP, /* children: key, value, key, value, ... */
};

struct node {
	struct place place;
	const struct node *next; /* the next child of the same list or map */
	const struct node *first;
	const char *text; /* terminated, without control characters */
	uint32_t size;
	uint8_t kind; /* enum node_kind */
	bool plain;   /* text without quotes */
	bool broken;  /* an error was noted here: say no more about it */
};

/* *left: how many nodes there may still be. NULL after an error was noted. */
const struct node *tree_parse(const struct source *source, struct notes *notes, size_t *left);

/* Nothing was written: "key:" and no more, or ~, or null. */
bool node_empty(const struct node *node);

/* "a list", "a mapping", "nothing", or the text in quotes. */
const char *node_found(struct arena *arena, const struct node *node);

/* Notes "expected WHAT, found ..." unless the node is broken already. Returns false. */
bool node_expected(struct notes *notes, const struct node *node, const char *what);

#endif
