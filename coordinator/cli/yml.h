/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML files into structs, driven by tables of fields, with the position of every mistake:
 * `file:line: field: what is wrong; what to write`. Unknown and repeated keys are mistakes.
 * docs/adr/0007-yaml.md says why this stands on libyaml's documents.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

#include <jansson.h>
#include <yaml.h>

enum { YML_PATH_MAX = 256 };

struct yml_file {
	const char *name; /* borrowed: as people wrote it */
	yaml_document_t document;
	bool loaded;
	char path[YML_PATH_MAX]; /* of the field at hand: smoke[1].expect.status */
	struct err *err;
};

struct yml_field;
/* Binds one value by hand. object is the struct that the field's offset counts from. */
typedef int yml_bind_fn(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object);

struct yml_field {
	const char *key;
	yml_bind_fn *bind; /* one of those below, or the caller's own */
	size_t offset;
	bool required;
	uint64_t min, max;              /* yml_u32: range; yml_name etc.: size of the char array */
	const char *const *words;       /* yml_word: allowed words in the enum's order, then NULL */
	const struct yml_field *fields; /* yml_map: the keys, ends with key == NULL */
};

/* Reads the file: size, syntax, one document, a map at the top. The sentence has the position. */
int yml_load(struct yml_file *file, const char *name, struct err *err) COVEY_MUST_CHECK;
void yml_free(struct yml_file *file);

/* The top-level map. */
const yaml_node_t *yml_root(struct yml_file *file);
/* Binds a map's keys into object. */
int yml_bind(struct yml_file *file, const yaml_node_t *map, const struct yml_field *fields,
             void *object) COVEY_MUST_CHECK;
/* "file:line: field: <sentence>" into file->err; returns -EINVAL. field may be NULL: file->path. */
int yml_fail(struct yml_file *file, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A sentence that begins with "some.field: " (from a check of the whole struct) gets file and the
 * line of that field, or of the nearest one above it that is written. */
int yml_fail_at(struct yml_file *file, const char *sentence);

/* Walks down a path by one step; yml_leave() with what yml_enter() returned. */
size_t yml_enter(struct yml_file *file, const char *key);
size_t yml_enter_index(struct yml_file *file, size_t index);
void yml_leave(struct yml_file *file, size_t mark);

const yaml_node_t *yml_get(struct yml_file *file, const yaml_node_t *map, const char *key);
/* A scalar's text; NULL when it is a list, a map, or empty. */
const char *yml_text(const yaml_node_t *node);

/* ---- kinds of values; what they write to at field->offset ---- */
yml_bind_fn yml_map;      /* the struct itself (offset is ignored): a group of keys */
yml_bind_fn yml_heap;     /* char *: any text that is not empty; max characters, 0: no bound */
yml_bind_fn yml_array;    /* char[max]: any text that is not empty */
yml_bind_fn yml_name;     /* char[max]: a name */
yml_bind_fn yml_selector; /* char[max]: a label selector */
yml_bind_fn yml_bool;     /* bool */
yml_bind_fn yml_u32;      /* uint32_t from min to max */
yml_bind_fn yml_double;   /* double, finite */
yml_bind_fn yml_duration; /* uint64_t, ms */
yml_bind_fn yml_size;     /* uint64_t, bytes */
yml_bind_fn yml_share;    /* struct share: 20% or a count */
yml_bind_fn yml_word;     /* int-sized enum */

/* A list of texts into heap items, at most max. */
int yml_text_list(struct yml_file *file, const yaml_node_t *node, size_t max,
                  struct text_item **ret_items, size_t *ret_count) COVEY_MUST_CHECK;
/* Any value as JSON: plain scalars by YAML's core schema, quoted ones as text. Owned by the caller.
 */
int yml_json(struct yml_file *file, const yaml_node_t *node, json_t **ret_value) COVEY_MUST_CHECK;
