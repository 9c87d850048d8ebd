/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes a file against another one, or alone, chunk by chunk, decodes it again, and says the
 * share of the full size, megabytes a second of either way on one core, and the largest memory.
 *
 *	delta-coding NEW BASE|- WIDTH CHUNK_BYTES HEADER_BYTES
 */
#include "base/mem.h"
#include "protocol/coding/coding.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	FILE *file = argc == 6 ? fopen(argv[1], "r") : NULL;
	FILE *base_file = file && strcmp(argv[2], "-") ? fopen(argv[2], "r") : NULL;
	size_t step = file ? strtoul(argv[4], NULL, 10) : 0, header = 0, total = 0, stored = 0,
	       size;
	size_t methods[CODING_METHOD_COUNT] = {0};
	double encoding = 0, decoding = 0;
	struct coding *encoder = coding_create(), *decoder = coding_create();
	uint8_t *data, *base, *out, *back;

	if (!file)
		return 2;
	header = strtoul(argv[5], NULL, 10);
	data = mem_alloc(step);
	base = mem_alloc(step);
	back = mem_alloc(step);
	out = mem_alloc(step + CODING_HEAD);
	fseek(file, (long)header, SEEK_SET);
	if (base_file)
		fseek(base_file, (long)header, SEEK_SET);
	while ((size = fread(data, 1, step, file)) > 0) {
		struct coding_chunk chunk = {.data = data, .size = size};
		size_t n;
		double t;

		chunk.element.width = (uint32_t)strtoul(argv[3], NULL, 10);
		chunk.element.is_float = true;
		total += size;
		if (base_file) {
			chunk.base = base;
			chunk.base_size = fread(base, 1, step, base_file);
			if (chunk.base_size == size && memcmp(base, data, size) == 0)
				continue;
		}
		t = seconds();
		n = coding_encode(encoder, &chunk, out);
		encoding += seconds() - t;
		t = seconds();
		if (coding_decode(decoder, out, n, chunk.base, chunk.base_size, back) < 0 ||
		    memcmp(back, data, size))
			return 1;
		decoding += seconds() - t;
		methods[coding_method_of(out)]++;
		stored += n;
	}
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	printf("%s share %.4f encode %.0f MB/s decode %.0f MB/s rss %ld KiB methods", argv[1],
	       (double)stored / (double)total, (double)total / 1e6 / encoding,
	       (double)total / 1e6 / decoding, usage.ru_maxrss);
	for (size_t i = 0; i < CODING_METHOD_COUNT; i++)
		printf(" %zu", methods[i]);
	printf("\n");
	return 0;
}
