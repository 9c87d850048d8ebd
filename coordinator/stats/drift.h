/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drift of a window's counts against a frozen baseline over the same B bins.
 *
 * With p, q the shares of baseline (N counts) and window (M counts), h = 1/N + 1/M and c the
 * 1 - alpha quantile of chi-square with B - 1 degrees of freedom:
 *   PSI       = sum (q - p) ln(q / p)                    critical h c
 *   JS        = sqrt((KL2(p||a) + KL2(q||a)) / 2)        critical sqrt(h c / (8 ln 2))
 *               (distance, base 2, a = (p + q) / 2)      [Lin 1991]
 *   Hellinger = sqrt(1 - sum sqrt(p q))                  critical sqrt(h c / 8)
 *   KS        = max |P - Q| over the ordered bins        critical sqrt(-ln(alpha / 2) h / 2)
 *   chi2      = sum (sqrt(N/M) w - sqrt(M/N) b)^2 / (w + b)   critical c
 * (KS's critical value is Smirnov's asymptotic one: binned it is conservative.) Alarm only above
 * max(practical threshold, critical value). A bin that is empty on one side counts as half an
 * observation there for PSI and the e-value; a bin that is empty on both adds nothing to a score.
 *
 * The default alarm is an e-value, ln E = DM(c; m1 p) - DM(c; m p), DM the log of the window c's
 * Dirichlet-multinomial probability, m1 = 30, m = min(N, (B - 1) / wobble); alarm at E >= 1,000.
 */
#pragma once

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

enum { DRIFT_BINS_MAX = 4096 };
#define DRIFT_ALPHA 0.001 /* of the critical values */
#define DRIFT_ALPHA_MIN 1e-12
#define DRIFT_M1 30.0        /* concentration of the alternative */
#define DRIFT_WOBBLE 0.05    /* natural, until it is learned */
#define DRIFT_E_ALARM 1000.0 /* the default alarm's threshold for E */

struct drift_counts { /* borrowed */
	const uint64_t *baseline, *window;
	size_t bins; /* 2..DRIFT_BINS_MAX */
};

struct drift_score {
	double value, critical;
};

struct drift_scores {
	struct drift_score psi, js, hellinger, ks, chi2;
};

/* -EINVAL for a wrong number of bins, a side without counts, alpha outside [DRIFT_ALPHA_MIN, 1);
 * -ERANGE for a side with more than STATS_COUNT_MAX counts. */
int drift_score(const struct drift_counts *counts, double alpha,
                struct drift_scores *ret_scores) COVEY_MUST_CHECK;
/* Errors as above; m1, m > 0. */
int drift_ln_e(const struct drift_counts *counts, double m1, double m,
               double *ret_ln_e) COVEY_MUST_CHECK;
/* m = min(N, (B - 1) / wobble); wobble > 0. */
double drift_concentration(uint64_t baseline_total, size_t bins, double wobble);
