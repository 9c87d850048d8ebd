/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame is the same for every container: no capability in any set, no new privileges, system
 * calls by seccomp_profile.c, a root file system that is read-only already below the runtime (an
 * overlay without upper directory), /tmp and /dev/shm in memory, kernel interfaces masked. Only
 * numbers and texts of the release are filled in; a release has no field that could widen it, and
 * devices need the node's consent in agent.conf.
 */
#include "agent/helper/bundle.h"

#include "agent/helper/idmap.h"
#include "agent/helper/seccomp_profile.h"
#include "base/mem.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { CPU_PERIOD_US = 100000 };

struct mount_line {
	const char *destination, *type, *source;
	const char *options; /* separated by blanks */
};

static const struct mount_line mounts[] = {
    {"/proc", "proc", "proc", "nosuid noexec nodev"},
    {"/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"},
    {"/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620"},
    {"/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=67108864"},
    {"/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"},
    {"/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"},
    {"/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"},
    {"/tmp", "tmpfs", "tmpfs", "nosuid nodev mode=1777 size=268435456"},
};

static const char *const masked[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
};

static const char *const read_only[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static json_t *strings(const char *const *texts, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_string(texts[i]));
	return array;
}

static void add_mount(json_t *list, const char *to, const char *type, const char *from,
                      const char *options)
{
	AUTO_FREE char *copy = mem_str(options);
	char *rest = copy, *word;
	json_t *words = json_array();

	while ((word = strsep(&rest, " ")))
		json_array_append_new(words, json_string(word));
	json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "destination", to, "type",
	                                      type, "source", from, "options", words));
}

static json_t *mount_list(const struct bundle *bundle)
{
	static const char bind[] = "bind ro nosuid nodev noexec private";
	bool node_sys = bundle->first_id && bundle->release->serve.network == SERVE_NETWORK_HOST;
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		/* A user namespace may show the devices of its own network only, else the node's
		 * whole /sys as it is. */
		if (node_sys && str_equal(mounts[i].type, "sysfs"))
			add_mount(list, "/sys", "bind", "/sys", "rbind ro nosuid nodev noexec");
		else
			add_mount(list, mounts[i].destination, mounts[i].type, mounts[i].source,
			          mounts[i].options);
	}
	if (bundle->model) /* model files may be libraries that are mapped to run */
		add_mount(list, "/model", "bind", bundle->model, "bind ro nosuid nodev private");
	add_mount(list, "/run/covey", "bind", bundle->observe, bind);
	return list;
}

static void add_env(json_t *list, const char *name, const char *value)
{
	AUTO_FREE char *text = mem_format("%s=%s", name, value);
	size_t size = strlen(name);

	for (size_t i = json_array_size(list); i-- > 0;) {
		const char *old = json_string_value(json_array_get(list, i));

		if (strncmp(old, name, size) == 0 && old[size] == '=')
			json_array_remove(list, i);
	}
	json_array_append_new(list, json_string(text));
}

