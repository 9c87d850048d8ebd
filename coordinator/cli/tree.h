/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rollout as people see it while it goes on. On a terminal one tree that is drawn anew in place:
 * stages, their nodes, states, bytes and rate, time left, reasons. Elsewhere (a CI job's log) one
 * line for each change, and nothing that moves a cursor.
 */
#pragma once

#include "coordinator/cli/output.h"

struct tree;

/* live: redraw in place. file is borrowed. */
struct tree *tree_new(FILE *file, bool live, bool color);
void tree_free(struct tree *tree); /* leaves what was drawn; NULL is fine */
COVEY_DEFINE_CLEANUP(struct tree *, tree_free)

/* Shows the object of rollout.show; now_ms is unix time, for rates and time left. */
void tree_show(struct tree *tree, const json_t *rollout, uint64_t now_ms);

/* The whole tree once, as text of lines at most width wide and rows many; appends. */
void tree_draw(struct tree *tree, const json_t *rollout, uint64_t now_ms, size_t width, size_t rows,
               struct str *text);
/* Appends one line for each difference between two states of a rollout; before may be NULL. */
void tree_changes(const json_t *before, const json_t *after, struct str *text);
