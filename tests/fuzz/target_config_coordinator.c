/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator.conf, and the operators' list beside it as a second part. */
#include "coordinator/config.h"
#include "base/mem.h"
#include "coordinator/operators.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

static void read_operators(struct bytes text)
{
	const char *path = fuzz_file("operators", text.data, text.size);
	struct operators operators = {0};
	struct err err = {0};

	if (operators_load(path, &operators, &err) < 0)
		assert(strstr(err.text, path) && !operators.entries);
	assert(operators.count <= LIMIT_OPERATORS);
	for (size_t i = 0; i < operators.count; i++)
		assert(operators.entries[i].name[0] &&
		       operators_find(&operators, &operators.entries[i].key));
	operators_free(&operators);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct bytes main_part = fuzz_part(&input), list = fuzz_part(&input);
	const char *path = fuzz_file("coordinator.conf", main_part.data, main_part.size);
	struct config config;
	struct err err = {0};

	if (config_load(path, &config, &err) == 0) {
		assert(config.port >= 1 && config.port <= UINT16_MAX - PORT_OFFSET_OPERATORS);
		assert(config.io_threads >= 1 && config.io_threads <= 16);
		assert(config.state_dir[0] && config.listen[0]);
	} else {
		assert(strstr(err.text, path));
	}
	read_operators(list);
	return 0;
}
