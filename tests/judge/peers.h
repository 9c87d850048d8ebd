/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others do with the same stream, for comparison only. Each says at which minute it calls the
 * canary worse (from 1), or 0.
 */
#pragma once

#include "stream.h"

/* One-sided two-proportion z-test of all data so far, looked at each minute, at this alpha. */
uint32_t peer_z_test(const struct minute *minutes, uint32_t count, double alpha);
/* The same for latency: means of all latencies so far. */
uint32_t peer_z_means(const struct minute *minutes, uint32_t count, double alpha);
/* One look at the end, as published for Kayenta's judge: a Mann-Whitney test on the minutes' values
 * of canary and baseline; the 98 % confidence interval of the Hodges-Lehmann shift must lie above
 * a quarter of that shift. */
uint32_t peer_mann_whitney(const struct minute *minutes, uint32_t count, bool latency);
