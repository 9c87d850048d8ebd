/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding decides who is at risk: upwards where a test would else be empty, downwards where a
 * limit would else be wider than written. */
#include "coordinator/core/share.h"

uint32_t share_up(struct share share, size_t of)
{
	uint64_t value = share.value;

	if (share.percent)
		value = (value * of + 99) / 100;
	if (value < 1)
		value = 1;
	return (uint32_t)(value < of ? value : of);
}

uint32_t share_down(struct share share, size_t of)
{
	uint64_t value = share.percent ? (uint64_t)share.value * of / 100 : share.value;

	return (uint32_t)(value < of ? value : of);
}
