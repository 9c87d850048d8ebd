/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's /metrics, twice. Parts: what a release wishes for (requests, errors, latency, a
 * counter: one a line), then the two looks. What came between them is counted; the record must go
 * over the wire.
 */
#include "agent/observe/metrics.h"
#include "base/mem.h"
#include "base/str.h"
#include "evidence/record.h"
#include "fuzz.h"
#include "protocol/codec_tables.h"
#include "protocol/wire.h"

#include <math.h>
#include <string.h>

static void check_look(const struct metrics *look)
{
	assert(look->buckets_count <= METRICS_BUCKETS_MAX);
	for (size_t i = 1; i < look->buckets_count; i++)
		assert(look->buckets[i].le > look->buckets[i - 1].le);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	AUTO_FREE char *wishes = fuzz_text(&input);
	struct bytes first = fuzz_part(&input), second = fuzz_part(&input);
	AUTO_FREE struct metrics *before = mem_alloc(sizeof(*before)), *now = mem_alloc(sizeof(*now));
	struct tally_start start = {.deployment = "ocr"};
	struct observation_record record = {0};
	struct tally *tally = tally_create(NULL);
	struct release_observe wanted = {0};
	struct text_item counter;
	bool is_text = wire_text_is_valid(wishes, strlen(wishes)); /* as in a manifest */
	char *rest = wishes;

	wanted.requests = strsep(&rest, "\n");
	wanted.errors = strsep(&rest, "\n");
	wanted.latency = strsep(&rest, "\n");
	counter.text = strsep(&rest, "\n");
	wanted.counters = &counter;
	wanted.counters_count = counter.text && strlen(counter.text) <= LIMIT_SHORT_TEXT;
	metrics_read((const char *)first.data, first.size, &wanted, before);
	metrics_read((const char *)second.data, second.size, &wanted, now);
	check_look(before);
	check_look(now);
	tally_begin(tally, &start);
	metrics_count(before, now, &wanted, tally, 1000);
	tally_close(tally, 2000, &record);
	assert(record.counts.ok + record_bad(&record.counts) <= record.counts.attempted);
	if (is_text)
		fuzz_encodes(&codec_observation_record, &record, LIMIT_AGENT_MESSAGE);
	codec_free(&codec_observation_record, &record);
	tally_free(tally);
	return 0;
}
