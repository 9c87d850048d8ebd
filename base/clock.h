/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, for shells and mains only: cores get the time with the event. */
#pragma once

#include <stdint.h>

uint64_t clock_unix_ms(void); /* CLOCK_REALTIME: what people and records see */
uint64_t clock_mono_ms(void); /* CLOCK_BOOTTIME: deadlines; goes on during suspend */
