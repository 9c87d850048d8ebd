/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every table, with random content: there and back, cut anywhere, damaged anywhere. What a struct
 * has and its table has not is found by looking at the struct's own bytes.
 */
#include "agent/helper/api.h"
#include "base/mem.h"
#include "base/str.h"
#include "covey/message.h"
#include "protocol/codec_access.h"
#include "protocol/codec_tables.h"
#include "protocol/wire.h"
#include "sample.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SAMPLES = 60, FLIPS = 60000, ENOUGH = 1 << 20 };

#define X(name) &codec_##name,
static const struct codec_struct *const tables[] = {CODEC_TABLES(X) & codec_helper_request,
                                                    &codec_helper_reply};
#undef X

static struct bytes encode(const struct codec_struct *type, const void *object)
{
	struct bytes bytes;
	struct err err;

	if (codec_encode(type, object, ENOUGH, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	return bytes;
}

static void check_round_trip(struct rng *rng, const struct codec_struct *type)
{
	AUTO_FREE void *object = mem_alloc(type->size), *back = mem_alloc(type->size),
	               *copy = mem_alloc(type->size);
	struct bytes bytes, again;
	struct err err;

	sample_fill(rng, type, object);
	bytes = encode(type, object);
	if (codec_decode(type, bytes.data, bytes.size, back, &err) < 0)
		fail_msg("%s", err.text);
	codec_copy(type, copy, object);
	codec_free(type, object);
	if (!codec_equal(type, back, copy))
		fail_msg("%s: not the same after a round trip", type->name);
	again = encode(type, back);
	assert_int_equal(again.size, bytes.size);
	assert_memory_equal(again.data, bytes.data, bytes.size);
	codec_free(type, back);
	codec_free(type, copy);
	free(bytes.data);
	free(again.data);
}

static void test_round_trip(void **state)
{
	struct rng rng = {.state = 1};

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (int i = 0; i < SAMPLES; i++)
			check_round_trip(&rng, tables[t]);
}

static void test_zero_is_an_empty_map(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		AUTO_FREE void *object = mem_alloc(tables[t]->size);
		struct bytes bytes = encode(tables[t], object);

		assert_int_equal(bytes.size, 1);
		assert_int_equal(bytes.data[0], 0x80);
		free(bytes.data);
	}
}

/* spec: TRUST-13 */
static void test_every_truncation_fails(void **state)
{
	struct rng rng = {.state = 3};

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		AUTO_FREE void *object = mem_alloc(tables[t]->size);
		struct bytes bytes;

		sample_fill(&rng, tables[t], object);
		bytes = encode(tables[t], object);
		codec_free(tables[t], object);
		for (size_t size = 0; size < bytes.size; size++) {
			AUTO_FREE uint8_t *cut = mem_copy(bytes.data, size);
			struct err err = {0};

			memset(object, 0xee, tables[t]->size);
			assert_int_equal(codec_decode(tables[t], cut, size, object, &err),
			                 -EBADMSG);
			assert_true(err.text[0]);
			for (size_t i = 0; i < tables[t]->size; i++)
				assert_int_equal(((uint8_t *)object)[i], 0);
		}
		free(bytes.data);
	}
}

