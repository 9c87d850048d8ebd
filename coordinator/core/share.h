/* SPDX-License-Identifier: Apache-2.0 */
/* "20%" or a count, of so many. Both never answer more than there are. */
#pragma once

#include "covey/ids.h"

/* Stages and batches: rounded up, at least one of any. */
uint32_t share_up(struct share share, size_t of);
/* Limits: rounded down. */
uint32_t share_down(struct share share, size_t of);
