/* SPDX-License-Identifier: Apache-2.0 */
/* The bars of what is watched after a rollout; returns how many were missed. */
#pragma once

#include <stdbool.h>

int alarms_run(bool full);