static bool same_bytes(struct bytes a, struct bytes b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Decodes what was damaged; false: refused. What is accepted encodes and decodes again, and equals
 * the original exactly when its encoding does. */
static bool check_damaged(const struct codec_struct *type, const void *original,
                          struct bytes original_bytes, struct bytes damaged)
{
	AUTO_FREE void *object = mem_alloc(type->size), *back = mem_alloc(type->size);
	struct bytes again;

	if (codec_decode(type, damaged.data, damaged.size, object, NULL) < 0)
		return false;
	again = encode(type, object);
	assert_int_equal(codec_decode(type, again.data, again.size, back, NULL), 0);
	assert_true(codec_equal(type, object, back));
	assert_int_equal(codec_equal(type, object, original), same_bytes(again, original_bytes));
	codec_free(type, back);
	codec_free(type, object);
	free(again.data);
	return true;
}

/* spec: TRUST-13 */
static void test_random_damage(void **state)
{
	struct rng rng = {.state = 4};
	size_t refused = 0;

	for (int i = 0; i < FLIPS; i++) {
		const struct codec_struct *type = tables[rng_below(&rng, ARRAY_SIZE(tables))];
		AUTO_FREE void *object = mem_alloc(type->size);
		struct bytes bytes, damaged;

		sample_fill(&rng, type, object);
		bytes = encode(type, object);
		damaged = (struct bytes){mem_copy(bytes.data, bytes.size), bytes.size};
		for (uint64_t n = 1 + rng_below(&rng, 4); n; n--)
			damaged.data[rng_below(&rng, bytes.size)] ^=
			    (uint8_t)(1 << rng_below(&rng, 8));
		refused += !check_damaged(type, object, bytes, damaged);
		codec_free(type, object);
		free(damaged.data);
		free(bytes.data);
	}
	assert_true(refused > FLIPS / 10 && refused < FLIPS);
}

/* A map with this field alone: a string or list of `size` bytes or empty maps. */
static struct bytes field_of_size(const struct codec_field *f, size_t size)
{
	AUTO_FREE char *content = mem_alloc(size);
	struct wire_writer w;
	struct bytes bytes;

	memset(content, 'x', size);
	wire_writer_init(&w, size + 100);
	msgpack_pack_map(&w.packer, 1);
	msgpack_pack_uint8(&w.packer, f->number);
	if (f->kind == FIELD_STR || f->kind == FIELD_TEXT) {
		msgpack_pack_str(&w.packer, size);
		msgpack_pack_str_body(&w.packer, content, size);
	} else if (f->kind == FIELD_BYTES || f->kind == FIELD_FIXED) {
		msgpack_pack_bin(&w.packer, size);
		msgpack_pack_bin_body(&w.packer, content, size);
	} else {
		msgpack_pack_array(&w.packer, size);
		for (size_t i = 0; i < size; i++) {
			if (f->kind == FIELD_NUMBERS)
				msgpack_pack_uint64(&w.packer, i);
			else
				msgpack_pack_map(&w.packer, 0);
		}
	}
	assert_int_equal(wire_writer_end(&w, &bytes, NULL), 0);
	return bytes;
}

static void check_bound(const struct codec_struct *type, const struct codec_field *f)
{
	AUTO_FREE void *object = mem_alloc(type->size);
	struct bytes bytes = field_of_size(f, (size_t)f->limit);
	struct err err;

	if (codec_decode(type, bytes.data, bytes.size, object, &err) < 0)
		fail_msg("%s", err.text);
	codec_free(type, object);
	free(bytes.data);
	bytes = field_of_size(f, (size_t)f->limit + 1);
	if (codec_decode(type, bytes.data, bytes.size, object, &err) != -EMSGSIZE)
		fail_msg("%s.%s: one more than its bound is accepted", type->name, f->name);
	free(bytes.data);
}

/* Each string and list of each table: as much as is allowed, and one more. */
static void test_every_bound(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (size_t i = 0; i < tables[t]->fields_count; i++) {
			const struct codec_field *f = &tables[t]->fields[i];

			if (f->kind >= FIELD_STR && f->kind != FIELD_STRUCT)
				check_bound(tables[t], f);
		}
	}
}

/* ---- the tables themselves ---- */

static void check_numbers(const struct codec_struct *type)
{
	unsigned last = 0;

	assert_true(type->fields_count > 0);
	for (size_t i = 0; i < type->fields_count; i++) {
		const struct codec_field *f = &type->fields[i];

		if (f->number <= last || f->number > 127)
			fail_msg("%s.%s: number %u", type->name, f->name, f->number);
		last = f->number;
	}
}

static size_t span_of(const struct codec_field *f)
{
	switch (f->kind) {
	case FIELD_U64:
	case FIELD_F64:
		return 8;
	case FIELD_U32:
	case FIELD_ENUM:
		return 4;
	case FIELD_BOOL:
		return sizeof(bool);
	case FIELD_STR:
		return (size_t)f->limit + 1;
	case FIELD_TEXT:
	case FIELD_LIST:
	case FIELD_NUMBERS:
		return sizeof(void *);
	case FIELD_BYTES:
		return sizeof(struct bytes);
	case FIELD_FIXED:
		return (size_t)f->limit;
	case FIELD_STRUCT:
	case FIELD_ARRAY:
		return f->type->size * (size_t)f->limit;
	}
	return 0;
}

