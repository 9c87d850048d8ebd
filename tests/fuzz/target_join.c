/* SPDX-License-Identifier: Apache-2.0 */
/* A join string: what parses must format to something that parses to the same, and its endpoint
 * must lead to the other channels. */
#include "base/str.h"
#include "fuzz.h"
#include "protocol/enrol.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	AUTO_FREE char *text = fuzz_text(&input);
	char shown[JOIN_STRING_MAX], channel[LIMIT_ENDPOINT + 1];
	struct join_string join = {0}, again = {0};
	struct err err = {0};

	for (int offset = 0; offset <= PORT_OFFSET_OPERATORS; offset++)
		if (endpoint_channel(text, offset, channel, &err) < 0)
			assert(err.text[0]);
	if (join_string_parse(text, &join, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	assert(join_string_format(&join, shown) == 0);
	assert(join_string_parse(shown, &again, NULL) == 0);
	assert(memcmp(&join, &again, sizeof(join)) == 0);
	assert(endpoint_channel(join.endpoint, PORT_OFFSET_OPERATORS, channel, NULL) == 0);
	return 0;
}
