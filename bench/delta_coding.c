/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the deltas of a model take, and how fast they are made and applied on one core: encodes a
 * safetensors file of one type against another one (or alone, BASE is then `-`), chunk by chunk as
 * a push cuts it, decodes it again and compares. Prints: share of the full size, with what lists
 * them; MB/s of the full size to encode and to decode, CPU time; peak memory in KiB.
 *
 *	delta-coding NEW BASE|- WIDTH CHUNK_BYTES
 */
#include "base/mem.h"
#include "protocol/coding/coding.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { ITEM_BYTES = 78 }; /* of a chunk in the delta set */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct bench {
	struct coding *encoder, *decoder;
	uint8_t *data, *base, *out, *back;
	size_t total, stored, items, moved;
	double encoding, decoding;
};

/* False: what comes out is not what went in. */
static bool measure(struct bench *b, const struct coding_chunk *chunk)
{
	double t = seconds();
	size_t n = coding_encode(b->encoder, chunk, b->out);

	b->encoding += seconds() - t;
	t = seconds();
	if (coding_decode(b->decoder, b->out, n, chunk->base, chunk->base_size, b->back) < 0)
		return false;
	b->decoding += seconds() - t;
	b->stored += n;
	b->items++;
	b->moved += chunk->size;
	return memcmp(b->back, chunk->data, chunk->size) == 0;
}

static void skip_header(FILE *file)
{
	uint64_t size = 0;

	if (fread(&size, sizeof(size), 1, file) == 1)
		fseek(file, (long)size, SEEK_CUR);
}

static bool run(struct bench *b, FILE *file, FILE *base, struct element element, size_t step)
{
	bool good = true;
	size_t size;

	while (good && (size = fread(b->data, 1, step, file)) > 0) {
		struct coding_chunk chunk = {.data = b->data, .size = size, .element = element};

		b->total += size;
		if (base) {
			chunk.base = b->base;
			chunk.base_size = fread(b->base, 1, step, base);
		}
		if (chunk.base_size == size && memcmp(b->base, b->data, size) == 0)
			continue; /* the same chunk: it does not move */
		good = measure(b, &chunk);
	}
	return good && b->total > 0;
}

int main(int argc, char **argv)
{
	FILE *file = argc == 5 ? fopen(argv[1], "r") : NULL;
	FILE *base = file && strcmp(argv[2], "-") ? fopen(argv[2], "r") : NULL;
	size_t step = file ? strtoul(argv[4], NULL, 10) : 1;
	struct bench b = {coding_create(), coding_create(), mem_alloc(step), mem_alloc(step),
			  mem_alloc(step + CODING_HEAD), mem_alloc(step), 0, 0, 0, 0, 0, 0};
	struct element element = {.is_float = true};
	struct rusage usage;

	if (!file)
		return 2;
	element.width = (uint32_t)strtoul(argv[3], NULL, 10);
	skip_header(file);
	if (base)
		skip_header(base);
	if (!run(&b, file, base, element, step))
		return 1;
	getrusage(RUSAGE_SELF, &usage);
	printf("%.4f %.0f %.0f %ld\n",
	       (double)(b.stored + (base ? b.items * ITEM_BYTES : 0)) / (double)b.total,
	       (double)b.moved / 1e6 / b.encoding, (double)b.moved / 1e6 / b.decoding,
	       usage.ru_maxrss);
	return 0;
}