/* members: 0xff for each byte that belongs to a member, 0 for padding. */
static void check_coverage(const struct codec_struct *type, uint8_t *members)
{
	for (size_t i = 0; i < type->fields_count; i++) {
		const struct codec_field *f = &type->fields[i];

		for (size_t k = 0; k < span_of(f); k++) {
			/* Padding inside a nested struct belongs to the field. */
			if (!f->type && members[f->offset + k] != 0xff)
				fail_msg("%s.%s: two fields for one member", type->name, f->name);
			members[f->offset + k] = 0;
		}
		if (f->count_offset)
			memset(members + f->count_offset, 0, sizeof(size_t));
	}
	for (size_t i = 0; i < type->size; i++)
		if (members[i])
			fail_msg("%s: the member at byte %zu is not in the table", type->name, i);
}

static void test_tables_are_complete(void **state)
{
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		check_numbers(tables[t]);
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define X(of)                                                           \
	{                                                               \
		AUTO_FREE struct of *whole = mem_alloc(sizeof(*whole)); \
		memset(whole, 0xff, sizeof(*whole));                    \
		__builtin_clear_padding(whole);                         \
		check_coverage(&codec_##of, (uint8_t *)whole);          \
	}
	CODEC_TABLES(X)
	X(helper_request)
	X(helper_reply)
#undef X
	return;
#endif
#endif
	(void)check_coverage;
	skip();
}

/* Bytes that must stay as they are: an older peer reads them. */
static void test_golden(void **state)
{
	static const uint8_t expected[] = {
	    0x84, 0x01, 0xa3, 'o',  'c',  'r',  /* 1: deployment */
	    0x04, 0x03,                         /* 4: goal serve */
	    0x09, 0xce, 0x00, 0x04, 0x93, 0xe0, /* 9: bake 300000 ms */
	    0x0c, 0xc3,                         /* 12: hold_old */
	};
	struct assignment assignment = {
	    .deployment = "ocr", .goal = GOAL_SERVE, .bake_ms = 300000, .hold_old = true};
	struct bytes bytes = encode(&codec_assignment, &assignment);

	assert_int_equal(bytes.size, sizeof(expected));
	assert_memory_equal(bytes.data, expected, sizeof(expected));
	free(bytes.data);
}

static char *described(const struct codec_struct *type)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	codec_describe(out, type);
	fclose(out);
	return text;
}

static void test_describe(void **state)
{
	AUTO_FREE char *share = described(&codec_share);
	AUTO_FREE char *slot = described(&codec_slot_report);

	assert_string_equal(share, "share = {\n"
	                           "  ? 1: bool, ; percent\n"
	                           "  ? 2: uint .size 4, ; value\n"
	                           "  * uint => any\n"
	                           "}\n");
	assert_string_equal(slot, "slot_report = {\n"
	                          "  ? 1: 0..1, ; colour, below COLOUR_COUNT\n"
	                          "  ? 2: 0..5, ; state, below SLOT_STATE_COUNT\n"
	                          "  ? 3: bstr .size 32, ; release\n"
	                          "  * uint => any\n"
	                          "}\n");
}

/* docs/PROTOCOL.md is printed from here: each kind of field has words for it. */
static void test_every_field_is_described(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		AUTO_FREE char *text = described(tables[i]);
		char *rest = text, *line = strsep(&rest, "\n"), kind[64], name[64];
		unsigned number;

		assert_int_equal(strncmp(line, tables[i]->name, strlen(tables[i]->name)), 0);
		for (size_t k = 0; k < tables[i]->fields_count; k++) {
			line = strsep(&rest, "\n");
			assert_int_equal(
			    sscanf(line, "  ? %u: %63[^,], ; %63[^,]", &number, kind, name), 3);
			assert_int_equal(number, tables[i]->fields[k].number);
			assert_string_equal(name, tables[i]->fields[k].name);
		}
	}
}

/* ---- what decoding refuses ---- */

static int decode_bytes(const struct codec_struct *type, const void *data, size_t size,
                        void *object, struct err *err)
{
	AUTO_FREE void *exact = mem_copy(data, size);

	*err = (struct err){0};
	return codec_decode(type, exact, size, object, err);
}

#define REFUSED(of, code, says, ...)                                                           \
	do {                                                                                   \
		const uint8_t refused_data[] = {__VA_ARGS__};                                  \
		AUTO_FREE struct of *refused = mem_alloc(sizeof(*refused));                    \
		struct err refused_err;                                                        \
		assert_int_equal(decode_bytes(&codec_##of, refused_data, sizeof(refused_data), \
		                              refused, &refused_err),                          \
		                 code);                                                        \
		if (!strstr(refused_err.text, says))                                           \
			fail_msg("%s", refused_err.text);                                      \
	} while (0)

