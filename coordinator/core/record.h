/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codec tables for what the coordinator's journal keeps of the core: a rollout is its spec, its
 * plan, what rollout_new() was given, and its events. Tables only; the functions are the codec's.
 */
#pragma once

#include "coordinator/core/event.h"
#include "coordinator/core/plan.h"
#include "protocol/codec.h"

extern const struct codec_struct codec_rollout_event, codec_rollout_why, codec_plan;
