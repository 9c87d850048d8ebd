/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table of keys; each names its section, its place in the struct and the function that reads
 * the value. libinih as Debian builds it tells neither the line nor that it cut one at 199
 * characters, so it reads through our own reader, which counts lines and refuses long ones; lists
 * (labels, allow_devices) therefore add up over lines and drop-ins, an empty value empties them.
 * All values land in a copy that replaces the caller's struct only when everything was accepted:
 * a bad drop-in never leaves a node with half a configuration.
 */
#include "agent/config.h"

#include "base/lines.h"
#include "base/mem.h"
#include "base/selector.h"
#include "base/str.h"
#include "base/window.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <grp.h>
#include <ini.h>
#include <inttypes.h>
#include <pwd.h>
#include <stddef.h>

struct value { /* where a key's value goes */
	char *at;
	size_t size;
	struct agent_config *config;
};

struct key {
	const char *section, *name;
	size_t offset, size;
	int (*read)(const struct value *to, const char *text, struct err *err);
};

struct load {
	struct agent_config config;
	const char *path;
	struct err *err;
	struct lines lines;
	int error, error_line;
};

static int read_word(const struct value *to, const char *text, struct err *err)
{
	if (!text[0])
		return err_set(err, -EINVAL, "the value is empty");
	if (str_set(to->at, to->size, text))
		return err_set(err, -EINVAL, "the value is longer than %zu characters",
		               to->size - 1);
	return 0;
}

static int read_name(const struct value *to, const char *text, struct err *err)
{
	for (const char *c = text; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-", *c))
			return err_set(err, -EINVAL, "`%s` is not a name: use a-z, 0-9, . and -",
			               text);
	if (text[0] == '.' || text[0] == '-')
		return err_set(err, -EINVAL, "`%s` is not a name: begin with a-z or 0-9", text);
	return read_word(to, text, err);
}

/* Paths end up in mount options, unit names and command lines: plain characters only. */
static int check_path(const char *text, struct err *err)
{
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127 || strchr(":,\\\"'", *c))
			return err_set(err, -EINVAL, "a path has no blanks, quotes, `:` or `,`");
	for (const char *part = strchr(text, '/'); part; part = strchr(part, '/')) {
		size_t size = strcspn(++part, "/");

		if (size == 0 || (size <= 2 && strspn(part, ".") >= size))
			return err_set(err, -EINVAL, "`%s` is not a plain path", text);
	}
	return 0;
}

static int read_dir(const struct value *to, const char *text, struct err *err)
{
	size_t size = strlen(text);

	if (text[0] != '/' || size < 2 || text[size - 1] == '/')
		return err_set(err, -EINVAL, "`%s` is not an absolute path", text);
	if (check_path(text, err))
		return -EINVAL;
	return read_word(to, text, err);
}

static int read_program(const struct value *to, const char *text, struct err *err)
{
	if (text[0] != '/' && strchr(text, '/'))
		return err_set(err, -EINVAL,
		               "`%s` is neither a program's name nor an absolute path", text);
	if (check_path(text, err))
		return -EINVAL;
	return read_word(to, text, err);
}

static int read_instance(const struct value *to, const char *text, struct err *err)
{
	for (const char *c = text; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789", *c))
			return err_set(err, -EINVAL, "an instance is made of a-z and 0-9");
	return read_word(to, text, err);
}

static int read_auto(const struct value *to, const char *text, struct err *err)
{
	bool value = str_equal(text, "auto");

	if (!value && !str_equal(text, "off"))
		return err_set(err, -EINVAL, "`%s` is neither auto nor off", text);
	memcpy(to->at, &value, sizeof(value));
	return 0;
}

static int read_size(const struct value *to, const char *text, struct err *err)
{
	uint64_t bytes;

	if (str_parse_size(text, &bytes))
		return err_set(err, -EINVAL, "`%s` is not a size such as 512MiB", text);
	memcpy(to->at, &bytes, sizeof(bytes));
	return 0;
}

static int read_percent(const struct value *to, const char *text, struct err *err)
{
	char digits[8];
	size_t size = strlen(text);
	uint64_t value;
	uint32_t percent;

	if (size < 2 || size > sizeof(digits) || text[size - 1] != '%')
		return err_set(err, -EINVAL, "`%s` is not a share such as 10%%", text);
	memcpy(digits, text, size - 1);
	digits[size - 1] = 0;
	if (str_parse_u64(digits, 90, &value))
		return err_set(err, -EINVAL, "`%s` is not a share from 0%% to 90%%", text);
	percent = (uint32_t)value;
	memcpy(to->at, &percent, sizeof(percent));
	return 0;
}

static int read_subnet(const struct value *to, const char *text, struct err *err)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	struct in_addr in;
	uint64_t prefix;
	uint32_t subnet;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return err_set(err, -EINVAL, "`%s` is not a subnet such as 10.213.0.0/16", text);
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = 0;
	if (inet_pton(AF_INET, address, &in) != 1 || str_parse_u64(slash + 1, 28, &prefix) ||
	    prefix < 8)
		return err_set(err, -EINVAL,
		               "`%s` is not an IPv4 subnet with a prefix from /8 to /28", text);
	subnet = ntohl(in.s_addr);
	if (subnet & (UINT32_MAX >> prefix))
		return err_set(err, -EINVAL, "`%s` has bits beyond its prefix", text);
	if (subnet >> 24 == 127 || subnet >> 24 == 0 || subnet >> 28 >= 14)
		return err_set(err, -EINVAL, "`%s` is not a subnet for hosts", text);
	to->config->helper.subnet = subnet;
	to->config->helper.subnet_prefix = (uint32_t)prefix;
	return 0;
}

