/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of users mean what the image says. Its files are opened with openat2(RESOLVE_IN_ROOT), so
 * that a symlink in the image leads nowhere else, are bounded, and are read line by line with no
 * library that might ask the node's own databases.
 */
#include "agent/helper/bundle.h"

#include "base/mem.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { FILE_MAX = 1 << 20, COLUMNS = 8 };

/* The whole file with a NUL, or NULL where there is none. */
static char *read_inside(const char *rootfs, const char *path)
{
	AUTO_CLOSE int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
	                       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	AUTO_CLOSE int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	struct stat st;
	ssize_t got;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return NULL;
	text = mem_alloc((size_t)st.st_size + 1);
	while (size < (size_t)st.st_size &&
	       (got = read(fd, text + size, (size_t)st.st_size - size)) > 0)
		size += (size_t)got;
	text[size] = 0;
	return TAKE_PTR(text);
}

/* Splits the next line of *rest at its colons. False at the end. */
static bool next_line(char **rest, char *columns[COLUMNS], size_t *ret_count)
{
	char *line = strsep(rest, "\n");
	size_t count = 0;

	if (!line)
		return false;
	while (line && count < COLUMNS)
		columns[count++] = strsep(&line, ":");
	*ret_count = count;
	return true;
}

static bool number(const char *text, uint32_t *ret)
{
	uint64_t value;

	if (str_parse_u64(text, UINT32_MAX - 1, &value))
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* Looks a user up by name or number; number alone also without an entry. */
static bool find_user(char *passwd, const char *user, struct bundle_user *ret, char **ret_name)
{
	char *rest = passwd, *columns[COLUMNS];
	bool is_number = number(user, &ret->uid);
	size_t count;

	*ret_name = NULL;
	ret->gid = 0;
	while (next_line(&rest, columns, &count)) {
		uint32_t uid, gid;

		if (count < 4 || !number(columns[2], &uid) || !number(columns[3], &gid))
			continue;
		if (!(is_number ? uid == ret->uid : str_equal(columns[0], user)))
			continue;
		ret->uid = uid;
		ret->gid = gid;
		*ret_name = columns[0];
		return true;
	}
	return is_number;
}

static bool find_group(char *file, const char *group, uint32_t *ret_gid)
{
	char *rest = file, *columns[COLUMNS];
	size_t count;

	if (number(group, ret_gid))
		return true;
	while (next_line(&rest, columns, &count))
		if (count >= 3 && str_equal(columns[0], group))
			return number(columns[2], ret_gid);
	return false;
}

static bool has_member(char *members, const char *name)
{
	char *one;

	while ((one = strsep(&members, ",")))
		if (str_equal(one, name))
			return true;
	return false;
}

static void add_groups(char *file, const char *name, struct bundle_user *user)
{
	char *rest = file, *columns[COLUMNS];
	size_t count;
	uint32_t gid;

	while (next_line(&rest, columns, &count))
		if (count >= 4 && number(columns[2], &gid) && has_member(columns[3], name) &&
		    user->groups_count < BUNDLE_GROUPS)
			user->groups[user->groups_count++] = gid;
}

int bundle_user_find(const char *rootfs, const char *user, struct bundle_user *ret_user,
                     struct err *err)
{
	AUTO_FREE char *passwd = read_inside(rootfs, "etc/passwd");
	AUTO_FREE char *groups = read_inside(rootfs, "etc/group");
	AUTO_FREE char *copy = mem_str(user && user[0] ? user : "0");
	struct bundle_user found = {0};
	char *group = strchr(copy, ':'), *name;

	if (group)
		*group++ = 0;
	if (!find_user(passwd, copy, &found, &name))
		return err_set(err, -ENOENT, "the image has no user `%s`", copy);
	if (group && group[0]) {
		if (!find_group(groups, group, &found.gid))
			return err_set(err, -ENOENT, "the image has no group `%s`", group);
	} else if (name) {
		add_groups(groups, name, &found);
	}
	*ret_user = found;
	return 0;
}
