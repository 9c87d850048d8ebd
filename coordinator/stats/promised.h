/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Absolute test against the promised rate, for too few errors to compare.
 *
 * H0: p >= p_SLO, p the probability that a request fails. With n requests and x failures
 *   E = mean over p_j in {0, 1/10, 1/4, 1/2} p_SLO of p_j^x (1 - p_j)^(n - x) /
 *       (p_SLO^x (1 - p_SLO)^(n - x)).
 * E >= 20 needs 70 / 354 / 710 / 3,556 requests without a failure at 5 / 1 / 0.5 / 0.1 %.
 *
 * The other side, H0: p <= p_SLO, is the ceiling: the same mean over five p_j whose odds are 1.25,
 * 1.5, 2, 3 and 5 times those of p_SLO. [mixtures after Robbins 1970]
 */
#pragma once

#include "base/cleanup.h"

#include <stdint.h>

struct promised {
	double slo; /* the promised rate of failures */
	uint64_t attempts, bad;
};

/* 0 < slo < 1, else -EINVAL. */
int promised_init(struct promised *promised, double slo) COVEY_MUST_CHECK;
/* -EINVAL for more failures than attempts, -ERANGE above STATS_COUNT_MAX in all. */
int promised_add(struct promised *promised, uint64_t attempts, uint64_t bad) COVEY_MUST_CHECK;
/* ln E against H0; promote at ln E >= ln(1 / beta). */
double promised_ln_promote(const struct promised *promised);
/* ln E against H0: p <= slo; the promise is broken at ln E >= ln(1 / alpha). */
double promised_ln_halt(const struct promised *promised);
