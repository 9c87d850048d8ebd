/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts and failures are all that the test needs; 0 failures at p_j = 0 are certain. */
#include "coordinator/stats/promised.h"

#include "coordinator/stats/numeric.h"

#include <errno.h>
#include <math.h>

static const double shares[] = {0, 0.1, 0.25, 0.5}; /* p_j / p_SLO */
static const double odds[] = {1.25, 1.5, 2, 3, 5};  /* of p_j over those of p_SLO */

int promised_init(struct promised *promised, double slo)
{
	if (!(slo > 0 && slo < 1))
		return -EINVAL;
	*promised = (struct promised){.slo = slo};
	return 0;
}

int promised_add(struct promised *promised, uint64_t attempts, uint64_t bad)
{
	if (bad > attempts)
		return -EINVAL;
	if (attempts > STATS_COUNT_MAX - promised->attempts)
		return -ERANGE;
	promised->attempts += attempts;
	promised->bad += bad;
	return 0;
}

double promised_ln_promote(const struct promised *promised)
{
	double x = (double)promised->bad, good = (double)(promised->attempts - promised->bad);
	double terms[ARRAY_SIZE(shares)];

	for (size_t j = 0; j < ARRAY_SIZE(shares); j++) {
		double failures = promised->bad ? x * log(shares[j]) : 0;

		terms[j] =
		    failures + good * (log1p(-shares[j] * promised->slo) - log1p(-promised->slo));
	}
	return stats_ln_mean_exp(terms, ARRAY_SIZE(shares));
}

double promised_ln_halt(const struct promised *promised)
{
	double x = (double)promised->bad, n = (double)promised->attempts;
	double terms[ARRAY_SIZE(odds)];

	/* p_j / p_SLO = f / (1 + (f - 1) p_SLO), (1 - p_j) / (1 - p_SLO) the same without f */
	for (size_t j = 0; j < ARRAY_SIZE(odds); j++)
		terms[j] = x * log(odds[j]) - n * log1p((odds[j] - 1) * promised->slo);
	return stats_ln_mean_exp(terms, ARRAY_SIZE(odds));
}
