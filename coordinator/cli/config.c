/* SPDX-License-Identifier: Apache-2.0 */
/* fleet.conf has two keys in one section; whoever misspells one gets the line and not a default. */
#include "coordinator/cli/config.h"
#include "base/lines.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/transport/keyfile.h"

#include <ini.h>

struct load {
	struct fleet_config *config;
	bool endpoint, server_key;
};

/* inih: non-zero is good. */
static int take(void *user, const char *section, const char *name, const char *value)
{
	struct load *load = user;

	if (!str_equal(section, "fleet"))
		return 0;
	if (str_equal(name, "endpoint")) {
		load->endpoint = str_starts(value, "tcp://") &&
		                 STR_SET(load->config->endpoint, value) == 0;
		return load->endpoint;
	}
	if (str_equal(name, "server_key")) {
		load->server_key = public_key_parse(value, &load->config->server_key) == 0;
		return load->server_key;
	}
	return 0;
}

int config_load(const char *path, struct fleet_config *ret_config, struct err *err)
{
	struct fleet_config config = {0};
	struct load load = {.config = &config};
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	struct lines lines = {.file = file};
	int line;

	if (!file)
		return err_errno(err, -errno, "%s", path);
	line = ini_parse_stream(lines_read, &lines, take, &load);
	if (ferror(file))
		return err_set(err, -EIO, "%s: cannot be read", path);
	if (line == 0 && lines.too_long)
		line = lines.number;
	if (line != 0)
		return err_set(err, -EINVAL,
		               "%s:%d: [fleet] holds `endpoint = tcp://HOST:PORT` and `server_key "
		               "= <64 hex digits>`; correct this line",
		               path, line);
	if (!load.endpoint || !load.server_key)
		return err_set(err, -EINVAL,
		               "%s:1: [fleet] lacks `%s`; copy the file that `covey init` made",
		               path, load.endpoint ? "server_key" : "endpoint");
	*ret_config = config;
	return 0;
}

char *config_format(const struct fleet_config *config)
{
	char key[KEY_TEXT_MAX];

	public_key_text(key, &config->server_key);
	return mem_format("# where this fleet's coordinator is, and the key that it must prove\n"
	                  "[fleet]\nendpoint = %s\nserver_key = %s\n",
	                  config->endpoint, key);
}
