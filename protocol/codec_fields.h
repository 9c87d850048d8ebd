/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a table is written:
 *
 *	#define THIS struct slot_report
 *	static const struct codec_field slot_report_fields[] = {
 *		F_ENUM(1, colour, COLOUR_COUNT),
 *		F_FIXED(3, release),
 *	};
 *	CODEC_STRUCT(slot_report);
 *	#undef THIS
 *
 * Numbers rise within a table (the decoder relies on it) and are never used again for something
 * else: a new field goes to the end. A member of the wrong type does not compile. The table of
 * struct X is codec_X; codec_tables.h declares those that others may need.
 */
#pragma once

#include "protocol/codec.h"

#include <stddef.h>

#define F_MEMBER(member) (((THIS *)0)->member)
/* 0, or an error of the compiler. */
#define F_MUST(condition) (0 * sizeof(char[(condition) ? 1 : -1]))
#define F_IS(member, type) F_MUST(__builtin_types_compatible_p(__typeof__(F_MEMBER(member)), type))
#define F_IS_CHARS(member)                                                                         \
	F_MUST(__builtin_types_compatible_p(__typeof__(&F_MEMBER(member)[0]), char *) &&           \
	       !__builtin_types_compatible_p(__typeof__(F_MEMBER(member)), char *))

#define F_FIELD(no, what, member, check, most)                                                     \
	.number = (no), .kind = (what), .name = #member,                                           \
	.offset = offsetof(THIS, member) + (check), .limit = (most)

#define F_U64(no, m) {F_FIELD(no, FIELD_U64, m, F_IS(m, uint64_t), UINT64_MAX)}
#define F_U32(no, m) {F_FIELD(no, FIELD_U32, m, F_IS(m, uint32_t), UINT32_MAX)}
#define F_BOOL(no, m) {F_FIELD(no, FIELD_BOOL, m, F_IS(m, bool), 1)}
#define F_F64(no, m) {F_FIELD(no, FIELD_F64, m, F_IS(m, double), 0)}
#define F_ENUM(no, m, count)                                                                       \
	{F_FIELD(no, FIELD_ENUM, m, F_MUST(sizeof(F_MEMBER(m)) == sizeof(int)), count),             \
	 .values = #count}
#define F_STR(no, m) {F_FIELD(no, FIELD_STR, m, F_IS_CHARS(m), sizeof(F_MEMBER(m)) - 1)}
#define F_TEXT(no, m, most) {F_FIELD(no, FIELD_TEXT, m, F_IS(m, char *), most)}
#define F_BYTES(no, m, most) {F_FIELD(no, FIELD_BYTES, m, F_IS(m, struct bytes), most)}
#define F_FIXED(no, m) {F_FIELD(no, FIELD_FIXED, m, 0, sizeof(F_MEMBER(m)))}
/* Text for people: what is not UTF-8 is sent as ?, of a F_PROSE_TEXT that is too long the end. */
#define F_PROSE(no, m)                                                                             \
	{F_FIELD(no, FIELD_STR, m, F_IS_CHARS(m), sizeof(F_MEMBER(m)) - 1), .prose = true}
#define F_PROSE_TEXT(no, m, most)                                                                  \
	{F_FIELD(no, FIELD_TEXT, m, F_IS(m, char *), most), .prose = true}

/* The member is a `struct of`, an array of them, or a pointer to them beside <member>_count. */
#define F_STRUCT(no, m, of)                                                                        \
	{F_FIELD(no, FIELD_STRUCT, m, F_IS(m, struct of), 1), .type = &codec_##of}
#define F_ARRAY(no, m, of)                                                                         \
	{F_FIELD(no, FIELD_ARRAY, m, F_IS(m[0], struct of),                                        \
		 sizeof(F_MEMBER(m)) / sizeof(struct of)),                                         \
	 .type = &codec_##of}
#define F_LIST(no, m, of, most)                                                                    \
	{F_FIELD(no, FIELD_LIST, m, F_IS(m, struct of *) + F_IS(m##_count, size_t), most),         \
	 .count_offset = offsetof(THIS, m##_count), .type = &codec_##of}
#define F_NUMBERS(no, m, most)                                                                     \
	{F_FIELD(no, FIELD_NUMBERS, m, F_IS(m, uint64_t *) + F_IS(m##_count, size_t), most),       \
	 .count_offset = offsetof(THIS, m##_count)}

#define CODEC_STRUCT(of)                                                                           \
	const struct codec_struct codec_##of = {                                                   \
		.name = #of,                                                                       \
		.size = sizeof(struct of),                                                         \
		.fields = of##_fields,                                                             \
		.fields_count = sizeof(of##_fields) / sizeof(of##_fields[0]),                      \
	}
