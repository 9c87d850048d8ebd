/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names are made by formatting into fixed buffers: agent.conf bounds every directory at
 * CONFIG_PATH_MAX and the rest is ours, so nothing here can be cut (asserted). What is shared with
 * other agents on the same machine carries the instance.
 */
#include "agent/helper/paths.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static const char *const colour_names[COLOUR_COUNT] = {
    [COLOUR_BLUE] = "blue",
    [COLOUR_GREEN] = "green",
};

bool paths_name_ok(const char *deployment)
{
	size_t size = strlen(deployment);

	if (!size || size > LIMIT_NAME || deployment[0] == '.' || deployment[0] == '-')
		return false;
	return strspn(deployment, "abcdefghijklmnopqrstuvwxyz0123456789.-") == size;
}

const char *paths_colour(enum colour colour)
{
	return (unsigned)colour < COLOUR_COUNT ? colour_names[colour] : "?";
}

int paths_slot(const char *deployment, enum colour colour, struct slot_name *ret_slot,
               struct err *err)
{
	if (!paths_name_ok(deployment))
		return err_set(err, -EINVAL, "`%s` is not a deployment's name", deployment);
	if ((unsigned)colour >= COLOUR_COUNT)
		return err_set(err, -EINVAL, "a slot is blue or green");
	snprintf(ret_slot->text, sizeof(ret_slot->text), "%s-%s", deployment, colour_names[colour]);
	return 0;
}

bool paths_slot_parse(const char *text, char ret_deployment[LIMIT_NAME + 1],
                      enum colour *ret_colour)
{
	for (int colour = 0; colour < COLOUR_COUNT; colour++) {
		size_t size = strlen(text), tail = strlen(colour_names[colour]) + 1;

		if (size <= tail || size - tail > LIMIT_NAME || text[size - tail] != '-' ||
		    !str_equal(text + size - tail + 1, colour_names[colour]))
			continue;
		memcpy(ret_deployment, text, size - tail);
		ret_deployment[size - tail] = 0;
		*ret_colour = (enum colour)colour;
		return paths_name_ok(ret_deployment);
	}
	return false;
}

static char *format(char dst[PATHS_MAX], const char *pattern, ...)
    __attribute__((format(printf, 2, 3)));

static char *format(char dst[PATHS_MAX], const char *pattern, ...)
{
	va_list args;
	int size;

	va_start(args, pattern);
	size = vsnprintf(dst, PATHS_MAX, pattern, args);
	va_end(args);
	assert(size > 0 && size < PATHS_MAX);
	return dst;
}

char *paths_state(const struct agent_config *config, char dst[PATHS_MAX], const char *tail)
{
	return format(dst, "%s%s", config->helper.state_dir, tail);
}

char *paths_run(const struct agent_config *config, char dst[PATHS_MAX], const char *tail)
{
	return format(dst, "%s/helper%s", config->run_dir, tail);
}

char *paths_slot_run(const struct agent_config *config, const struct slot_name *slot,
                     char dst[PATHS_MAX], const char *tail)
{
	return format(dst, "%s/helper/slots/%s%s", config->run_dir, slot->text, tail);
}

char *paths_slot_state(const struct agent_config *config, const struct slot_name *slot,
                       char dst[PATHS_MAX], const char *tail)
{
	return format(dst, "%s/slots/%s%s", config->helper.state_dir, slot->text, tail);
}

char *paths_log(const struct agent_config *config, const struct slot_name *slot,
                char dst[PATHS_MAX], const char *tail)
{
	return format(dst, "%s/logs/%s%s", config->helper.state_dir, slot->text, tail);
}

char *paths_observe(const struct agent_config *config, const struct slot_name *slot,
                    char dst[PATHS_MAX])
{
	return format(dst, "%s/observe/%s", config->run_dir, slot->text);
}

char *paths_layer(const struct agent_config *config, const uint8_t diff_id[DIGEST_SIZE],
                  char dst[PATHS_MAX])
{
	char hex[DIGEST_HEX_MAX];

	str_hex(hex, diff_id, DIGEST_SIZE);
	return format(dst, "%s/layers/%s", config->helper.state_dir, hex);
}

char *paths_release(const struct agent_config *config, const struct digest *release,
                    char dst[PATHS_MAX], const char *tail)
{
	char hex[DIGEST_HEX_MAX];

	str_hex(hex, release->bytes, DIGEST_SIZE);
	return format(dst, "%s/releases/%s%s", config->helper.state_dir, hex, tail);
}

char *paths_cgroup(const struct agent_config *config, const struct slot_name *slot,
                   char dst[PATHS_MAX])
{
	return format(dst, "%s/%s/%s", config->helper.cgroup_parent, config->helper.instance,
	              slot->text);
}

void paths_table(const struct agent_config *config, char dst[TABLE_MAX])
{
	snprintf(dst, TABLE_MAX, "covey_%s", config->helper.instance);
}

