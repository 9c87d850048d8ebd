/* SPDX-License-Identifier: Apache-2.0 */
/* Each M_k weighs every beginning of a change at once; that is why one number is enough. */
#include "coordinator/stats/detector.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const double factors[DETECTOR_POINTS] = {1.25, 1.5, 2, 3, 5};

int detector_init(struct detector *detector, double p0, double threshold)
{
	if (!(p0 > 0 && p0 < 1 && threshold > 1 && threshold <= 1e300))
		return -EINVAL;
	*detector = (struct detector){.p0 = p0, .threshold = threshold};
	return 0;
}

static double learned(uint64_t outcomes, uint64_t bad)
{
	return ((double)bad + 0.5) / ((double)outcomes + 1);
}

static double mean(const struct detector *detector)
{
	double sum = 0;

	for (size_t k = 0; k < DETECTOR_POINTS; k++)
		sum += detector->m[k] / DETECTOR_POINTS;
	return sum;
}

bool detector_add(struct detector *detector, bool bad)
{
	double p0 = detector->p0;

	for (size_t k = 0; k < DETECTOR_POINTS; k++) {
		double p = fmin(factors[k] * p0, 1);

		detector->m[k] = (detector->m[k] + 1) * (bad ? p / p0 : (1 - p) / (1 - p0));
	}
	detector->outcomes++;
	if (detector->known > 0) {
		detector->known++;
		detector->known_bad += bad;
		detector->p0 = learned(detector->known, detector->known_bad);
	}
	if (mean(detector) < detector->threshold)
		return false;
	memset(detector->m, 0, sizeof(detector->m));
	return true;
}

double detector_ln_e(const struct detector *detector)
{
	return log(mean(detector));
}

int detector_learn(struct detector *detector, uint64_t outcomes, uint64_t bad, double threshold)
{
	int r;

	if (bad > outcomes)
		return -EINVAL;
	if (outcomes < DETECTOR_OBSERVATIONS_MIN)
		return -ENODATA;
	r = detector_init(detector, learned(outcomes, bad), threshold);
	if (r < 0)
		return r;
	detector->known = outcomes;
	detector->known_bad = bad;
	return 0;
}
