/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay without an upper directory is read-only from the start. Its topmost layer is made
 * here, for this slot: the mount points that the runtime needs and the three files in /etc that
 * belong to the machine and not to the image. Layers are named by short symlinks relative to the
 * working directory, because mount options are at most one page and 128 digests do not fit in.
 * With a user namespace each layer is mounted there instead, its owners mapped (overlayfs itself
 * cannot map, but takes layers that do).
 */
#include "agent/helper/slot.h"

#include "agent/helper/idmap.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

struct folder {
	const char *name;
	mode_t mode;
};

static const struct folder folders[] = {
    {"", 0755},     {"/proc", 0555}, {"/sys", 0555},       {"/dev", 0755},   {"/tmp", 01777},
    {"/etc", 0755}, {"/run", 0755},  {"/run/covey", 0755}, {"/model", 0755},
};

static int make_folders(const struct agent_config *config, const struct slot_name *slot, bool model,
                        struct err *err)
{
	AUTO_FREE char *tail = NULL;
	char path[PATHS_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		if (str_equal(folders[i].name, "/model") && !model)
			continue;
		free(tail);
		tail = mem_format("/skeleton%s", folders[i].name);
		paths_slot_run(config, slot, path, tail);
		if ((mkdir(path, 0700) < 0 && errno != EEXIST) || chmod(path, folders[i].mode) < 0)
			return err_errno(err, -errno, "%s", path);
	}
	return 0;
}

/* Name servers that a slot can reach: those of the node that are not on its own loopback. */
static void name_servers(struct str *text)
{
	static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};

	for (size_t i = 0; i < ARRAY_SIZE(files) && text->size == 0; i++) {
		AUTO_FCLOSE FILE *file = fopen(files[i], "re");
		char line[256], server[64];

		while (file && text->size < 1024 && fgets(line, sizeof(line), file))
			if (sscanf(line, "nameserver %63s", server) == 1 &&
			    !str_starts(server, "127.") && !str_equal(server, "::1"))
				str_addf(text, "nameserver %s\n", server);
	}
}

static int write_etc(const struct agent_config *config, const struct slot_name *slot,
                     struct err *err)
{
	AUTO_STR struct str hosts = {0}, names = {0}, servers = {0};
	char path[PATHS_MAX];
	int r;

	str_addf(&hosts, "127.0.0.1 localhost %.63s\n::1 localhost\n", slot->text);
	str_addf(&names, "%.63s\n", slot->text);
	name_servers(&servers);
	r = paths_write(paths_slot_run(config, slot, path, "/skeleton/etc/hosts"), hosts.data,
	                hosts.size, 0644, err);
	if (r == 0)
		r = paths_write(paths_slot_run(config, slot, path, "/skeleton/etc/hostname"),
		                names.data, names.size, 0644, err);
	if (r == 0)
		r = paths_write(paths_slot_run(config, slot, path, "/skeleton/etc/resolv.conf"),
		                str_get(&servers), servers.size, 0644, err);
	return r;
}

/* One layer at lower/N: a short link to it, or the layer itself with its owners mapped. */
static int put_layer(const char *layer, const char *path, int space, struct err *err)
{
	if (access(layer, F_OK) < 0)
		return err_errno(err, -errno, "layer %s", layer);
	if (space >= 0) {
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "%s", path);
		return idmap_bind(space, layer, path, err);
	}
	unlink(path);
	return symlink(layer, path) < 0 ? err_errno(err, -errno, "%s", path) : 0;
}

/* lower/0 .. lower/N: bottom to top; ret_option names them top to bottom, as overlayfs wants. */
static int put_layers(const struct agent_config *config, const struct slot_name *slot,
                      const struct slot_tree *tree, int space, struct str *ret_option,
                      struct err *err)
{
	AUTO_STR struct str order = {0};
	char path[PATHS_MAX], tail[32];
	int r = 0;

