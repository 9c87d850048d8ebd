/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's form of a deployment's durable record (agent/core/deploy.h). Field numbers are for
 * ever: a newer agent reads what an older one wrote. */
#pragma once

#include "agent/core/deploy.h"
#include "protocol/codec.h"

enum { RECORD_ENCODED_MAX = 64 << 10 };

extern const struct codec_struct codec_deploy_record;
