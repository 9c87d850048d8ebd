/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact conditional e-process, for frequent events (> 5 %), where the rate-ratio e-process is
 * conservative, and for latency.
 *
 * Given k = x_c + x_b of n_c + n_b attempts, x_c follows Fisher's noncentral hypergeometric law
 * with the odds ratio omega. Per period
 *   ln e(omega) = x_c ln omega - ln sum_j H(j) omega^j, H(j) = C(n_c, j) C(n_b, k - j) / C(n, k),
 * and E = mean over omega = 2^(i/4), i = 1..16, of exp(sum of ln e) tests H0: omega <= 1. Odds
 * ratios have no unit. [Fisher 1935; the e-process after Robbins 1970]
 */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

enum { EXACT_POINTS = 16, LATENCY_THRESHOLDS = 4 };

struct exact { /* zero-initialise */
	double ln_e[EXACT_POINTS];
};

/* -ERANGE above STATS_COUNT_MAX, -EINVAL for more events than attempts. */
int exact_add(struct exact *exact, uint64_t canary, uint64_t control, uint64_t canary_bad,
              uint64_t control_bad) COVEY_MUST_CHECK;
double exact_ln_halt(const struct exact *exact);

/*
 * Latency: thresholds are frozen once per rollout at the control's p50, p90, p95, p99 (>= 1,000
 * observations); an event is an observation above a threshold. E = mean of the E_j.
 */
struct latency { /* zero-initialise */
	struct exact over[LATENCY_THRESHOLDS];
};

/* How many of n observations were above each threshold; -ERANGE, -EINVAL as above, and then
 * nothing was added. */
int latency_add(struct latency *latency, uint64_t canary, uint64_t control,
                const uint64_t canary_over[LATENCY_THRESHOLDS],
                const uint64_t control_over[LATENCY_THRESHOLDS]) COVEY_MUST_CHECK;
double latency_ln_halt(const struct latency *latency);
