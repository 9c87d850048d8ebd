/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf, which the helper reads as root: what loads is within every bound, and the same when
 * it is read again. A second part is a drop-in. */
#include "agent/config.h"
#include "base/mem.h"
#include "fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	assert(mkdir(FUZZ_DIR "/agent.conf.d", 0755) == 0);
	return 0;
}

/* Absolute, and no part of it is empty, . or .. */
static bool is_plain(const char *path)
{
	char resolved[CONFIG_PATH_MAX + 1];

	if (path[0] != '/' || strlen(path) >= sizeof(resolved))
		return false;
	memcpy(resolved, path, strlen(path));
	memcpy(resolved + strlen(path), "/", 2);
	return !strstr(resolved, "//") && !strstr(resolved, "/./") && !strstr(resolved, "/../");
}

static void check(const struct agent_config *config)
{
	const struct config_helper *helper = &config->helper;

	assert(is_plain(config->state_dir) && is_plain(config->run_dir));
	assert(is_plain(config->trust_dir) && is_plain(helper->state_dir));
	assert(helper->socket[0] == '/' && memchr(helper->socket, 0, CONFIG_SOCKET_MAX));
	for (size_t i = 0; i < helper->allow_devices_count; i++)
		assert(is_plain(helper->allow_devices[i]));
	assert(helper->subnet_prefix >= 8 && helper->subnet_prefix <= 28);
	assert(helper->port_low >= 1 && helper->port_low <= helper->port_high);
	assert(helper->port_high <= UINT16_MAX);
	assert(helper->instance[0] && strlen(helper->instance) < CONFIG_INSTANCE_MAX);
	assert(helper->allow_devices_count <= LIMIT_DEVICES);
	assert(config->labels_count <= LIMIT_LABELS);
	assert(config->disk_reserve_percent <= 100);
	assert(!config->name[0] || name_is_valid(config->name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct bytes main_part = fuzz_part(&input), drop_in = fuzz_part(&input);
	AUTO_FREE struct agent_config *config = mem_alloc(sizeof(*config)),
				      *again = mem_alloc(sizeof(*again));
	AUTO_FREE char *path = mem_str(fuzz_file("agent.conf", main_part.data, main_part.size));
	struct err err = {0};

	fuzz_file("agent.conf.d/a.conf", drop_in.data, drop_in.size);
	if (config_load(path, config, &err) < 0) {
		assert(strstr(err.text, path));
		return 0;
	}
	check(config);
	assert(config_load(path, again, &err) == 0 && memcmp(config, again, sizeof(*config)) == 0);
	return 0;
}
