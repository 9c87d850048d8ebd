/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of a model server, one for each part, counted against a baseline with a number and a
 * word; the record that comes out must go over the wire, and every attempt must have an end.
 */
#include "agent/observe/tally.h"
#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"
#include "evidence/record.h"
#include "fuzz.h"
#include "protocol/codec_tables.h"

#include <string.h>

static struct baseline make_baseline(void)
{
	double numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct build_value words[] = {{"lyon", 5}, {"paris", 3}};
	struct baseline baseline = {.observations = 10,
				    .features = mem_array(2, sizeof(*baseline.features)),
				    .features_count = 2};
	int r = build_numeric("ink", numbers, ARRAY_SIZE(numbers), 4, &baseline.features[0], NULL);

	assert(r == 0);
	r = build_categorical("site", words, ARRAY_SIZE(words), &baseline.features[1], NULL);
	assert(r == 0);
	build_finish(&baseline);
	return baseline;
}

static void check(const struct observation_record *record)
{
	const struct observed_counts *counts = &record->counts;

	assert(counts->ok + record_bad(counts) <= counts->attempted);
	assert(counts->incidents <= counts->minutes && counts->smoke_failures == 0);
	for (size_t i = 1; i < record->buckets_count; i++)
		assert(record->buckets[i].index > record->buckets[i - 1].index);
	fuzz_encodes(&codec_observation_record, record, LIMIT_AGENT_MESSAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tally_start start = {.deployment = "ocr",
				    .has_range = true,
				    .score_max = 1,
				    .order.thresholds = {{1000}, {20000}}};
	struct fuzz_input input = {data, size};
	struct baseline baseline = make_baseline(), learned = {0};
	struct tally *tally = tally_create(&baseline);
	struct learn *learn = learn_create();
	struct observation_record record = {0};

	tally_begin(tally, &start);
	for (uint64_t ms = 0; input.left; ms += 1000) {
		struct bytes part = fuzz_part(&input);

		tally_datagram(tally, (const char *)part.data, part.size, ms, learn);
		if (part.size == 5)
			tally_crashed(tally, ms);
	}
	tally_close(tally, 60000, &record);
	check(&record);
	codec_free(&codec_observation_record, &record);
	if (learn_finish(learn, &learned, NULL) == 0) {
		assert(baseline_check(&learned, NULL) == 0);
		build_free(&learned);
	}
	learn_free(learn);
	tally_free(tally);
	return 0;
}
