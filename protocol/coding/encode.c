/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder. What share of the numbers changed says nearly always which form will be the
 * smallest, and costs one pass; only in between two forms are written and compared. Byte planes of
 * weights hold no repetitions, so the fastest level of zstd does all that there is to do: it codes
 * their entropy. A chunk that nothing makes smaller is left as it is.
 */
#include "protocol/coding/parts.h"
#include "protocol/coding/sorted.h"
#include "protocol/coding/words.h"

enum {
	LEVEL = 1,
	RARE_PERCENT =
	    3, /* of numbers changed: up to here RARE, which is slow where much changed */
	SPARSE_PERCENT = 30,   /* below it SPARSE, */
	DENSE_PERCENT = 45,    /* above it INTEGER, in between the smaller of both */
	SORTED_MIN = 64 << 10, /* bytes: fewer are not worth several tables */
	MIN_MATCH = 7,     /* what repeats in planes is chance: keep zstd from looking for it, */
	HASH_LOG = 6,      /* it is faster and smaller so */
	POOR_PERCENT = 60, /* of the size: a base that helps no more is compared with none */
	DULL_PERCENT = 97, /* ... and a sample that shrinks no further is not worth a try */
	NOISE_PERCENT = 110, /* of what noise would have */
	WINDOW_LOG = 24,   /* chunk and base together */
	SAMPLES = 8,
	SAMPLE_SIZE = 1024,
};

struct out {
	uint8_t *data;
	size_t at, max;
	bool full;
};

struct job {
	struct coding *coding;
	const uint8_t *data, *base; /* base: NULL, or as long as data */
	size_t size;
	struct element element;
};

static void put_u32(uint8_t *at, size_t value)
{
	uint32_t x = (uint32_t)value;

	memcpy(at, &x, sizeof(x));
}

static void begin(struct out *out, enum coding_method method, const struct job *job)
{
	uint16_t stride = (uint16_t)job->element.stride;

	out->data[0] = (uint8_t)method;
	out->data[1] =
	    (uint8_t)(job->element.width | (job->element.is_float ? CODING_IS_FLOAT : 0));
	memcpy(out->data + 2, &stride, sizeof(stride));
	put_u32(out->data + 4, job->size);
	out->at = CODING_HEAD;
	out->full = false;
}

static void put_bytes(struct out *out, const uint8_t *data, size_t size)
{
	if (out->full || size > out->max - out->at) {
		out->full = true;
		return;
	}
	memcpy(out->data + out->at, data, size);
	out->at += size;
}

