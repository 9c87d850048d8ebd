/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model server answers to a smoke test. Parts: expected JSON, expected text, expected body,
 * the answer; the first byte chooses which of them are asked for.
 */
#include "agent/probe/compare.h"
#include "agent/probe/smoke.h"
#include "fuzz.h"

#include <jansson.h>
#include <string.h>

enum { ASK_JSON = 1, ASK_TEXT = 2, ASK_BODY = 4, TOLERANT = 8, ERROR_STATUS = 16 };

/* JSON that nests deeper than Covey compares is never the same as itself. */
static unsigned depth_of(const char *json)
{
	unsigned depth = 0, most = 0;

	for (; *json; json++) {
		depth += *json == '[' || *json == '{';
		most = depth > most ? depth : most;
	}
	return most;
}

static void same_is_same(const struct release_smoke *smoke)
{
	json_t *json = json_loads(smoke->expect_json, JSON_DECODE_ANY, NULL);
	struct release_smoke only = {.expect_json = smoke->expect_json};

	if (json && depth_of(smoke->expect_json) < 32)
		assert(compare_answer(&only, 200, smoke->expect_json, strlen(smoke->expect_json),
				      NULL) == 0);
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint8_t ask = fuzz_byte(&input);
	AUTO_FREE char *json = fuzz_text(&input), *text = fuzz_text(&input);
	struct bytes body = fuzz_part(&input), answer = fuzz_part(&input);
	struct release_smoke smoke = {
		.expect_json = ask & ASK_JSON ? json : NULL,
		.expect_contains = ask & ASK_TEXT ? text : NULL,
		.expect_body = ask & ASK_BODY ? body : (struct bytes){0},
		.tolerance = ask & TOLERANT ? 0.5 : 0,
	};
	char test[LIMIT_SHORT_TEXT + 1], sentence[LIMIT_REASON_TEXT + 1];
	struct err err = {0};
	bool ok;

	if (compare_answer(&smoke, ask & ERROR_STATUS ? 503 : 200, answer.data, answer.size,
			   &err) < 0)
		assert(err.text[0]);
	if (smoke.expect_json)
		same_is_same(&smoke);
	smoke_parse(json, &ok, test, sentence); /* the worker's line, if it went mad */
	return 0;
}
