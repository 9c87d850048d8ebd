/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md). The writer is
 * msgpack-c's packer over a buffer with an upper size. The reader walks headers over the caller's
 * bytes and allocates nothing: docs/adr/0002-msgpack-reader.md says why it is not msgpack-c's.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

#include <msgpack/pack.h>

enum { WIRE_DEPTH_MAX = 16 };

enum wire_kind {
	WIRE_NIL, WIRE_BOOL, WIRE_UINT, WIRE_NEGATIVE, WIRE_F64, WIRE_STR, WIRE_BIN, WIRE_EXT,
	WIRE_ARRAY, WIRE_MAP
};

struct wire_item { /* one header; a string's bytes are borrowed from the reader's input */
	enum wire_kind kind;
	uint64_t number;      /* UINT, BOOL; NEGATIVE: the bits of an int64_t */
	double real;	      /* F64, also read from float 32 */
	const uint8_t *data;  /* STR, BIN, EXT */
	size_t size;	      /* bytes of data; ARRAY: items, MAP: pairs that follow */
};

struct wire_reader {
	const uint8_t *at;
	size_t left;
};

/* Reads one header, with the bytes of a string. Checked: a string lies within the input, an
 * array or map has no more items than the input has bytes left. -EBADMSG. */
int wire_read(struct wire_reader *reader, struct wire_item *ret_item,
	      struct err *err) COVEY_MUST_CHECK;

/* Passes over one whole value. -EBADMSG, also when it nests deeper than WIRE_DEPTH_MAX. */
int wire_skip(struct wire_reader *reader, struct err *err) COVEY_MUST_CHECK;

struct wire_writer { /* use wire_writer_init, then msgpack_pack_*(&writer.packer, ...) */
	msgpack_packer packer;
	uint8_t *data;
	size_t size, cap, max;
	bool full; /* something did not fit into max; the content is of no use */
};

/* The writer must not move after this. Nothing is allocated until something is written. */
void wire_writer_init(struct wire_writer *writer, size_t max);
/* Hands the bytes over, or frees them and fails with -EMSGSIZE. */
int wire_writer_end(struct wire_writer *writer, struct bytes *ret_bytes,
		    struct err *err) COVEY_MUST_CHECK;
void wire_writer_free(struct wire_writer *writer);

/* UTF-8 (RFC 3629: no overlong forms, no surrogates) without NUL. */
bool wire_text_is_valid(const char *text, size_t size);
/* Copies text, with ? for every byte that is not part of valid UTF-8. dst holds size bytes. */
void wire_text_clean(char *dst, const char *text, size_t size);