static uint64_t hash_text(uint64_t hash, const char *text) /* FNV-1a, 64 bit */
{
	for (const char *c = text; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	return hash;
}

uint64_t paths_identity(const struct agent_config *config)
{
	const struct config_helper *helper = &config->helper;
	uint64_t hash = hash_text(14695981039346656037u, config->state_dir);

	hash = hash_text(hash, config->run_dir);
	hash = hash_text(hash, helper->state_dir);
	hash = hash_text(hash, helper->cgroup_parent);
	hash = hash_text(hash, helper->instance);
	return hash ^ ((uint64_t)helper->subnet << 8 | helper->subnet_prefix);
}

void paths_interface_prefix(const struct agent_config *config, char dst[INTERFACE_MAX])
{
	uint64_t hash = hash_text(14695981039346656037u, config->helper.instance);

	hash ^= hash >> 32;
	memcpy(dst, "cv", 2);
	for (int i = 2; i < 8; i++, hash /= 26)
		dst[i] = (char)('a' + hash % 26);
	dst[8] = 0;
}

void paths_interface(const struct agent_config *config, bool egress, uint32_t index,
                     char dst[INTERFACE_MAX])
{
	char prefix[INTERFACE_MAX];

	assert(index < 100000);
	paths_interface_prefix(config, prefix);
	snprintf(dst, INTERFACE_MAX, "%.8s%c%" PRIu32, prefix, egress ? 'e' : 'd', index);
}

int paths_make(const char *path, mode_t mode, struct err *err)
{
	AUTO_FREE char *copy = mem_str(path);

	for (char *c = copy + 1;; c++) {
		char kept = *c;

		if (kept && kept != '/')
			continue;
		*c = 0;
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "cannot make directory %s", copy);
		*c = kept;
		if (!kept)
			return 0;
	}
}

int paths_check_own(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return err_errno(err, -errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "%s is not a directory", path);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return err_set(err, -EPERM, "%s must belong to root and be writable by root alone",
		               path);
	return 0;
}

int paths_prepare(const struct agent_config *config, struct err *err)
{
	static const char *const state[] = {"",       "/layers", "/releases",
	                                    "/slots", "/logs",   "/index"};
	static const char *const run[] = {"", "/slots", "/runtime", "/exits"};
	char path[PATHS_MAX];
	int r = paths_make(config->run_dir, 0755, err);

	if (r == 0)
		r = paths_check_own(config->run_dir, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(state); i++)
		r = paths_make(paths_state(config, path, state[i]), 0700, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(run); i++)
		r = paths_make(paths_run(config, path, run[i]), 0700, err);
	if (r == 0)
		r = paths_make(format(path, "%s/observe", config->run_dir), 0755, err);
	if (r == 0)
		r = paths_check_own(path, err);
	if (r == 0)
		r = paths_check_own(paths_state(config, path, ""), err);
	return r == 0 ? paths_check_own(paths_run(config, path, ""), err) : r;
}

/* Folders nest at most as deep as a path is long; each level holds one descriptor. */
static int remove_at(int parent, const char *name, dev_t device)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	const struct dirent *entry;
	struct stat st;
	DIR *dir;
	int r = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0 || (device && st.st_dev != device)) {
		close(fd);
		return -EXDEV;
	}
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (entry = readdir(dir))) {
		if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		r = errno == EISDIR ? remove_at(fd, entry->d_name, st.st_dev) : -errno;
	}
	closedir(dir);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int paths_remove(const char *path, struct err *err)
{
	int r;

	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	r = errno == EISDIR ? remove_at(AT_FDCWD, path, 0) : -errno;
	return r < 0 ? err_errno(err, r, "cannot remove %s", path) : 0;
}

int paths_write(const char *path, const void *data, size_t size, mode_t mode, struct err *err)
{
	AUTO_FREE char *temporary = mem_format("%s.%d", path, (int)getpid());
	AUTO_CLOSE int fd =
	    open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	size_t done = 0;
	int r = fd < 0 ? -errno : 0;

	while (r == 0 && done < size) {
		ssize_t got = write(fd, (const char *)data + done, size - done);

		if (got < 0 && errno != EINTR)
			r = -errno;
		else if (got > 0)
			done += (size_t)got;
	}
	if (r == 0 && (fsync(fd) < 0 || rename(temporary, path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return err_errno(err, r, "cannot write %s", path);
	}
	return 0;
}

int paths_read(const char *path, size_t max, struct bytes *ret_data, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO_FREE uint8_t *data = NULL;
	size_t size = 0, cap = 0;

	if (fd < 0)
		return err_errno(err, -errno, "%s", path);
	for (;;) {
		ssize_t got;

		if (size + 1 >= cap) {
			cap = cap ? cap * 2 : 4096;
			data = mem_resize(data, cap, 1);
		}
		got = read(fd, data + size, cap - size - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(err, -errno, "%s", path);
		if (got == 0)
			break;
		size += (size_t)got;
		if (size > max)
			return err_set(err, -EFBIG, "%s is larger than %zu bytes", path, max);
	}
	data[size] = 0;
	*ret_data = (struct bytes){TAKE_PTR(data), size};
	return 0;
}
