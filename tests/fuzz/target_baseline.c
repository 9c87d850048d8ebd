/* SPDX-License-Identifier: Apache-2.0 */
/* A baseline out of a manifest or a message: what is accepted can be counted with. */
#include "evidence/bins.h"
#include "evidence/build.h"
#include "fuzz.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"

#include <math.h>
#include <string.h>

static void count_with(const struct baseline_feature *feature)
{
	static const double numbers[] = {0, -1, 1e300, 0.5, NAN, INFINITY, -INFINITY};
	static const char *const words[] = {"", "lyon", "\xff"};

	assert(feature->counts_count == bins_total(feature));
	if (feature->kind == FEATURE_NUMERIC) {
		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
			assert(bins_of_number(feature, numbers[i]) < bins_total(feature));
		for (size_t i = 0; i < feature->edges_count; i++)
			assert(bins_of_number(feature, feature->edges[i].value) <
			       bins_inner(feature));
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			assert(bins_of_text(feature, words[i], strlen(words[i])) <
			       bins_total(feature));
		for (size_t i = 0; i < feature->values_count; i++)
			assert(bins_of_text(feature, feature->values[i].text,
					    strlen(feature->values[i].text)) == i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct baseline baseline;
	struct bytes encoded = {0};
	struct err err = {0};
	int r;

	fuzz_round_trip(&codec_baseline, data, size, LIMIT_BASELINE);
	if (size > LIMIT_BASELINE || baseline_decode(data, size, &baseline, &err) < 0)
		return 0;
	for (size_t i = 0; i < baseline.features_count; i++) {
		const char *name = baseline.features[i].name;

		assert(bins_find(&baseline, name, strlen(name)) == i);
		count_with(&baseline.features[i]);
	}
	r = baseline_encode(&baseline, &encoded, &err);
	assert(r == 0 || r == -EMSGSIZE);
	free(encoded.data);
	build_free(&baseline);
	return 0;
}
