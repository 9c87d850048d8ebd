/* SPDX-License-Identifier: Apache-2.0 */
/* The deployment's declaration: checks that both the command line and the coordinator make. */
#pragma once

#include "covey/policy.h"
#include "protocol/codec.h"

/* Overwrites *spec with every default: one canary node for five minutes, then batches of 20 % that
 * bake for a minute. stages is on the heap. batch_bake_ms is the bake of blue_green as well. */
void deployment_spec_defaults(struct deployment_spec *spec);
/* Ranges and sense (percent <= 100, selectors that parse, names, deadlines that can hold the
 * bakes). The sentence names the field as it is written in YAML. -EINVAL. */
int deployment_spec_check(const struct deployment_spec *spec, struct err *err) COVEY_MUST_CHECK;
void deployment_spec_free(struct deployment_spec *spec);
