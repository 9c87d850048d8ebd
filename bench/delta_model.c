/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a model, and versions of it after training went on: safetensors files of tensors with
 * normally distributed weights (deviation 0.02), to which a normally distributed step was added
 * before they were rounded to the file's type. How large the step is follows from the share of
 * weights that should come out changed, found by bisection on the first tensor.
 *
 *	delta-model FILE TYPE MIB TENSORS SEED [CHANGED [OF_TENSORS]]
 *
 * TYPE bf16 or f32. Without CHANGED the base itself; CHANGED is a share such as 0.0125.
 * OF_TENSORS: only so many get a step, which is then CHANGED deviations of a weight.
 */
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct model {
	size_t width, tensors, weights; /* in each */
	uint64_t seed;
	double step;
};

static double normal(struct rng *rng)
{
	double u = rng_unit(rng), v = rng_unit(rng);

	return sqrt(-2 * log(1 - u)) * cos(2 * M_PI * v);
}

static uint16_t to_bf16(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static uint32_t round_to(const struct model *m, float x)
{
	uint32_t bits;

	if (m->width == 2)
		return to_bf16(x);
	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

/* One tensor with its step. Returns how many weights the step changed. */
static size_t make(const struct model *m, size_t tensor, double step, uint8_t *ret_data)
{
	struct rng weights = {m->seed + 2 * tensor}, steps = {m->seed + 2 * tensor + 1};
	size_t changed = 0;

	for (size_t i = 0; i < m->weights; i++) {
		double w = 0.02 * normal(&weights);
		uint32_t before = round_to(m, (float)w), after = before;

		if (step > 0)
			after = round_to(m, (float)(w + step * normal(&steps)));
		changed += before != after;
		if (ret_data)
			memcpy(ret_data + i * m->width, &after, m->width);
	}
	return changed;
}

static double find_step(struct model *m, double changed)
{
	struct model probe = *m;
	double low = 1e-12, high = 1;

	probe.weights = m->weights < 200000 ? m->weights : 200000;
	for (int i = 0; i < 60; i++) {
		double middle = sqrt(low * high);

		if ((double)make(&probe, 0, middle, NULL) < changed * (double)probe.weights)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static void write_header(const struct model *m, FILE *file)
{
	const char *name = m->width == 2 ? "BF16" : "F32";
	size_t bytes = m->weights * m->width;
	uint64_t size = 1 << 16;
	char *text = mem_alloc(size + 1);
	size_t at = 0;

	for (size_t i = 0; i < m->tensors; i++)
		at += (size_t)snprintf(text + at, size - at,
		                       "%s\"layers.%zu.weight\":{\"dtype\":\"%s\",\"shape\":[%zu],"
		                       "\"data_offsets\":[%zu,%zu]}",
		                       i ? "," : "{", i, name, m->weights, i * bytes,
		                       (i + 1) * bytes);
	text[at++] = '}';
	memset(text + at, ' ', -at % 8);
	size = at + -at % 8;
	fwrite(&size, sizeof(size), 1, file);
	fwrite(text, 1, size, file);
	free(text);
}

int main(int argc, char **argv)
{
	struct model m = {0};
	FILE *file = argc >= 6 ? fopen(argv[1], "w") : NULL;
	size_t stepped, changed = 0;
	double share = argc > 6 ? strtod(argv[6], NULL) : 0;
	uint8_t *data;

	if (!file)
		return 2;
	m.width = strcmp(argv[2], "f32") == 0 ? 4 : 2;
	m.tensors = strtoul(argv[4], NULL, 10);
	m.weights = (strtoul(argv[3], NULL, 10) << 20) / m.tensors / m.width;
	m.seed = strtoul(argv[5], NULL, 10) << 32;
	stepped = argc > 7 ? strtoul(argv[7], NULL, 10) : m.tensors;
	if (share > 0)
		m.step = argc > 7 ? share * 0.02 : find_step(&m, share);
	data = mem_alloc(m.weights * m.width);
	write_header(&m, file);
	for (size_t i = 0; i < m.tensors; i++) {
		changed += make(&m, i, i < stepped ? m.step : 0, data);
		fwrite(data, m.width, m.weights, file);
	}
	free(data);
	fprintf(stderr, "%s: %.4f of the weights changed\n", argv[1],
	        (double)changed / (double)(m.tensors * m.weights));
	return fclose(file) ? 1 : 0;
}
