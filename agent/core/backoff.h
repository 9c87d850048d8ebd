/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capped exponential backoff with jitter, from a random number that the caller brings: a core
 * draws none itself. "Equal jitter" (M. Brooker, "Exponential Backoff And Jitter", 2015): half of
 * the step is certain, half is drawn, so that nobody comes back at once and no two together.
 */
#pragma once

#include <stdint.h>

/* Milliseconds to wait after `failures` failures in a row (1: the first). With
 * step = min(cap_ms, base_ms * 2^(failures-1)) the result lies in [step/2, step].
 * failures 0 gives 0. Total: nothing overflows. */
uint64_t backoff_ms(uint64_t base_ms, uint64_t cap_ms, uint32_t failures, uint64_t random);
