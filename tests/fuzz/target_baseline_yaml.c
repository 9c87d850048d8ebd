/* SPDX-License-Identifier: Apache-2.0 */
/* A drift baseline as text: what is accepted is written as a file that is read as the same. */
#include "base/mem.h"
#include "coordinator/cli/yml_files.h"
#include "evidence/build.h"
#include "fuzz.h"
#include "protocol/codec_tables.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *path = mem_str(fuzz_file("baseline.yaml", data, size));
	struct baseline baseline, again;
	struct err err = {0};
	FILE *out;

	if (baseline_file_read(path, &baseline, &err) < 0) {
		assert(strstr(err.text, path));
		return 0;
	}
	assert(baseline_check(&baseline, &err) == 0);
	fuzz_encodes(&codec_baseline, &baseline, 2 * LIMIT_BASELINE);
	out = fopen(path, "we");
	assert(out);
	baseline_file_write(out, &baseline);
	fclose(out);
	if (baseline_file_read(path, &again, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	assert(codec_equal(&codec_baseline, &baseline, &again));
	build_free(&baseline);
	build_free(&again);
	return 0;
}