static int read_ports(const struct value *to, const char *text, struct err *err)
{
	char low[8];
	const char *dash = strchr(text, '-');
	uint64_t from, until;

	if (!dash || (size_t)(dash - text) >= sizeof(low))
		return err_set(err, -EINVAL, "`%s` is not a range such as 21000-21999", text);
	memcpy(low, text, (size_t)(dash - text));
	low[dash - text] = 0;
	if (str_parse_u64(low, 65535, &from) || str_parse_u64(dash + 1, 65535, &until) ||
	    from < 1024 || until < from)
		return err_set(err, -EINVAL, "`%s` is not a range of ports from 1024 to 65535",
		               text);
	to->config->helper.port_low = (uint32_t)from;
	to->config->helper.port_high = (uint32_t)until;
	return 0;
}

static int read_switch(const struct value *to, const char *text, struct err *err)
{
	static const char *const words[2][2] = {{"off", "no"}, {"on", "yes"}};
	bool value = false;

	for (size_t i = 0; i < 4; i++) {
		if (!str_equal(text, words[i / 2][i % 2]))
			continue;
		value = i / 2 == 1;
		memcpy(to->at, &value, sizeof(value));
		return 0;
	}
	return err_set(err, -EINVAL, "`%s` is neither on nor off", text);
}

static int read_address(const struct value *to, const char *text, struct err *err)
{
	uint8_t address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, text, address) != 1 && inet_pton(AF_INET6, text, address) != 1)
		return err_set(err, -EINVAL, "`%s` is not an IPv4 or IPv6 address", text);
	return read_word(to, text, err);
}

static int read_port(const struct value *to, const char *text, struct err *err)
{
	uint64_t value;
	uint32_t port;

	if (str_parse_u64(text, UINT16_MAX, &value) < 0 || (value > 0 && value < 1024))
		return err_set(err, -EINVAL, "`%s` is not a port from 1024 to 65535, or 0", text);
	port = (uint32_t)value;
	memcpy(to->at, &port, sizeof(port));
	return 0;
}

static int read_window(const struct value *to, const char *text, struct err *err)
{
	int r = window_check(text, err);

	return r < 0 ? r : str_set(to->at, to->size, text);
}

