/* SPDX-License-Identifier: Apache-2.0 */
/* A baseline as bytes: in a release's manifest, in BASELINE messages, in stores. */
#pragma once

#include "base/err.h"
#include "covey/evidence.h"

/* The id: digest of the encoding. */
void baseline_id(const void *data, size_t size, struct digest *ret_id);
/* Caller: free(ret_bytes->data). */
int baseline_encode(const struct baseline *baseline, struct bytes *ret_bytes,
		    struct err *err) COVEY_MUST_CHECK;
/* Decodes and checks (evidence/build.h). Caller: build_free(). -EBADMSG, -EMSGSIZE, -EINVAL. */
int baseline_decode(const void *data, size_t size, struct baseline *ret_baseline,
		    struct err *err) COVEY_MUST_CHECK;