	if (tree->layers_count == 0)
		return err_set(err, -EINVAL, "the release's image has no layers");
	if (mkdir(paths_slot_run(config, slot, path, "/lower"), 0711) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "%s", path);
	for (size_t i = 0; i < tree->layers_count && r == 0; i++) {
		snprintf(tail, sizeof(tail), "/lower/%zu", i);
		r = put_layer(tree->layers[i], paths_slot_run(config, slot, path, tail), space,
		              err);
	}
	if (r < 0)
		return r;
	str_add(&order, "xino=off,lowerdir=../skeleton");
	for (size_t i = tree->layers_count; i-- > 0;)
		str_addf(&order, ":%zu", i);
	str_free(ret_option);
	*ret_option = order;
	order = (struct str){0};
	return 0;
}

/* Our own files of the skeleton belong to the container's root, too. */
static int own_skeleton(const struct agent_config *config, const struct slot_name *slot,
                        uint32_t owner, struct err *err)
{
	static const char *const files[] = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};
	AUTO_FREE char *tail = NULL;
	char path[PATHS_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders) + ARRAY_SIZE(files); i++) {
		free(tail);
		tail = mem_format("/skeleton%s", i < ARRAY_SIZE(folders)
		                                     ? folders[i].name
		                                     : files[i - ARRAY_SIZE(folders)]);
		if (lchown(paths_slot_run(config, slot, path, tail), owner, owner) < 0 &&
		    errno != ENOENT)
			r = err_errno(err, -errno, "%s", path);
	}
	return r;
}

/* A container that is root of its own namespace looks at the bundle from outside: it must be able
 * to pass through. And it gets a /proc only where one without anything mounted over it is in sight,
 * which a sandboxed helper's own is not. */
static int open_way(const struct agent_config *config, const struct slot_name *slot,
                    struct err *err)
{
	char path[PATHS_MAX];

	if (chmod(paths_run(config, path, ""), 0711) < 0 ||
	    chmod(paths_run(config, path, "/slots"), 0711) < 0 ||
	    chmod(paths_slot_run(config, slot, path, ""), 0711) < 0)
		return err_errno(err, -errno, "%s", path);
	paths_slot_run(config, slot, path, "/proc");
	if ((mkdir(path, 0700) < 0 && errno != EEXIST) ||
	    mount("proc", path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_errno(err, -errno, "%s", path);
	return 0;
}

static int map_owners(const struct agent_config *config, const struct slot_name *slot,
                      const struct slot_tree *tree, int *ret_space, struct err *err)
{
	AUTO_CLOSE int space = idmap_open(tree->first_id, err);
	char path[PATHS_MAX];
	int r = space < 0 ? space : own_skeleton(config, slot, tree->first_id, err);

	if (r == 0)
		r = open_way(config, slot, err);
	if (r == 0 && tree->model) {
		paths_slot_run(config, slot, path, SLOT_MODEL);
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "%s", path);
		r = idmap_bind(space, tree->model, path, err);
	}
	if (r == 0)
		*ret_space = TAKE_FD(space);
	return r;
}

int slot_mount(struct worker *worker, const struct slot_name *slot, const struct slot_tree *tree,
               struct err *err)
{
	const struct agent_config *config = &worker->config;
	AUTO_STR struct str option = {0};
	char target[PATHS_MAX], lower[PATHS_MAX];
	AUTO_CLOSE int space = -1;
	int r = make_folders(config, slot, tree->model, err);

	if (r == 0)
		r = write_etc(config, slot, err);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_SLAVE, NULL) < 0)
		return err_errno(err, -errno, "no mount namespace for the slot");
	if (tree->first_id)
		r = map_owners(config, slot, tree, &space, err);
	if (r == 0)
		r = put_layers(config, slot, tree, space, &option, err);
	if (r < 0)
		return r;
	paths_slot_run(config, slot, target, "/rootfs");
	if (mkdir(target, 0755) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "%s", target);
	if (chdir(paths_slot_run(config, slot, lower, "/lower")) < 0)
		return err_errno(err, -errno, "%s", lower);
	if (mount("overlay", target, "overlay", MS_RDONLY | MS_NODEV, option.data) < 0)
		return err_errno(err, -errno, "the image's layers do not mount as overlay");
	if (chdir("/") < 0)
		return err_errno(err, -errno, "/");
	return 0;
}
