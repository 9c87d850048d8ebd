/* SPDX-License-Identifier: Apache-2.0 */
/* Textbook formulas; the Mann-Whitney judge is written from its published description. */
#include "peers.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

static double upper_tail(double z)
{
	return erfc(z / sqrt(2)) / 2;
}

uint32_t peer_z_test(const struct minute *minutes, uint32_t count, double alpha)
{
	double n[COHORT_COUNT] = {0}, x[COHORT_COUNT] = {0};

	for (uint32_t t = 0; t < count; t++) {
		double p, deviation;

		for (int c = 0; c < COHORT_COUNT; c++) {
			n[c] += minutes[t].attempts[c];
			x[c] += minutes[t].bad[c];
		}
		p = (x[0] + x[1]) / (n[0] + n[1]);
		deviation = sqrt(p * (1 - p) * (1 / n[0] + 1 / n[1]));
		if (deviation > 0 && upper_tail((x[0] / n[0] - x[1] / n[1]) / deviation) < alpha)
			return t + 1;
	}
	return 0;
}

uint32_t peer_z_means(const struct minute *minutes, uint32_t count, double alpha)
{
	double n[COHORT_COUNT] = {0}, sum[COHORT_COUNT] = {0}, squares[COHORT_COUNT] = {0};

	for (uint32_t t = 0; t < count; t++) {
		double variance = 0, means[COHORT_COUNT];

		for (int c = 0; c < COHORT_COUNT; c++) {
			for (uint32_t i = 0; i < minutes[t].latencies_count[c]; i++) {
				n[c]++;
				sum[c] += minutes[t].latencies[c][i];
				squares[c] +=
				    minutes[t].latencies[c][i] * minutes[t].latencies[c][i];
			}
			means[c] = sum[c] / fmax(n[c], 1);
			variance += n[c] > 1 ? (squares[c] / n[c] - means[c] * means[c]) / n[c] : 0;
		}
		if (n[0] > 1 && n[1] > 1 && variance > 0 &&
		    upper_tail((means[0] - means[1]) / sqrt(variance)) < alpha)
			return t + 1;
	}
	return 0;
}

static double value_of(const struct minute *minute, enum cohort c, bool latency)
{
	double sum = 0;

	if (!latency)
		return minute->attempts[c] > 0 ? minute->bad[c] / minute->attempts[c] : 0;
	for (uint32_t i = 0; i < minute->latencies_count[c]; i++)
		sum += minute->latencies[c][i];
	return sum / fmax(minute->latencies_count[c], 1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

uint32_t peer_mann_whitney(const struct minute *minutes, uint32_t count, bool latency)
{
	size_t pairs = (size_t)count * count, i = 0;
	double *shifts = mem_array(pairs, sizeof(*shifts)), m = count, lowest, estimate;
	double z98 = 2.3263478740408408;
	double reach = m * m / 2 - z98 * sqrt(m * m * (2 * m + 1) / 12);

	for (uint32_t c = 0; c < count; c++)
		for (uint32_t b = 0; b < count; b++)
			shifts[i++] = value_of(&minutes[c], COHORT_CANARY, latency) -
			              value_of(&minutes[b], COHORT_CONTROL, latency);
	qsort(shifts, pairs, sizeof(*shifts), compare);
	estimate = shifts[pairs / 2];
	lowest = shifts[reach > 0 ? (size_t)reach : 0];
	free(shifts);
	return estimate > 0 && lowest > 0.25 * estimate ? count : 0;
}