static void test_refused(void **state)
{
	REFUSED(msg_ack, -EBADMSG, "instead of a map", 0x90);
	REFUSED(msg_ack, -EBADMSG, "announced", 0x81, 1);
	REFUSED(msg_ack, -EBADMSG, "too early", 0x81, 1, 0xcd);
	REFUSED(msg_ack, -EBADMSG, "too many", 0x80, 0x80);
	REFUSED(msg_ack, -EBADMSG, "do not rise", 0x82, 2, 1, 1, 1);
	REFUSED(msg_ack, -EBADMSG, "do not rise", 0x82, 1, 1, 1, 1);
	REFUSED(msg_ack, -EBADMSG, "do not rise", 0x81, 0, 1);
	REFUSED(msg_ack, -EBADMSG, "a number", 0x81, 0xa1, 'a', 1);
	REFUSED(msg_ack, -EBADMSG, "negative", 0x81, 1, 0xff);
	REFUSED(msg_ack, -EBADMSG, "send_status", 0x81, 3, 1);
	REFUSED(share, -EMSGSIZE, "value", 0x81, 2, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0);
	REFUSED(msg_get, -EBADMSG, "kind", 0x81, 1, OBJECT_KIND_COUNT);
	REFUSED(msg_get, -EMSGSIZE, "digest", 0x81, 2, 0xc4, 33, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
	REFUSED(msg_get, -EBADMSG, "digest", 0x81, 2, 0xc4, 1, 1);
	REFUSED(msg_logs, -EBADMSG, "UTF-8", 0x81, 2, 0xa1, 0xff);
	REFUSED(msg_logs, -EBADMSG, "UTF-8", 0x81, 2, 0xa3, 'a', 0, 'b');
	REFUSED(release_metric, -EBADMSG, "finite", 0x81, 2, 0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0);
	REFUSED(release_metric, -EBADMSG, "finite", 0x81, 2, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1);
	REFUSED(deployment_report, -EBADMSG, "slots", 0x81, 12, 0x91, 0x80);
	REFUSED(deployment_report, -EMSGSIZE, "slots", 0x81, 12, 0x93, 0x80, 0x80, 0x80);
	REFUSED(envelope, -EMSGSIZE, "signatures", 0x81, 2, 0xdc, 0, 17, 0x80, 0x80, 0x80, 0x80,
	        0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80);
}

/* spec: TRUST-13 */
static void test_bombs(void **state)
{
	static uint8_t deep[100000] = {0x81, 100};

	/* Lists that announce four billion items; maps and strings likewise. */
	REFUSED(desired_state, -EBADMSG, "announced", 0x81, 3, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x80);
	REFUSED(chunk_index, -EBADMSG, "announced", 0x81, 1, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x80);
	REFUSED(desired_state, -EBADMSG, "announced", 0xdf, 0xff, 0xff, 0xff, 0xff, 1, 1);
	REFUSED(msg_object, -EBADMSG, "too early", 0x81, 4, 0xc6, 0xff, 0xff, 0xff, 0xff, 1);
	/* A count that fits the bound but not the bytes. */
	REFUSED(chunk_index, -EBADMSG, "announced", 0x81, 1, 0xdd, 0x00, 0x02, 0x00, 0x00, 0x80);
	/* Nesting inside a field that nobody knows. */
	memset(deep + 2, 0x91, sizeof(deep) - 2);
	AUTO_FREE struct desired_state *state_of = mem_alloc(sizeof(*state_of));
	struct err err;

	assert_int_equal(decode_bytes(&codec_desired_state, deep, sizeof(deep), state_of, &err),
	                 -EBADMSG);
	assert_non_null(strstr(err.text, "field 100: values nest"));
}

/* Parts that were decoded before an error are given back (a sanitizer or valgrind counts). */
static void test_no_leak_in_half_a_message(void **state)
{
	REFUSED(msg_enrolled, -EBADMSG, "root", 0x82, 2, 0xc4, 2, 1, 2, 3, 0xa0);
	REFUSED(release, -EBADMSG, "argv: item 1", 0x82, 5, 0x91, 0x81, 2, 0xa1, 'p', 6, 0x92, 0x81,
	        1, 0xa1, 'x', 0x81, 1, 0xff);
}

/* spec: TRUST-14 */
static void test_unknown_fields_are_skipped(void **state)
{
	static const uint8_t data[] = {
	    0x84, 1,    7, /* boot_epoch */
	    2,    9,       /* sequence */
	    77,   0x82, 1, 0x92, 0xc0, 0xc3, 0xa1, 'x', 0xcb, 0, 0, 0, 0, 0,
	    0,    0,    0, 0xcd, 0x12, 0x34, 0xd6, 1,   2,    3, 4, 5, /* a number above 127, an
	                                                                  extension */
	};
	struct msg_ack ack;
	struct err err;

	assert_int_equal(decode_bytes(&codec_msg_ack, data, sizeof(data), &ack, &err), 0);
	assert_int_equal(ack.boot_epoch, 7);
	assert_int_equal(ack.sequence, 9);
	assert_false(ack.send_status);
}

/* ---- what encoding refuses or mends ---- */

static void test_encode_bounds(void **state)
{
	AUTO_FREE struct release_smoke *smoke = mem_alloc(sizeof(*smoke));
	AUTO_FREE char *long_text = mem_alloc(LIMIT_LOG_TAIL + 10);
	struct msg_get get = {.kind = OBJECT_KIND_COUNT};
	struct release_metric metric = {.value = INFINITY};
	struct text_item item = {.text = (char[]){"\xff"}};
	struct label label;
	struct bytes bytes;
	struct err err;

	assert_int_equal(codec_encode(&codec_msg_get, &get, 100, &bytes, &err), -EINVAL);
	assert_int_equal(codec_encode(&codec_release_metric, &metric, 100, &bytes, &err), -EINVAL);
	assert_int_equal(codec_encode(&codec_text_item, &item, 100, &bytes, &err), -EINVAL);
	memset(&label, 'x', sizeof(label)); /* no NUL anywhere */
	assert_int_equal(codec_encode(&codec_label, &label, 1000, &bytes, &err), -EINVAL);
	memset(long_text, 'x', LIMIT_SHORT_TEXT + 1);
	smoke->name = long_text;
	assert_int_equal(codec_encode(&codec_release_smoke, smoke, 1000, &bytes, &err), -EINVAL);
	assert_string_equal(err.text, "release_smoke: name: the text is longer than 127 bytes");
	memset(long_text, 0, LIMIT_SHORT_TEXT + 1);
	long_text[0] = 'x';
	smoke->body = (struct bytes){(uint8_t *)long_text, LIMIT_SMOKE_BODY + 1};
	assert_int_equal(codec_encode(&codec_release_smoke, smoke, ENOUGH, &bytes, &err), -EINVAL);
	smoke->body.size = 200;
	assert_int_equal(codec_encode(&codec_release_smoke, smoke, 100, &bytes, &err), -EMSGSIZE);
}

static void test_prose_is_mended(void **state)
{
	AUTO_FREE struct reason *reason = mem_alloc(sizeof(*reason)),
	                        *back = mem_alloc(sizeof(*back));
	AUTO_FREE char *log = mem_alloc(LIMIT_LOG_TAIL + 101);
	struct bytes bytes;

	memset(log, 'a', 100);
	memset(log + 100, 'b', LIMIT_LOG_TAIL);
	reason->log = log;
	STR_CUT(reason->text, "caf\xc3"); /* cut in the middle of a character */
	bytes = encode(&codec_reason, reason);
	assert_int_equal(codec_decode(&codec_reason, bytes.data, bytes.size, back, NULL), 0);
	assert_string_equal(back->text, "caf?");
	assert_string_equal(back->log, log + 100); /* the end, not the beginning */
	codec_free(&codec_reason, back);
	free(bytes.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_every_bound),
	    cmocka_unit_test(test_zero_is_an_empty_map),
	    cmocka_unit_test(test_every_truncation_fails),
	    cmocka_unit_test(test_random_damage),
	    cmocka_unit_test(test_tables_are_complete),
	    cmocka_unit_test(test_golden),
	    cmocka_unit_test(test_describe),
	    cmocka_unit_test(test_every_field_is_described),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_bombs),
	    cmocka_unit_test(test_no_leak_in_half_a_message),
	    cmocka_unit_test(test_unknown_fields_are_skipped),
	    cmocka_unit_test(test_encode_bounds),
	    cmocka_unit_test(test_prose_is_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
