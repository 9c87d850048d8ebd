/* SPDX-License-Identifier: Apache-2.0 */
/* A container's log as its supervisor wrote it: the last lines, for people. The first byte says how
 * many are asked for, the second how long they may be. */
#include "agent/helper/logs.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint8_t lines = fuzz_byte(&input), max = fuzz_byte(&input);
	AUTO_FREE char *tail =
		logs_tail(fuzz_file("log", input.at, input.left), lines ? lines : 1, max + 1u);
	size_t shown = 0;

	assert(tail && strlen(tail) <= max + 1u);
	for (const char *at = tail; *at; at++) {
		shown += *at == '\n';
		assert(*at == '\n' || *at == '\t' || (unsigned char)*at >= ' ');
	}
	assert(shown <= (lines ? lines : 1u));
	return 0;
}
