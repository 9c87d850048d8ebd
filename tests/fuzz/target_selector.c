/* SPDX-License-Identifier: Apache-2.0 */
/* A selector, then labels as KEY=VALUE lines: what passes the check must match or not, whatever the
 * labels are and in whatever order. */
#include "base/selector.h"
#include "base/str.h"
#include "fuzz.h"

#include <string.h>

enum { LABELS_MAX = 16 };

static size_t read_labels(char *text, struct selector_label labels[LABELS_MAX])
{
	size_t count = 0;
	char *line;

	while (count < LABELS_MAX && (line = strsep(&text, "\n"))) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value++ = 0;
		if (selector_check_label(line, value, NULL) == 0)
			labels[count++] = (struct selector_label){line, value};
	}
	return count;
}

/* Of two labels of one key the first counts, so only distinct keys may change places. */
static bool are_distinct(const struct selector_label *labels, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (str_equal(labels[i].key, labels[j].key))
				return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	AUTO_FREE char *selector = fuzz_text(&input), *text = fuzz_text(&input);
	struct selector_label labels[LABELS_MAX], reversed[LABELS_MAX];
	size_t count = read_labels(text, labels);
	struct err err = {0};

	if (selector_check(selector, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	assert(strlen(selector) <= LIMIT_SELECTOR);
	for (size_t i = 0; i < count; i++)
		reversed[count - 1 - i] = labels[i];
	if (are_distinct(labels, count))
		assert(selector_matches(selector, labels, count) ==
		       selector_matches(selector, reversed, count));
	return 0;
}