static void prepare(struct coding *coding, bool planes)
{
	if (!coding->encoder)
		coding->encoder = ZSTD_createCCtx();
	if (!coding->encoder)
		abort(); /* out of memory, as in base/mem.h */
	ZSTD_CCtx_reset(coding->encoder, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(coding->encoder, ZSTD_c_compressionLevel, LEVEL);
	if (planes) {
		ZSTD_CCtx_setParameter(coding->encoder, ZSTD_c_minMatch, MIN_MATCH);
		ZSTD_CCtx_setParameter(coding->encoder, ZSTD_c_hashLog, HASH_LOG);
	}
}

static void put_stream(struct coding *coding, struct out *out, const uint8_t *data, size_t size)
{
	size_t stored, room;
	uint8_t *head;

	if (out->full || out->max - out->at < CODING_STREAM_HEAD) {
		out->full = true;
		return;
	}
	head = out->data + out->at;
	out->at += CODING_STREAM_HEAD;
	room = out->max - out->at;
	stored = ZSTD_compress2(coding->encoder, out->data + out->at, room < size ? room : size,
	                        data, size);
	if (ZSTD_isError(stored) || stored >= size) {
		stored = size;
		put_bytes(out, data, size);
	} else {
		out->at += stored;
	}
	put_u32(head, stored);
	put_u32(head + 4, size);
}

/* ---- the forms: each returns its size, or 0 when it does not fit ---- */

static size_t end(const struct out *out)
{
	return out->full ? 0 : out->at;
}

static size_t write_raw(const struct job *job, struct out *out)
{
	begin(out, CODING_RAW, job);
	put_bytes(out, job->data, job->size);
	return end(out);
}

/* base_size 0: alone. */
static size_t write_frame(const struct job *job, const void *base, size_t base_size,
                          struct out *out)
{
	begin(out, base_size ? CODING_PREFIX : CODING_ZSTD, job);
	prepare(job->coding, false);
	if (base_size) {
		ZSTD_CCtx_setParameter(job->coding->encoder, ZSTD_c_windowLog, WINDOW_LOG);
		ZSTD_CCtx_refPrefix(job->coding->encoder, base, base_size);
	}
	put_stream(job->coding, out, job->data, job->size);
	prepare(job->coding, true);
	return end(out);
}

static void put_planes(const struct job *job, struct out *out, const uint8_t *words, size_t count)
{
	size_t width = job->element.width;
	uint8_t *planes = coding_scratch(job->coding, SCRATCH_PLANES, count * width + 1);

	planes_split(words, width, count, planes);
	for (size_t p = 0; p < width; p++)
		put_stream(job->coding, out, planes + p * count, count);
}

/* Planes of blocks have a few kilobytes each and share a stream. */
static void put_blocks(const struct job *job, struct out *out, const uint8_t *words, size_t size)
{
	uint8_t *planes = coding_scratch(job->coding, SCRATCH_PLANES, size + 1);

	planes_split(words, job->element.stride, size / job->element.stride, planes);
	put_stream(job->coding, out, planes, size);
}

/* PLANES or INTEGER; words: coding_words() of the chunk. */
static size_t write_planes(const struct job *job, const uint8_t *words, struct out *out)
{
	size_t size = job->size - job->size % coding_unit(&job->element);

	begin(out, job->base ? CODING_INTEGER : CODING_PLANES, job);
	if (job->element.stride)
		put_blocks(job, out, words, size);
	else
		put_planes(job, out, words, size / job->element.width);
	put_bytes(out, job->data + size, job->size - size);
	return end(out);
}

static size_t write_sparse(const struct job *job, const uint8_t *words, struct out *out)
{
	size_t size = job->size - job->size % coding_unit(&job->element);
	size_t count = size / job->element.width, gaps_size, kept;
	uint8_t *values = coding_scratch(job->coding, SCRATCH_VALUES, size + 1);
	uint8_t *gaps = coding_scratch(job->coding, SCRATCH_GAPS, count + 1);

	begin(out, CODING_SPARSE, job);
	kept = words_gather(words, job->element.width, count, values, gaps, count + 1, &gaps_size);
	if (kept == SIZE_MAX)
		return 0;
	put_stream(job->coding, out, gaps, gaps_size);
	put_planes(job, out, values, kept);
	put_bytes(out, job->data + size, job->size - size);
	return end(out);
}

static size_t write_rare(const struct job *job, const uint8_t *words, struct out *out)
{
	size_t size = job->size - job->size % coding_unit(&job->element), n;

	begin(out, CODING_RARE, job);
	put_bytes(out, job->data + size, job->size - size);
	if (out->full)
		return 0;
	n = rare_encode(job->coding->rare, &job->element, words, job->base,
	                size / job->element.width, out->data + out->at, out->max - out->at);
	return n ? out->at + n : 0;
}

static size_t write_sorted(const struct job *job, const uint8_t *words, struct out *out)
{
	size_t width = job->element.width, size = job->size - job->size % width;
	uint8_t *sorted = coding_scratch(job->coding, SCRATCH_VALUES, size + 1);
	uint8_t *classes = coding_scratch(job->coding, SCRATCH_GAPS, size / width + 1);
	struct sorted_order order;

	begin(out, CODING_SORTED, job);
	sorted_order(&job->element, job->base, size / width, classes, &order);
	sorted_apart(&order, classes, words, job->element.width, size / width, sorted);
	for (size_t i = 0; i < order.count; i++)
		put_planes(job, out, sorted + order.first[i] * width,
		           order.first[i + 1] - order.first[i]);
	put_bytes(out, job->data + size, job->size - size);
	return end(out);
}

static const uint8_t *words_of(const struct job *job)
{
	size_t size = job->size - job->size % coding_unit(&job->element);
	uint8_t *words = coding_scratch(job->coding, SCRATCH_WORDS, size + 1);

	words_from(&job->element, job->data, job->base, size / job->element.width, words);
	return words;
}

static size_t write_dense(const struct job *job, const uint8_t *words, struct out *out)
{
	if (job->element.is_float && job->size >= SORTED_MIN)
		return write_sorted(job, words, out);
	return write_planes(job, words, out);
}

/* The form that the share of changed numbers asks for. ret_second: one that might be smaller. */
static size_t write_delta(const struct job *job, const uint8_t *words,
                          enum coding_method *ret_second, struct out *out)
{
	size_t count = (job->size - job->size % coding_unit(&job->element)) / job->element.width;
	size_t changed = words_changed(words, job->element.width, count);

	if (changed * 100 <= RARE_PERCENT * count)
		return write_rare(job, words, out);
	if (changed * 100 >= DENSE_PERCENT * count)
		return write_dense(job, words, out);
	*ret_second = changed * 100 >= SPARSE_PERCENT * count ? CODING_INTEGER : CODING_RAW;
	return write_sparse(job, words, out);
}

/* ---- what the numbers are ---- */

static const struct element candidates[] = {
    {.width = 1}, {.width = 2, .is_float = true}, {.width = 4, .is_float = true}, {.width = 2},
    {.width = 4}, {.width = 8, .is_float = true},
};

/* A job for pieces of the chunk; its bytes are in scratch. */
static struct job sample(const struct job *job)
{
	size_t step = job->size / SAMPLES / sizeof(uint64_t) * sizeof(uint64_t);
	uint8_t *at = coding_scratch(job->coding, SCRATCH_SAMPLE, 2 * SAMPLES * SAMPLE_SIZE);
	struct job s = *job;

	if (job->size <= SAMPLES * SAMPLE_SIZE)
		return s;
	for (size_t i = 0; i < SAMPLES; i++) {
		memcpy(at + i * SAMPLE_SIZE, job->data + i * step, SAMPLE_SIZE);
		if (job->base)
			memcpy(at + (SAMPLES + i) * SAMPLE_SIZE, job->base + i * step, SAMPLE_SIZE);
	}
	s.data = at;
	s.base = job->base ? at + SAMPLES * SAMPLE_SIZE : NULL;
	s.size = SAMPLES * SAMPLE_SIZE;
	return s;
}

static size_t write_alone(const struct job *job, struct out *out)
{
	if (coding_unit(&job->element) == 1)
		return write_frame(job, NULL, 0, out);
	return write_planes(job, words_of(job), out);
}

/* Bytes that look drawn by lot, whichever of four places they stand in: nothing makes them smaller,
 * and to see that is much cheaper than to try. The sum of squares of n such bytes' frequencies is
 * about n + n^2 / 256. */
static bool is_noise(const struct job *s)
{
	uint32_t counts[4][256] = {0};
	uint64_t n = s->size / 4;

	if (s->base || s->size < SAMPLES * SAMPLE_SIZE)
		return false;
	for (size_t i = 0; i < s->size; i++)
		counts[i % 4][s->data[i]]++;
	for (size_t p = 0; p < 4; p++) {
		uint64_t squares = 0;

		for (size_t b = 0; b < 256; b++)
			squares += (uint64_t)counts[p][b] * counts[p][b];
		if (squares * 100 > NOISE_PERCENT * (n + n * n / 256))
			return false;
	}
	return true;
}

bool coding_is_noise(struct coding *coding, const void *data, size_t size)
{
	const struct job job = {.coding = coding, .data = data, .size = size};
	const struct job s = sample(&job);

	return is_noise(&s);
}

/* Fills job->element from samples. Returns the percentage that they shrank to. */
static size_t guess(struct job *job, struct out *out)
{
	struct job s = sample(job);
	size_t best = s.size;

	job->element = candidates[0];
	if (is_noise(&s))
		return 100;
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		enum coding_method second;
		size_t size;

		s.element = candidates[i];
		size = s.base ? write_delta(&s, words_of(&s), &second, out) : write_alone(&s, out);
		if (size == 0 || size >= best)
			continue;
		best = size;
		job->element = candidates[i];
	}
	return best * 100 / s.size;
}

