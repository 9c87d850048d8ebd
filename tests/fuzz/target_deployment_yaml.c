/* SPDX-License-Identifier: Apache-2.0 */
/* deployment.yaml: what the command line accepts, the coordinator's check accepts too, before and
 * after it went over the wire. */
#include "coordinator/cli/yml_files.h"
#include "fuzz.h"
#include "protocol/spec.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file("deployment.yaml", data, size);
	struct deployment_spec spec;
	struct err err = {0};

	if (deployment_file_read(path, &spec, &err) < 0) {
		assert(strstr(err.text, path));
		return 0;
	}
	assert(deployment_spec_check(&spec, &err) == 0);
	fuzz_encodes(&codec_deployment_spec, &spec, LIMIT_MANIFEST);
	deployment_spec_free(&spec);
	return 0;
}
