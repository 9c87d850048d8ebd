/* SPDX-License-Identifier: Apache-2.0 */
/* Delta sets to bytes and back. */
#pragma once

#include "covey/delta.h"
#include "protocol/codec.h"

extern const struct codec_struct codec_delta_set;

/* Opens a set and checks that its objects and items fit each other and their bounds. expected: its
 * digest. -EBADMSG. Free with codec_free(&codec_delta_set). */
int delta_set_open(const void *data, size_t size, const struct digest *expected,
		   struct delta_set *ret_set, struct err *err) COVEY_MUST_CHECK;
