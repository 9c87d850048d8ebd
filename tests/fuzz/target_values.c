/* SPDX-License-Identifier: Apache-2.0 */
/* One text as each of the small values: times, sizes, numbers, digests, ids, names, labels. */
#include "base/selector.h"
#include "base/str.h"
#include "fuzz.h"
#include "protocol/digest.h"
#include "protocol/transport/keyfile.h"
#include "protocol/wire.h"

#include <string.h>

static void numbers(const char *text)
{
	char shown[STR_DURATION_MAX];
	uint64_t value, again;

	if (str_parse_duration(text, &value) == 0)
		str_format_duration(shown, value);
	if (str_parse_size(text, &value) == 0)
		str_format_size(shown, value);
	if (str_parse_u64(text, UINT64_MAX, &value) == 0) {
		str_format_time(shown, value);
		str_format_duration(shown, value);
		str_format_size(shown, value);
		assert(str_parse_u64(text, value, &again) == 0 && again == value);
		assert(value == 0 || str_parse_u64(text, value - 1, &again) < 0);
	}
}

static void ids(const char *text)
{
	char shown[DIGEST_TEXT_MAX];
	struct digest digest, digest_again;
	struct node_id node, node_again;
	struct rollout_id rollout, rollout_again;
	struct public_key key, key_again;

	if (digest_parse(text, &digest) == 0) {
		digest_text(shown, &digest);
		assert(digest_parse(shown, &digest_again) == 0 &&
		       digest_equal(&digest, &digest_again));
	}
	if (node_id_parse(text, &node) == 0) {
		node_id_text(shown, &node);
		assert(node_id_parse(shown, &node_again) == 0 && node_id_equal(&node, &node_again));
	}
	if (rollout_id_parse(text, &rollout) == 0) {
		rollout_id_text(shown, &rollout);
		assert(rollout_id_parse(shown, &rollout_again) == 0 &&
		       rollout_id_equal(&rollout, &rollout_again));
	}
	if (public_key_parse(text, &key) == 0) {
		public_key_text(shown, &key);
		assert(public_key_parse(shown, &key_again) == 0 &&
		       memcmp(&key, &key_again, sizeof(key)) == 0);
	}
}

static void texts(const char *text)
{
	size_t size = strlen(text);
	AUTO_FREE char *clean = malloc(size + 1);
	struct err err = {0};

	wire_text_clean(clean, text, size);
	assert(wire_text_is_valid(clean, size));
	assert(!wire_text_is_valid(text, size) || memcmp(clean, text, size) == 0);
	assert(!name_is_valid(text) || (size >= 1 && size <= LIMIT_NAME));
	assert(!version_is_valid(text) || (size >= 1 && size <= LIMIT_VERSION));
	/* A name is good enough to be a label's value. */
	assert(selector_check_label("key", text, &err) == 0 || err.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	AUTO_FREE char *text = fuzz_text(&input);

	numbers(text);
	ids(text);
	texts(text);
	return 0;
}
