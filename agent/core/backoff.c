/* SPDX-License-Identifier: Apache-2.0 */
/* Doubling by shifts that stop before they overflow: the cap is reached long before bit 63. */
#include "agent/core/backoff.h"

uint64_t backoff_ms(uint64_t base_ms, uint64_t cap_ms, uint32_t failures, uint64_t random)
{
	uint64_t step = base_ms < cap_ms ? base_ms : cap_ms;
	uint64_t half;

	if (failures == 0)
		return 0;
	for (uint32_t i = 1; i < failures && step < cap_ms; i++)
		step = step > cap_ms / 2 ? cap_ms : step * 2;
	half = step - step / 2;
	return half + random % (step / 2 + 1);
}
