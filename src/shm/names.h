/*
 * shm/names.h - names for people, each stored once, for as long as records use them
 * SPDX-License-Identifier: MIT
 *
 * What a bucket counts is decided by its identity alone; names are for displays, and for the supervisor, which
 * believes them only if they give the identity (supervisor/record.h). A name is an extent (extent.h) that begins with
 * struct seg_name_line, in a hash chain (list.h). A reference is its first line + 1. In the owner word of each of its lines
 * stands a mark: the round in which it was last seen in use. 0 is no round's: the line is about to be freed, and nobody
 * marks it any more.
 *
 * Rounds are the supervisor's (sweep.h). Each begins with a new number in control->name_round. Then every name that
 * any linked or claimed record refers to is marked with it. Only after that are lines freed, those with a
 * mark older than the round before: mark 0 by a CAS from that very mark, out of the chain, the chain's tag moved, free.
 * Marks never go down, but where one is later than the round, which nothing but a stray write does.
 *
 * A worker makes a name while the lines are its record's, which nobody frees as long as it lives. It loads the
 * chain's head, fills the lines, makes them a name's with a mark, and tries once to push them by a CAS on that head.
 * It never writes to them again. Where it finds a name it marks it. When it has stored its references it reads the
 * round again, by a read-modify-write: rounds that begin later see the references. Then it marks each name once more
 * and compares its text after that. What had been freed meanwhile it makes again; what it could mark is marked in all
 * later rounds before anything is freed in them, so it stays for as long as the record has it.
 *
 * A worker that stands still for hours, and what was freed and used again meanwhile:
 *
 *	standing in a chain	is led anywhere; every index is checked, every walk ends, and what it takes for the name is
 *				compared again when the references are stored
 *	before it makes lines a name's	they are still its record's
 *	between that and the push	the CAS fails: freeing them moved the tag of the chain that they were for. So it does
 *				where the name in front was freed. The lines are in no chain, or gone: a name stored twice,
 *				or made again
 *	between a comparison and a mark	another name is marked, and kept a while longer
 *	before it links the record	its references keep their names
 *
 * Killed anywhere: lines are still its record's (index_recover() frees them), or marked and used by nobody.
 * A supervisor that is killed begins a new round.
 *
 * Whoever reads a name verifies its keyed hash, so lines that are filled in anew just then show as "?". Whole names of
 * another record can only be met by who was stopped while his record's life ended: the generation, or the identity, tells.
 * Text is kept combined with that hash: those who still mean a table of leases or a ring that these lines once were
 * compare words that nobody can make a name of.
 *
 * Where there is no room a record's name is "?" for good.
 */
#ifndef RATION_SHM_NAMES_H
#define RATION_SHM_NAMES_H

#include "shm/layout.h"

/* Longer ones are stored cut off. */
#ifndef NAME_BYTES_MAX
#define NAME_BYTES_MAX 320u
#endif

/* A reference that leads to no name, and was meant to. */
#define NAME_UNKNOWN UINT32_MAX

/* The names of a record that the caller has claimed (enum seg_name; NULL or "": none), into its cold line. */
void names_give(struct seg *seg, uint32_t bucket, const char *const names[6]);

/* Copies a name out, terminated; "" for reference 0, "?" for one that leads to no name. */
void names_copy(const struct seg *seg, uint32_t ref, char *buf, size_t size);

/* --- for whoever frees them (sweep.h), and checks (check.h) --- */

/* Begin a round. Returns its mark. */
uint32_t names_begin_round(struct seg *seg);

/* Put right the round in control that a stray write changed. */
void names_mend_round(struct seg *seg, uint32_t mark);

/* Mark what a record refers to. False: others marked it all the time; to be repeated. */
bool names_mark(struct seg *seg, uint32_t bucket, uint32_t mark);

/* Free a line of a name if it has not been in use for long. True: the line is in use by anybody. */
bool names_sweep(struct seg *seg, uint32_t line, uint32_t mark);

/* Nobody being at work: whether a reference is none, or leads to a name that is whole and kept. */
bool names_valid(const struct seg *seg, uint32_t ref);

/* Nobody being at work: whether a chain holds names that belong there, and ends. */
bool names_chain_valid(const struct seg *seg, uint32_t head);

#endif
