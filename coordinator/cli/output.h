/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What verbs print. JSON goes out as it came from the coordinator: one object or array, or one
 * object a line for streams. Tables are described by columns over that same JSON. Text from outside
 * (labels, reasons, logs) never reaches a terminal raw: control characters, broken UTF-8 and
 * characters that turn the reading direction are shown as \x1b or \u202e.
 */
#pragma once

#include "base/str.h"
#include "coordinator/cli/options.h"

#include <jansson.h>

struct output {
	enum output_format format;
	bool color;
	FILE *file;    /* stdout */
	bool terminal; /* file is one */
};

enum column_kind {
	COLUMN_TEXT,  /* a string or a number as it is */
	COLUMN_STATE, /* a word with a colour of its own */
	COLUMN_BYTES,
	COLUMN_DURATION, /* ms */
	COLUMN_AGE,      /* a time, shown as the distance from now */
	COLUMN_LABELS,   /* an object: k=v,k=v */
	COLUMN_COUNT,    /* the length of an array */
	COLUMN_LIST,     /* an array of texts */
	COLUMN_SHORT,    /* an id or digest, shortened; whole with -o wide */
	COLUMN_SLOTS,    /* a node's slots */
};

struct column {
	const char *title;
	const char *member; /* "a" or "a.b" */
	enum column_kind kind;
	bool wide; /* only with -o wide */
};

void output_init(struct output *out, const struct options *options);

/* Prints one JSON value and a line feed: indented, or in one line for streams. */
void output_json(struct output *out, const json_t *value);
void output_json_line(struct output *out, const json_t *value);
/* An array as a table; columns end with title == NULL. Says `none` words when it is empty. */
void output_table(struct output *out, const struct column *columns, const json_t *array,
                  const char *none);
/* One object as lines of `title: value`; members that are absent are left out. */
void output_object(struct output *out, const struct column *columns, const json_t *object);

/* Appends text made harmless; with keep_lines, line feeds and tabs stay. */
void output_safe(struct str *s, const char *text, bool keep_lines);
/* Appends the value of one cell as people read it. */
void output_cell(struct str *s, const json_t *object, const struct column *column, bool wide);
/* The member "a.b" of object, or NULL. */
const json_t *output_member(const json_t *object, const char *member);
/* A string member, or "". */
const char *output_text(const json_t *object, const char *member);
/* 0 where there is none. */
uint64_t output_number(const json_t *object, const char *member);
/* The SGR sequence for a state's word, "" without colour. */
const char *output_state_color(const char *state);
/* RFC 3339 UTC to unix ms; 0 when it is not one. */
uint64_t output_parse_time(const char *text);
