/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shiryaev-Roberts e-detector: after promotion, has a rate gone up at some time?
 *
 * For each outcome y (1: bad) and p_k in {1.25, 1.5, 2, 3, 5} p0 (at most 1):
 *   M_k <- (M_k + 1) LR_k, LR_k = p_k / p0 for y = 1, (1 - p_k) / (1 - p0) for y = 0;
 * alarm at mean M >= threshold, and then the sums start anew. With the default 1e5 there is at most
 * one false alarm in 100,000 outcomes on average. [Shin, Ramdas, Rinaldo: "E-detectors", 2023;
 * Shiryaev 1963, Roberts 1966] M is kept as it is: an alarm comes before it can pass 25 thresholds.
 *
 * Where p0 is not known it is learned: p0 = (bad + 1/2) / (outcomes + 1) of all outcomes before
 * this one, at least 2,000. Given those the next one is bad with just that probability (Jeffreys'
 * prior, [prequential: Dawid 1984]), so each LR_k has the mean 1 and the bound on false alarms
 * holds on average over what chance made of the first 2,000. An upper confidence bound would be
 * paid for with a later alarm each time.
 */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

enum { DETECTOR_POINTS = 5, DETECTOR_OBSERVATIONS_MIN = 2000 };
#define DETECTOR_THRESHOLD 1e5

struct detector {
	double p0, threshold;
	double m[DETECTOR_POINTS];
	uint64_t outcomes; /* so far */
	uint64_t known, known_bad; /* that p0 is learned from; known 0: p0 was given */
};

/* 0 < p0 < 1, 1 < threshold <= 1e300, else -EINVAL. */
int detector_init(struct detector *detector, double p0, double threshold) COVEY_MUST_CHECK;
/* One outcome; true: alarm, and the sums are 0 again. */
bool detector_add(struct detector *detector, bool bad);
/* ln of mean M: how near an alarm is; -INFINITY at the start. */
double detector_ln_e(const struct detector *detector);
/* Goes on from bad of so many outcomes, and learns on. -ENODATA below DETECTOR_OBSERVATIONS_MIN,
 * -EINVAL for more bad ones than outcomes, threshold as above. */
int detector_learn(struct detector *detector, uint64_t outcomes, uint64_t bad,
                   double threshold) COVEY_MUST_CHECK;
