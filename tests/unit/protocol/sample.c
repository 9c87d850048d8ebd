/* SPDX-License-Identifier: Apache-2.0 */
/* Random values follow the tables, so a new field is tested as soon as its table has it. */
#include "sample.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_access.h"
#include "protocol/codec_tables.h"

#include <assert.h>

enum { MANY_ITEMS = 3, LONG_TEXT = 24 };

static void random_bytes(struct rng *rng, uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)rng_next(rng);
}

/* At most max bytes of valid UTF-8, sometimes exactly that many. */
static size_t random_text(struct rng *rng, char *dst, size_t max)
{
	static const char *const letters[] = {
	    "a", "Z", " ", "\n", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa6"};
	size_t size = 0, end = rng_below(rng, 20) ? (size_t)rng_below(rng, LONG_TEXT) : max;

	while (size < end && size < max) {
		const char *letter = letters[rng_below(rng, ARRAY_SIZE(letters))];

		if (size + strlen(letter) > max)
			letter = "x";
		memcpy(dst + size, letter, strlen(letter));
		size += strlen(letter);
	}
	dst[size] = 0;
	return size;
}

static uint64_t random_number(struct rng *rng)
{
	return rng_next(rng) >> rng_below(rng, 64);
}

static void fill_bytes(struct rng *rng, struct bytes *bytes)
{
	bytes->size = (size_t)rng_below(rng, 300);
	bytes->data = bytes->size ? mem_alloc(bytes->size) : NULL;
	random_bytes(rng, bytes->data, bytes->size);
}

static void fill_items(struct rng *rng, const struct codec_field *f, void *object)
{
	size_t count;
	char *first;

	if (f->kind == FIELD_LIST) {
		count = (size_t)rng_below(rng, MANY_ITEMS + 1);
		set_list(object, f, count ? mem_array(count, f->type->size) : NULL, count);
	}
	count = items_of(object, f, &first);
	for (size_t i = 0; i < count; i++)
		sample_fill(rng, f->type, first + i * f->type->size);
}

static void fill_numbers(struct rng *rng, const struct codec_field *f, void *object)
{
	size_t count = (size_t)rng_below(rng, f->limit + 1);
	uint64_t *numbers = count ? mem_array(count, sizeof(*numbers)) : NULL;

	for (size_t i = 0; i < count; i++)
		numbers[i] = random_number(rng);
	set_list(object, f, numbers, count);
}

static void fill_field(struct rng *rng, const struct codec_field *f, void *object)
{
	char text[LIMIT_REASON_TEXT + 1];
	double real;

	switch (f->kind) {
	case FIELD_U64:
		set_number(object, f, random_number(rng));
		return;
	case FIELD_U32:
		set_number(object, f, (uint32_t)random_number(rng));
		return;
	case FIELD_BOOL:
		set_number(object, f, rng_below(rng, 2));
		return;
	case FIELD_ENUM:
		set_number(object, f, rng_below(rng, f->limit));
		return;
	case FIELD_F64:
		real = rng_unit(rng) * 1e6 - 5e5;
		memcpy(member_at(object, f), &real, sizeof(real));
		return;
	case FIELD_STR:
		random_text(rng, member_at(object, f), (size_t)f->limit);
		return;
	case FIELD_TEXT:
		random_text(rng, text, f->limit < LIMIT_REASON_TEXT ? f->limit : LIMIT_REASON_TEXT);
		set_pointer(object, f, mem_str(text));
		return;
	case FIELD_BYTES:
		fill_bytes(rng, member_at(object, f));
		return;
	case FIELD_FIXED:
		random_bytes(rng, member_at(object, f), (size_t)f->limit);
		return;
	case FIELD_STRUCT:
	case FIELD_ARRAY:
	case FIELD_LIST:
		fill_items(rng, f, object);
		return;
	case FIELD_NUMBERS:
		fill_numbers(rng, f, object);
		return;
	}
}

void sample_fill(struct rng *rng, const struct codec_struct *type, void *object)
{
	memset(object, 0, type->size);
	for (size_t i = 0; i < type->fields_count; i++)
		if (rng_below(rng, 4))
			fill_field(rng, &type->fields[i], object);
}

static void set_blob(struct release_blob *blob, enum blob_kind kind, const char *path, uint8_t byte)
{
	*blob = (struct release_blob){
	    .kind = kind,
	    .path = path ? mem_str(path) : NULL,
	    .mode = path ? 0644 : 0,
	    .size = 1000,
	    .index_size = 40,
	};
	memset(blob->content.bytes, byte, DIGEST_SIZE);
	memset(blob->index.bytes, byte ^ 0x80, DIGEST_SIZE);
	if (!path)
		memset(blob->diff_id, byte, DIGEST_SIZE);
}

static void set_smoke(struct release_smoke *smoke, const char *name)
{
	*smoke = (struct release_smoke){
	    .name = mem_str(name),
	    .method = mem_str("POST"),
	    .path = mem_str("/classify"),
	    .expect_status = 200,
	    .expect_json = mem_str("{\"label\":7}"),
	};
}

void sample_release(struct release *ret_release)
{
	struct release r = {
	    .model = "ocr",
	    .version = "2.1.0",
	    .os = "linux",
	    .arch = "amd64",
	    .blobs_count = 4,
	    .argv_count = 2,
	    .env_count = 2,
	    .smokes_count = 2,
	    .serve = {.port = 8080, .container_port = 8000},
	    .health = {.kind = HEALTH_HTTP,
	               .interval_ms = 2000,
	               .timeout_ms = 1000,
	               .failures = 3,
	               .start_period_ms = 30000},
	};

	r.blobs = mem_array(4, sizeof(*r.blobs));
	set_blob(&r.blobs[0], BLOB_LAYER, NULL, 1);
	set_blob(&r.blobs[1], BLOB_LAYER, NULL, 2);
	set_blob(&r.blobs[2], BLOB_FILE, "model.safetensors", 3);
	set_blob(&r.blobs[3], BLOB_FILE, "vocab/en.txt", 4);
	r.argv = mem_array(2, sizeof(*r.argv));
	r.argv[0].text = mem_str("/server");
	r.argv[1].text = mem_str("--fast");
	r.env = mem_array(2, sizeof(*r.env));
	r.env[0] = (struct env_var){mem_str("THREADS"), mem_str("2")};
	r.env[1] = (struct env_var){mem_str("EMPTY"), mem_str("")};
	r.health.http_path = mem_str("/healthz");
	r.smokes = mem_array(2, sizeof(*r.smokes));
	set_smoke(&r.smokes[0], "seven");
	set_smoke(&r.smokes[1], "eight");
	*ret_release = r;
}

struct bytes sample_signed(struct bytes payload, enum signed_purpose purpose,
                           const struct sign_key *const *keys, size_t keys_count)
{
	struct envelope envelope = {.payload = payload};
	struct bytes bytes;
	int r;

	for (size_t i = 0; i < keys_count; i++)
		envelope_sign(&envelope, purpose, keys[i]);
	r = codec_encode(&codec_envelope, &envelope, LIMIT_OBJECT, &bytes, NULL);
	assert(r == 0);
	codec_free(&codec_envelope, &envelope);
	return bytes;
}
