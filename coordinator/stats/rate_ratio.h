/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate-ratio e-process: is the canary's rate of bad events higher than the control's?
 *
 * Given that one of x_c + x_b events of a period happened, it is the canary's with probability
 * theta(rho, w) = rho w / (rho w + 1 - w), w = n_c / (n_c + n_b), rho the ratio of the rates. So
 *   L(rho) = sum over periods of x_c ln theta(rho, w) + x_b ln(1 - theta(rho, w)),
 * and means of exp(L(rho_k) - L(rho_0)) over the grid are e-processes: valid at every look, with
 * shares that change. Kept is L(rho) - L(1) at rho = 2^(j/8) from 2^-12 to 2^12: fixed size.
 * [conditional likelihood: Lindon and Malek, NeurIPS 2022; mixture: Robbins 1970]
 */
#pragma once

#include "base/cleanup.h"
#include "coordinator/stats/numeric.h"

#include <stdint.h>

enum { RATE_RATIO_POINTS = 193 };

struct rate_ratio {
	double tolerance; /* rho_tol: ratios up to it are no harm */
	double margin;    /* rho_NI: promote when the ratio is below it */
	double at_tolerance, at_margin;
	double at[RATE_RATIO_POINTS];
	uint64_t canary_bad, control_bad; /* of all periods */
};

/* One period and stratum. Bad events may be more than attempts (events are not requests). */
struct rate_period {
	uint64_t canary, control;         /* attempts: n_c, n_b */
	uint64_t canary_bad, control_bad; /* x_c, x_b */
};

/* tolerance in [1/16, 16), margin in (1/16, 16]; -EINVAL. */
int rate_ratio_init(struct rate_ratio *ratio, double tolerance, double margin) COVEY_MUST_CHECK;
/* -ERANGE above STATS_COUNT_MAX; -EINVAL for bad events without an attempt. A period in which one
 * side had no attempt changes nothing. */
int rate_ratio_add(struct rate_ratio *ratio, const struct rate_period *period) COVEY_MUST_CHECK;
/* L(rho) - L(1), of ln rho; rho from 2^-12 to 2^12. */
double rate_ratio_at(const struct rate_ratio *ratio, double ln_rho);
/* The same of all rho_k exp(ln_shift) at once, for a shift of up to 4 octaves. */
void rate_ratio_shifted(const struct rate_ratio *ratio, double ln_shift,
                        double ret_at[STATS_GRID]);
/* ln E against H0: rho <= tolerance; halt at ln E >= ln(1 / alpha). */
double rate_ratio_ln_halt(const struct rate_ratio *ratio);
/* ln E against H0: rho >= margin; promote at ln E >= ln(1 / beta). */
double rate_ratio_ln_promote(const struct rate_ratio *ratio);
/* The confidence sequence: all rho with mean_k exp(L(rho_k) - L(rho)) < 1 / alpha, 0 < alpha < 1.
 * A bound beyond 2^-12 or 2^12 is given as 0 or INFINITY. */
void rate_ratio_bounds(const struct rate_ratio *ratio, double alpha, double *ret_lo,
                       double *ret_hi);
