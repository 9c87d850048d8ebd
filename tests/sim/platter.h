/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file layer that forgets what was not synced. It lies below SQLite and the chunk stores: the
 * program's open, write, rename, fsync ... are the functions of platter.c, which pass everything on
 * to real files and keep, for each folder that was given to platter_new(), what a power cut would
 * leave of them.
 *
 * What a power cut leaves: of each file what it held at its last sync, and of what was written since
 * any part (each write is there, or is not, or some of its 512-byte sectors are); of names (create,
 * rename, unlink) those whose folder was synced since, and of the others a beginning (file systems
 * with a journal keep their order). Folders themselves stay. What a killed process leaves: all that
 * it wrote.
 *
 * Files mapped into memory are not seen: SQLite's -shm files are left out, they hold nothing that
 * must survive.
 */
#pragma once

#include "base/cleanup.h"
#include "base/rng.h"
#include "covey/ids.h"

struct platter;

enum platter_cut { PLATTER_POWER, PLATTER_KILL };

/* dir is absolute and exists; what is below it must be made through this layer. */
struct platter *platter_new(const char *dir, uint64_t seed);
void platter_free(struct platter *platter); /* removes the files; NULL is fine */

/* The cut comes before the change (write, sync, name) number `changes` from now; 0: not at all. */
void platter_arm(struct platter *platter, enum platter_cut cut, uint64_t changes);
/* The cut comes now, unless it has come. What is changed after it is not there any more. */
void platter_cut(struct platter *platter, enum platter_cut cut);
/* After all files below were closed: they become what the cut has left. */
int platter_restore(struct platter *platter) COVEY_MUST_CHECK;
/* Writes fail with this errno until it is 0. */
void platter_fail(struct platter *platter, int error);
/* A bug to be found: syncs do nothing. */
void platter_never_sync(struct platter *platter);

bool platter_is_dark(const struct platter *platter); /* cut, and not restored */
uint64_t platter_changes(const struct platter *platter); /* so far */
