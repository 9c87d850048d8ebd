/* SPDX-License-Identifier: Apache-2.0 */
/* The codec's canonical encoding makes equal baselines equal bytes, so that their digest is an id. */
#include "protocol/baseline.h"

#include "evidence/build.h"
#include "protocol/codec.h"
#include "protocol/digest.h"

void baseline_id(const void *data, size_t size, struct digest *ret_id)
{
	digest_of(ret_id, data, size);
}

int baseline_encode(const struct baseline *baseline, struct bytes *ret_bytes, struct err *err)
{
	int r = baseline_check(baseline, err);

	return r < 0 ? r : codec_encode(&codec_baseline, baseline, LIMIT_BASELINE, ret_bytes, err);
}

int baseline_decode(const void *data, size_t size, struct baseline *ret_baseline, struct err *err)
{
	struct baseline baseline;
	int r = codec_decode(&codec_baseline, data, size, &baseline, err);

	if (r < 0)
		return r;
	r = baseline_check(&baseline, err);
	if (r < 0) {
		codec_free(&codec_baseline, &baseline);
		return err_prefix(err, r, "baseline");
	}
	*ret_baseline = baseline;
	return 0;
}