/* Calls item() for each part of "a, b"; an empty text has no parts. */
static int each_item(const struct value *to, const char *text, struct err *err,
                     int (*item)(struct agent_config *config, char *text, struct err *err))
{
	AUTO_FREE char *copy = mem_str(text);
	char *rest = copy, *part;

	while ((part = strsep(&rest, ","))) {
		char *end;
		int r;

		part += strspn(part, " \t");
		for (end = part + strlen(part); end > part && strchr(" \t", end[-1]); end--)
			end[-1] = 0;
		if (!*part && !rest && part == copy + strspn(copy, " \t"))
			return 0;
		r = item(to->config, part, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_device(struct agent_config *config, char *text, struct err *err)
{
	struct config_helper *helper = &config->helper;

	if (!str_starts(text, "/dev/") || check_path(text, err))
		return err_set(err, -EINVAL, "`%s` is not a path below /dev", text);
	if (helper->allow_devices_count == LIMIT_DEVICES)
		return err_set(err, -EINVAL, "more than %d devices", LIMIT_DEVICES);
	if (STR_SET(helper->allow_devices[helper->allow_devices_count], text))
		return err_set(err, -EINVAL, "`%s` is too long", text);
	helper->allow_devices_count++;
	return 0;
}

static int read_devices(const struct value *to, const char *text, struct err *err)
{
	if (!text[0])
		to->config->helper.allow_devices_count = 0;
	return each_item(to, text, err, add_device);
}

static int add_label(struct agent_config *config, char *text, struct err *err)
{
	char *equal = strchr(text, '=');
	struct label *label = &config->labels[config->labels_count];
	int r;

	if (!equal)
		return err_set(err, -EINVAL, "`%s` is not key=value", text);
	*equal = 0;
	r = selector_check_label(text, equal + 1, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < config->labels_count; i++)
		if (str_equal(config->labels[i].key, text))
			return err_set(err, -EINVAL, "label `%s` stands there twice", text);
	if (config->labels_count == LIMIT_LABELS)
		return err_set(err, -EINVAL, "more than %d labels", LIMIT_LABELS);
	if (STR_SET(label->key, text) || STR_SET(label->value, equal + 1))
		return err_set(err, -EINVAL, "label `%s` is too long", text);
	config->labels_count++;
	return 0;
}

static int read_labels(const struct value *to, const char *text, struct err *err)
{
	if (!text[0])
		to->config->labels_count = 0;
	return each_item(to, text, err, add_label);
}

#define FIELD(member) \
	offsetof(struct agent_config, member), sizeof(((struct agent_config *)0)->member)

static const struct key keys[] = {
    {"agent", "name", FIELD(name), read_name},
    {"agent", "state_dir", FIELD(state_dir), read_dir},
    {"agent", "run_dir", FIELD(run_dir), read_dir},
    {"agent", "trust_dir", FIELD(trust_dir), read_dir},
    {"agent", "user", FIELD(user), read_word},
    {"agent", "labels", FIELD(labels), read_labels},
    {"helper", "state_dir", FIELD(helper.state_dir), read_dir},
    {"helper", "socket", FIELD(helper.socket), read_dir},
    {"helper", "group", FIELD(helper.group), read_word},
    {"helper", "runtime", FIELD(helper.runtime), read_program},
    {"helper", "conmon", FIELD(helper.conmon), read_program},
    {"helper", "subnet", FIELD(helper.subnet), read_subnet},
    {"helper", "host_ports", FIELD(helper.port_low), read_ports},
    {"helper", "allow_devices", FIELD(helper.allow_devices), read_devices},
    {"helper", "cgroup_parent", FIELD(helper.cgroup_parent), read_dir},
    {"helper", "user_namespaces", FIELD(helper.user_namespaces), read_auto},
    {"helper", "instance", FIELD(helper.instance), read_instance},
    {"disk", "quota", FIELD(disk_quota_bytes), read_size},
    {"disk", "reserve", FIELD(disk_reserve_percent), read_percent},
    {"fetch", "rate", FIELD(fetch_rate), read_size},
    {"peers", "peer", FIELD(peers.on), read_switch},
    {"peers", "peer_address", FIELD(peers.address), read_address},
    {"peers", "peer_port", FIELD(peers.port), read_port},
    {"peers", "upload_rate", FIELD(peers.upload_rate), read_size},
    {"peers", "metered", FIELD(peers.metered), read_switch},
    {"peers", "window", FIELD(peers.window), read_window},
    {"peers", "timezone", FIELD(peers.timezone), read_word},
};

/* Two agents on one machine have different state directories, so their instances differ too. */
static void derive_instance(struct config_helper *helper)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a, 64 bit */

	for (const char *c = helper->state_dir; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	snprintf(helper->instance, sizeof(helper->instance), "%08" PRIx32,
	         (uint32_t)(hash ^ hash >> 32));
}

static void plain_defaults(struct agent_config *config)
{
	*config = (struct agent_config){
	    .state_dir = "/var/lib/covey/agent",
	    .run_dir = "/run/covey",
	    .trust_dir = "/var/lib/covey/trust",
	    .user = "covey-agent",
	    .helper = {.state_dir = "/var/lib/covey/helper",
	               .socket = "/run/covey/helper.sock",
	               .group = "covey-agent",
	               .runtime = "runc",
	               .conmon = "conmon",
	               .subnet = 10u << 24 | 213u << 16,
	               .subnet_prefix = 16,
	               .port_low = 21000,
	               .port_high = 21999,
	               .cgroup_parent = "/covey",
	               .user_namespaces = true},
	    .disk_reserve_percent = 10,
	    .peers = {.on = true, .port = PORT_PEER_DEFAULT},
	};
}

void config_defaults(struct agent_config *config)
{
	plain_defaults(config);
	derive_instance(&config->helper);
}

static const struct key *find_key(const char *section, const char *name, bool *ret_section)
{
	*ret_section = false;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!str_equal(keys[i].section, section))
			continue;
		*ret_section = true;
		if (str_equal(keys[i].name, name))
			return &keys[i];
	}
	return NULL;
}

static int set_key(struct load *load, const char *section, const char *name, const char *text)
{
	struct agent_config *config = &load->config;
	bool known;
	const struct key *key = find_key(section, name, &known);
	struct value to;
	int r;

	if (!known)
		return err_set(load->err, -EINVAL, "unknown section [%s]", section);
	if (!key)
		return err_set(load->err, -EINVAL, "unknown key `%s` in [%s]", name, section);
	if (!text)
		return err_set(load->err, -EINVAL, "key `%s` has no value", name);
	to = (struct value){(char *)config + key->offset, key->size, config};
	r = key->read(&to, text, load->err);
	return r < 0 ? err_prefix(load->err, r, "%s", name) : 0;
}

static int on_value(void *user, const char *section, const char *name, const char *text)
{
	struct load *load = user;
	int r;

	if (load->error)
		return 1;
	r = set_key(load, section, name, text);
	if (r < 0) {
		load->error = r;
		load->error_line = load->lines.number;
	}
	return 1;
}

/* For libinih. A mistake, and a line that does not fit, end the reading. */
static char *read_line(char *line, int size, void *user)
{
	struct load *load = user;

	if (load->error || lines_read(line, size, &load->lines))
		return load->error ? NULL : line;
	if (load->lines.too_long) {
		load->error = err_set(load->err, -EINVAL,
		                      "the line is longer than %d characters", size - 2);
		load->error_line = load->lines.number;
	}
	return NULL;
}

static int load_file(struct load *load, const char *path)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	int bad;

	if (!file)
		return err_errno(load->err, -errno, "%s", path);
	load->lines = (struct lines){.file = file};
	bad = ini_parse_stream(read_line, load, on_value, load);
	if (bad > 0 && (!load->error || bad < load->error_line))
		return err_set(load->err, -EINVAL, "%s: line %d: neither [section] nor key=value",
		               path, bad);
	if (load->error)
		return err_prefix(load->err, load->error, "%s: line %d", path, load->error_line);
	if (bad < 0 || ferror(file))
		return err_set(load->err, -EIO, "%s: cannot be read", path);
	return 0;
}