/* ---- the choice ---- */

/* What `other` holds takes the place of the best form so far. */
static void keep(struct out *best, struct out *other, size_t size)
{
	if (size > 0 && size < best->at) {
		memcpy(best->data, other->data, size);
		best->at = size;
	}
	other->max = best->at;
}

static void try_delta(const struct job *job, struct out *best, struct out *other)
{
	enum coding_method second = CODING_RAW;
	const uint8_t *words = words_of(job);

	keep(best, other, write_delta(job, words, &second, other));
	if (second == CODING_INTEGER)
		keep(best, other, write_dense(job, words, other));
}

static bool is_poor(const struct job *job, const struct out *best)
{
	return best->at * 100 > POOR_PERCENT * job->size;
}

size_t coding_encode(struct coding *coding, const struct coding_chunk *chunk, uint8_t *ret_data)
{
	size_t max = chunk->size + CODING_HEAD;
	struct out best = {.data = ret_data, .max = max};
	struct out other = {.data = coding_scratch(coding, SCRATCH_OTHER, max), .max = max};
	bool alike = chunk->base && chunk->base_size == chunk->size;
	bool known = coding_element_is_valid(&chunk->element);
	struct job job = {.coding = coding,
	                  .data = chunk->data,
	                  .base = alike ? chunk->base : NULL,
	                  .size = chunk->size,
	                  .element = chunk->element};

	prepare(coding, true);
	write_raw(&(struct job){.data = chunk->data, .size = chunk->size}, &best);
	if (alike) {
		if (!known)
			(void)guess(&job, &other);
		try_delta(&job, &best, &other);
	}
	if (chunk->base && (!alike || !known) && is_poor(&job, &best))
		keep(&best, &other, write_frame(&job, chunk->base, chunk->base_size, &other));
	job.base = NULL;
	if (!is_poor(&job, &best))
		return best.at;
	if (known || guess(&job, &other) <= DULL_PERCENT)
		keep(&best, &other, write_alone(&job, &other));
	return best.at;
}
