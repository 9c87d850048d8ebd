/* SPDX-License-Identifier: Apache-2.0 */
/* The service's configuration: one table of keys; whatever is not in it is an error, with its line. */
#include "coordinator/config.h"

#include "base/lines.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <ini.h>
#include <string.h>

struct reading {
	struct config *config;
	const char *path;
	struct err *err;
	int result;
};

static int set_text(char *dst, size_t size, const char *value)
{
	return *value ? str_set(dst, size, value) : -EINVAL;
}

static int set_number(unsigned *dst, const char *value, unsigned min, unsigned max)
{
	uint64_t number;

	if (str_parse_u64(value, max, &number) < 0 || number < min)
		return -EINVAL;
	*dst = (unsigned)number;
	return 0;
}

static int set_duration(uint64_t *dst, const char *value, uint64_t min, uint64_t max)
{
	uint64_t ms;

	if (str_parse_duration(value, &ms) < 0 || ms < min || ms > max)
		return -EINVAL;
	*dst = ms;
	return 0;
}

static int set_percent(uint32_t *dst, const char *value)
{
	char number[8];
	uint64_t percent;
	size_t size = strlen(value);

	if (size < 2 || size >= sizeof(number) || value[size - 1] != '%')
		return -EINVAL;
	str_cut(number, size, value);
	if (str_parse_u64(number, 100, &percent) < 0 || percent == 0)
		return -EINVAL;
	*dst = (uint32_t)percent;
	return 0;
}

static int set_level(enum log_level *dst, const char *value)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {{"error", LOG_LEVEL_ERR},
		      {"warning", LOG_LEVEL_WARNING},
		      {"info", LOG_LEVEL_INFO},
		      {"debug", LOG_LEVEL_DEBUG}};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		if (str_equal(levels[i].name, value)) {
			*dst = levels[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_key(struct config *c, const char *name, const char *value)
{
	if (str_equal(name, "state_dir"))
		return set_text(c->state_dir, sizeof(c->state_dir), value);
	if (str_equal(name, "listen"))
		return set_text(c->listen, sizeof(c->listen), value);
	if (str_equal(name, "port"))
		return set_number(&c->port, value, 1, UINT16_MAX - PORT_OFFSET_OPERATORS);
	if (str_equal(name, "socket"))
		return set_text(c->socket, sizeof(c->socket), value);
	if (str_equal(name, "group"))
		return set_text(c->group, sizeof(c->group), value);
	if (str_equal(name, "io_threads"))
		return set_number(&c->io_threads, value, 1, 16);
	if (str_equal(name, "hook_socket"))
		return set_text(c->hook_socket, sizeof(c->hook_socket), value);
	if (str_equal(name, "hook_cooldown"))
		return set_duration(&c->drift.cooldown_ms, value, 0, UINT64_C(31622400000));
	if (str_equal(name, "drift_window"))
		return set_duration(&c->drift.window_ms, value, 1000, 7 * 24 * 3600000);
	if (str_equal(name, "drift_sites"))
		return set_percent(&c->drift.sites_percent, value);
	if (str_equal(name, "observe_period"))
		return set_duration(&c->observe_period_ms, value, LIMIT_OBSERVE_PERIOD_MIN_MS,
				    3600000);
	if (str_equal(name, "log_level"))
		return set_level(&c->log_level, value);
	return -ENOENT;
}

static int on_line(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *reading = arg;
	int r = set_key(reading->config, name, value);

	if (r == 0)
		return 1;
	if (reading->result == 0)
		reading->result =
			r == -ENOENT ? err_set(reading->err, -EINVAL, "there is no key `%.60s`",
					       name)
				     : err_set(reading->err, -EINVAL, "%s: %.80s makes no sense",
					       name, value);
	return 0;
}

static int read_file(struct config *config, const char *path, struct err *err)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	struct reading reading = {config, path, err, 0};
	struct lines lines = {.file = file};
	int line;

	if (!file)
		return errno == ENOENT ? -ENOENT : err_errno(err, -errno, "%s", path);
	line = ini_parse_stream(lines_read, &lines, on_line, &reading);
	if (ferror(file))
		return err_set(err, -EIO, "%s: cannot be read", path);
	if (line == 0 && !lines.too_long)
		return 0;
	if (line == 0)
		err_set(err, -EINVAL, "the line is too long");
	else if (reading.result == 0)
		err_set(err, -EINVAL, "this is not `key = value`");
	return err_prefix(err, -EINVAL, "%s:%d", path, line ? line : lines.number);
}

static int is_conf(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return size > 5 && str_equal(entry->d_name + size - 5, ".conf");
}

static int read_drop_ins(struct config *config, const char *path, struct err *err)
{
	AUTO_FREE char *folder = mem_format("%s.d", path);
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_conf, alphasort), r = 0;

	for (int i = 0; i < count; i++) {
		AUTO_FREE char *file = mem_format("%s/%s", folder, entries[i]->d_name);

		if (r == 0)
			r = read_file(config, file, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int config_load(const char *path, struct config *ret_config, struct err *err)
{
	const char *file = path ? path : "/etc/covey/coordinator.conf";
	struct config config = {
		.state_dir = "/var/lib/covey/coordinator",
		.listen = "0.0.0.0",
		.port = PORT_BASE_DEFAULT,
		.socket = "/run/covey/coordinator/control.sock",
		.group = "covey",
		.io_threads = 2,
		.observe_period_ms = OBSERVE_PERIOD_MS,
		.drift = {DRIFT_WINDOW_MS, DRIFT_SITES_PERCENT, DRIFT_COOLDOWN_MS},
		.hook_socket = "/run/covey/hook.sock",
		.log_level = LOG_LEVEL_INFO,
	};
	int r = read_file(&config, file, err);

	if (r == -ENOENT)
		r = path ? err_set(err, r, "%s: there is no such file", path) : 0;
	if (r == 0)
		r = read_drop_ins(&config, file, err);
	if (r == 0)
		*ret_config = config;
	return r;
}