static json_t *env_list(const struct bundle *bundle)
{
	const struct release *release = bundle->release;
	json_t *list = json_array();
	char port[16], name[LIMIT_NAME + LIMIT_VERSION + 2];

	add_env(list, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	add_env(list, "HOSTNAME", bundle->hostname);
	for (size_t i = 0; i < release->env_count; i++)
		add_env(list, release->env[i].name, release->env[i].value);
	snprintf(port, sizeof(port), "%" PRIu32, bundle->port);
	add_env(list, "PORT", port);
	snprintf(name, sizeof(name), "%s@%s", release->model, release->version);
	add_env(list, "COVEY_RELEASE", name);
	add_env(list, "COVEY_SLOT", bundle->colour);
	add_env(list, "COVEY_NODE", bundle->node);
	add_env(list, "COVEY_OBSERVE", "/run/covey/observe.sock");
	return list;
}

static json_t *process(const struct bundle *bundle)
{
	const struct release *release = bundle->release;
	const char *workdir = release->workdir && release->workdir[0] ? release->workdir : "/";
	json_t *argv = json_array(), *groups = json_array();

	for (size_t i = 0; i < release->argv_count; i++)
		json_array_append_new(argv, json_string(release->argv[i].text));
	for (size_t i = 0; i < bundle->user.groups_count; i++)
		json_array_append_new(groups, json_integer(bundle->user.groups[i]));
	for (size_t i = 0; i < bundle->devices_count; i++)
		json_array_append_new(groups, json_integer(bundle->devices[i].gid));
	return json_pack(
	    "{s:b, s:{s:I, s:I, s:o}, s:o, s:o, s:s, s:b, s:{s:[], s:[], s:[], s:[], s:[]}, "
	    "s:[{s:s, s:i, s:i}]}",
	    "terminal", 0, "user", "uid", (json_int_t)bundle->user.uid, "gid",
	    (json_int_t)bundle->user.gid, "additionalGids", groups, "args", argv, "env",
	    env_list(bundle), "cwd", workdir, "noNewPrivileges", 1, "capabilities", "bounding",
	    "effective", "inheritable", "permitted", "ambient", "rlimits", "type", "RLIMIT_CORE",
	    "soft", 0, "hard", 0);
}

static json_t *resources(const struct bundle *bundle)
{
	const struct release_resources *want = &bundle->release->resources;
	json_t *rules = json_pack("[{s:b, s:s}]", "allow", 0, "access", "rwm");
	json_t *all = json_object();

	for (size_t i = 0; i < bundle->devices_count; i++) {
		const struct bundle_device *device = &bundle->devices[i];

		json_array_append_new(rules, json_pack("{s:b, s:s, s:I, s:I, s:s}", "allow", 1,
		                                       "type", device->block ? "b" : "c", "major",
		                                       (json_int_t)device->major, "minor",
		                                       (json_int_t)device->minor, "access", "rw"));
	}
	json_object_set_new(all, "devices", rules);
	if (bundle->limit_memory && want->memory_bytes)
		json_object_set_new(all, "memory",
		                    json_pack("{s:I}", "limit", (json_int_t)want->memory_bytes));
	if (bundle->limit_cpu && want->cpu_millis)
		json_object_set_new(all, "cpu",
		                    json_pack("{s:I, s:I}", "quota",
		                              (json_int_t)want->cpu_millis * CPU_PERIOD_US / 1000,
		                              "period", (json_int_t)CPU_PERIOD_US));
	if (bundle->limit_pids)
		json_object_set_new(
		    all, "pids",
		    json_pack("{s:I}", "limit",
		              (json_int_t)(want->pids ? want->pids : BUNDLE_PIDS_DEFAULT)));
	return all;
}

static json_t *device_list(const struct bundle *bundle)
{
	json_t *list = json_array();

	for (size_t i = 0; i < bundle->devices_count; i++) {
		const struct bundle_device *device = &bundle->devices[i];

		json_array_append_new(
		    list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "path", device->path,
		                    "type", device->block ? "b" : "c", "major",
		                    (json_int_t)device->major, "minor", (json_int_t)device->minor,
		                    "fileMode", (json_int_t)device->mode, "uid",
		                    (json_int_t)device->uid, "gid", (json_int_t)device->gid));
	}
	return list;
}

static json_t *id_range(uint32_t first)
{
	return json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID", (json_int_t)first, "size",
	                 (int)IDMAP_SIZE);
}