static int is_drop_in(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return entry->d_name[0] != '.' && size > 5 && str_equal(entry->d_name + size - 5, ".conf");
}

static int load_drop_ins(struct load *load, const char *path)
{
	AUTO_FREE char *folder = mem_format("%s.d", path);
	struct dirent **names = NULL;
	int count = scandir(folder, &names, is_drop_in, alphasort);
	int r = 0;

	if (count < 0)
		return errno == ENOENT ? 0 : err_errno(load->err, -errno, "%s", folder);
	for (int i = 0; i < count; i++) {
		AUTO_FREE char *file = mem_format("%s/%s", folder, names[i]->d_name);

		if (r == 0)
			r = load_file(load, file);
		free(names[i]);
	}
	free(names);
	return r;
}

int config_load(const char *path, struct agent_config *ret_config, struct err *err)
{
	struct err none = {0};
	struct load load = {.path = path, .err = err ? err : &none};
	int r;

	plain_defaults(&load.config);
	r = load_file(&load, path);
	if (r == 0)
		r = load_drop_ins(&load, path);
	if (r < 0)
		return r;
	if (!load.config.helper.instance[0])
		derive_instance(&load.config.helper);
	*ret_config = load.config;
	return 0;
}

int config_user_id(const char *user, uint32_t *ret_uid, struct err *err)
{
	const struct passwd *entry;
	uint64_t id;

	if (str_parse_u64(user, UINT32_MAX - 1, &id) == 0) {
		*ret_uid = (uint32_t)id;
		return 0;
	}
	entry = getpwnam(user);
	if (!entry)
		return err_set(err, -ENOENT, "user `%s` does not exist on this node", user);
	*ret_uid = entry->pw_uid;
	return 0;
}

int config_group_id(const char *group, uint32_t *ret_gid, struct err *err)
{
	const struct group *entry;
	uint64_t id;

	if (str_parse_u64(group, UINT32_MAX - 1, &id) == 0) {
		*ret_gid = (uint32_t)id;
		return 0;
	}
	entry = getgrnam(group);
	if (!entry)
		return err_set(err, -ENOENT, "group `%s` does not exist on this node", group);
	*ret_gid = entry->gr_gid;
	return 0;
}
