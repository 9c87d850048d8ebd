/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's fleet.conf: what loads is written as a file that loads to the same. */
#include "coordinator/cli/config.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file("fleet.conf", data, size);
	struct fleet_config config, again;
	AUTO_FREE char *text = NULL;
	struct err err = {0};

	if (config_load(path, &config, &err) < 0) {
		assert(strstr(err.text, path));
		return 0;
	}
	text = config_format(&config);
	path = fuzz_file("again.conf", text, strlen(text));
	assert(config_load(path, &again, &err) == 0);
	assert(strcmp(config.endpoint, again.endpoint) == 0);
	assert(memcmp(&config.server_key, &again.server_key, sizeof(config.server_key)) == 0);
	return 0;
}