static json_t *linux_part(const struct bundle *bundle)
{
	json_t *spaces = json_pack("[{s:s}, {s:s}, {s:s}, {s:s}]", "type", "pid", "type", "ipc",
	                           "type", "uts", "type", "mount");
	json_t *all;

	/* No path: the runtime makes a namespace that lives and dies with the container. */
	if (bundle->release->serve.network == SERVE_NETWORK_SLOT)
		json_array_append_new(spaces, json_pack("{s:s}", "type", "network"));
	if (bundle->cgroup_namespace)
		json_array_append_new(spaces, json_pack("{s:s}", "type", "cgroup"));
	if (bundle->first_id)
		json_array_append_new(spaces, json_pack("{s:s}", "type", "user"));
	all = json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:o}", "namespaces", spaces, "resources",
	                resources(bundle), "cgroupsPath", bundle->cgroup, "devices",
	                device_list(bundle), "seccomp", seccomp_profile(), "maskedPaths",
	                strings(masked, ARRAY_SIZE(masked)), "readonlyPaths",
	                strings(read_only, ARRAY_SIZE(read_only)));
	if (bundle->first_id) {
		json_object_set_new(all, "uidMappings", id_range(bundle->first_id));
		json_object_set_new(all, "gidMappings", id_range(bundle->first_id));
	}
	return all;
}

/* JSON is UTF-8; a text that is not would be left out in silence. */
static bool is_utf8(const char *text)
{
	json_t *string = json_string(text);

	json_decref(string);
	return string != NULL;
}

static bool all_utf8(const struct bundle *bundle)
{
	const struct release *release = bundle->release;
	bool good = is_utf8(bundle->node) && (!release->workdir || is_utf8(release->workdir));

	for (size_t i = 0; i < release->argv_count; i++)
		good = good && is_utf8(release->argv[i].text);
	for (size_t i = 0; i < release->env_count; i++)
		good = good && is_utf8(release->env[i].name) && is_utf8(release->env[i].value);
	return good;
}

int bundle_format(const struct bundle *bundle, struct str *ret_json, struct err *err)
{
	json_error_t why;
	json_t *all;
	char *text;

	if (bundle->release->argv_count == 0)
		return err_set(err, -EINVAL, "the release says no command to run");
	if (bundle->first_id && (bundle->user.uid >= IDMAP_SIZE || bundle->user.gid >= IDMAP_SIZE))
		return err_set(err, -EINVAL, "the image's user %u:%u is not below %d",
		               bundle->user.uid, bundle->user.gid, IDMAP_SIZE);
	if (!all_utf8(bundle))
		return err_set(err, -EINVAL, "command or environment of the release is not UTF-8");
	all = json_pack_ex(&why, 0, "{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion",
	                   "1.0.2", "process", process(bundle), "root", "path", bundle->rootfs,
	                   "readonly", 1, "hostname", bundle->hostname, "mounts",
	                   mount_list(bundle), "linux", linux_part(bundle));
	text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
	json_decref(all);
	if (!text)
		return err_set(err, -EINVAL, "config.json: %s", why.text);
	str_free(ret_json);
	str_add(ret_json, text);
	free(text);
	return 0;
}

static bool allowed(const struct agent_config *config, const char *path)
{
	for (size_t i = 0; i < config->helper.allow_devices_count; i++)
		if (str_equal(config->helper.allow_devices[i], path))
			return true;
	return false;
}

int bundle_devices_find(const struct agent_config *config, const struct release *release,
                        struct bundle_device *ret_devices, size_t *ret_count, struct err *err)
{
	size_t count = 0;

	for (size_t i = 0; i < release->resources.devices_count; i++) {
		const char *path = release->resources.devices[i].text;
		struct bundle_device *device = &ret_devices[count];
		struct stat st;

		if (!allowed(config, path) || count == LIMIT_DEVICES)
			return err_set(
			    err, -EPERM,
			    "device %s is not in allow_devices of this node's agent.conf", path);
		if (stat(path, &st) < 0 || !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
			return err_set(err, -ENODEV, "this node has no device %s", path);
		*device = (struct bundle_device){.mode = st.st_mode & 0777,
		                                 .uid = st.st_uid,
		                                 .gid = st.st_gid,
		                                 .major = major(st.st_rdev),
		                                 .minor = minor(st.st_rdev),
		                                 .block = S_ISBLK(st.st_mode)};
		STR_CUT(device->path, path);
		count++;
	}
	*ret_count = count;
	return 0;
}
