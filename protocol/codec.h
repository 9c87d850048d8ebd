/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structs to bytes and back, driven by tables: one table of fields for each struct, one encoder,
 * one decoder, one free function for all of them. The wire form is msgpack: a map from small field
 * numbers to values; unknown numbers are skipped, missing ones stay zero, a field that is zero is
 * not sent. Encoding is canonical (fields in table order, shortest integers), so an encoded struct
 * can be signed and compared. The decoder walks headers before it allocates and believes no count;
 * on the wire, too, field numbers rise. Text is UTF-8 without NUL, floats are finite.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

enum field_kind {
	FIELD_U64, FIELD_U32, FIELD_BOOL, FIELD_F64,
	FIELD_ENUM,   /* int-sized; decoded value must be < limit */
	FIELD_STR,    /* char[limit + 1] in place */
	FIELD_TEXT,   /* heap char *, at most limit bytes; NULL is not sent */
	FIELD_BYTES,  /* struct bytes on the heap, at most limit */
	FIELD_FIXED,  /* limit bytes in place: digests, keys, ids */
	FIELD_STRUCT, /* in place */
	FIELD_ARRAY,  /* in place, exactly limit structs */
	FIELD_LIST,   /* heap array of structs with a size_t count, at most limit */
	FIELD_NUMBERS, /* heap array of uint64_t with a size_t count, at most limit */
};

struct codec_field {
	uint8_t number; /* on the wire, 1..127, never used twice, never given to another meaning */
	enum field_kind kind;
	const char *name; /* for messages and docs/PROTOCOL */
	size_t offset;
	size_t count_offset; /* FIELD_LIST, FIELD_NUMBERS */
	uint64_t limit;
	const struct codec_struct *type; /* FIELD_STRUCT, FIELD_ARRAY, FIELD_LIST */
	bool prose; /* FIELD_STR, FIELD_TEXT: text for people, which the encoder mends */
	const char *values; /* FIELD_ENUM: the enumerator that ends it, in include/covey */
};

struct codec_struct {
	const char *name;
	size_t size;
	const struct codec_field *fields;
	size_t fields_count;
};

/* Encodes *object into ret_bytes (owned by the caller: free data). Fails with -EMSGSIZE when the
 * result is larger than max, -EINVAL when a value breaks its own bound. */
int codec_encode(const struct codec_struct *type, const void *object, size_t max,
		 struct bytes *ret_bytes, struct err *err) COVEY_MUST_CHECK;

/* Decodes exactly size bytes into *object, which it overwrites. On failure *object is zero and
 * nothing is owned. -EBADMSG: not this struct; -EMSGSIZE: a bound is broken. */
int codec_decode(const struct codec_struct *type, const void *data, size_t size, void *object,
		 struct err *err) COVEY_MUST_CHECK;

/* Frees what *object owns and zeroes it. Safe on a zeroed object. */
void codec_free(const struct codec_struct *type, void *object);

/* Deep copy: dst is overwritten. */
void codec_copy(const struct codec_struct *type, void *dst, const void *src);

/* Deep comparison. */
bool codec_equal(const struct codec_struct *type, const void *a, const void *b);

/* Prints the table as a rule of CDDL (RFC 8610), one field a line: number, kind, bound, name. */
void codec_describe(FILE *out, const struct codec_struct *type);

/* The halves of encode and decode, for values that stand inside others (protocol/message.c). What
 * codec_write writes is of use only when both it and wire_writer_end succeed; after a failed
 * codec_read *object is zero. */
struct wire_writer;
struct wire_reader;
int codec_write(const struct codec_struct *type, const void *object, struct wire_writer *writer,
		struct err *err) COVEY_MUST_CHECK;
int codec_read(const struct codec_struct *type, struct wire_reader *reader, void *object,
	       struct err *err) COVEY_MUST_CHECK;

/* Tables for every struct of include/covey that crosses a process border. */
extern const struct codec_struct codec_release, codec_chunk_index, codec_deployment_spec,
	codec_reason, codec_outcome, codec_deployment_report, codec_node_status,
	codec_desired_state, codec_assignment, codec_inventory, codec_baseline,
	codec_observation_record;
