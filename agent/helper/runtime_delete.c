/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clearing a slot must work from any state that a kill left behind: no record, a conmon that is
 * just making the container, a container that the runtime does not know yet. So it does not trust
 * pid files: every process with the bundle's path on its command line is a supervisor or a runtime
 * of this slot, every process in the slot's control group is the container's.
 */
#include "agent/helper/runtime.h"

#include "agent/helper/spawn.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define CGROUPS "/sys/fs/cgroup"

enum { TRIES = 400 }; /* of 5 ms */

static void pause_ms(long ms)
{
	const struct timespec time = {0, ms * 1000000};

	nanosleep(&time, NULL);
}

static bool mentions(pid_t pid, const char *bundle)
{
	AUTO_FREE uint8_t *data = NULL;
	struct bytes line = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (paths_read(path, 64 << 10, &line, NULL))
		return false;
	data = line.data;
	for (size_t at = 0; at < line.size; at += strlen((char *)data + at) + 1) {
		const char *word = (const char *)data + at;

		if (str_starts(word, "--bundle="))
			word += strlen("--bundle=");
		if (str_equal(word, bundle))
			return true;
	}
	return false;
}

/* How many processes of the slot's supervisors there were; all get SIGKILL. */
static int kill_supervisors(const char *bundle)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	int count = 0;

	while (dir && (entry = readdir(dir))) {
		uint64_t pid;

		if (str_parse_u64(entry->d_name, INT32_MAX, &pid) || (pid_t)pid == getpid() ||
		    !mentions((pid_t)pid, bundle))
			continue;
		kill((pid_t)pid, SIGKILL);
		count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

/* A process that this one cannot see is listed as 0, and kill(0) would be for ourselves. */
static void kill_group(const char *group)
{
	AUTO_FREE char *path = mem_format("%s/cgroup.procs", group);
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	int pid;

	while (file && fscanf(file, "%d", &pid) == 1)
		if (pid > 0)
			kill(pid, SIGKILL);
}

/* Empties and removes one control group with those below it. */
static bool clear_group(const char *group)
{
	struct dirent **names = NULL;
	int count = scandir(group, &names, NULL, NULL);
	bool done = true;

	for (int i = 0; i < count; i++) {
		if (names[i]->d_type == DT_DIR && names[i]->d_name[0] != '.') {
			AUTO_FREE char *inner = mem_format("%s/%s", group, names[i]->d_name);

			done = clear_group(inner) && done;
		}
		free(names[i]);
	}
	free(names);
	if (count < 0)
		return true;
	/* Processes that are dying are not listed any more but still keep the group. */
	for (int i = 0; i < TRIES; i++) {
		kill_group(group);
		if (rmdir(group) == 0 || errno == ENOENT)
			return done;
		pause_ms(5);
	}
	return false;
}

static void write_word(const char *path, const char *word)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, word, strlen(word)) < 0)
		return; /* processes that stay are counted later */
}

/* A runtime freezes the group while it sets it up. Killed in between, it leaves it frozen, and in
 * version 1 a frozen process does not even die. */
static void thaw_groups(const char *group)
{
	AUTO_FREE char *old = mem_format(CGROUPS "/freezer%s/freezer.state", group);
	AUTO_FREE char *unified = mem_format(CGROUPS "%s/cgroup.freeze", group);

	write_word(old, "THAWED");
	write_word(unified, "0");
}

/* The slot's group in the unified hierarchy, or in each one of version 1. */
static bool clear_groups(const char *group)
{
	struct dirent **names = NULL;
	AUTO_FREE char *unified = mem_format(CGROUPS "%s", group);
	int count = scandir(CGROUPS, &names, NULL, NULL);
	bool done;

	thaw_groups(group);
	done = clear_group(unified);
	for (int i = 0; i < count; i++) {
		AUTO_FREE char *path = mem_format(CGROUPS "/%s%s", names[i]->d_name, group);

		if (names[i]->d_type == DT_DIR && names[i]->d_name[0] != '.')
			done = clear_group(path) && done;
		free(names[i]);
	}
	free(names);
	return done;
}

static int forget(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	char root[PATHS_MAX], state[PATHS_MAX + SLOT_NAME_MAX + 2];
	const char *const argv[] = {
	    worker->config.helper.runtime, "--root", root, "delete", "--force", slot->text, NULL};
	const struct spawn spawn = {
	    .argv = argv, .output_max = 2048, .timeout_ms = worker_left_ms(worker)};
	int r;

	paths_run(&worker->config, root, "/runtime");
	snprintf(state, sizeof(state), "%s/%s", root, slot->text);
	if (access(state, F_OK) < 0)
		return 0;
	r = spawn_check(&spawn, NULL, err);
	/* A runtime that was killed leaves a state that it cannot read itself. */
	return r < 0 && access(state, F_OK) == 0 ? paths_remove(state, err) : 0;
}

int runtime_delete(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	char bundle[PATHS_MAX], group[PATHS_MAX];
	int r;

	paths_slot_run(&worker->config, slot, bundle, "");
	paths_cgroup(&worker->config, slot, group);
	for (int i = 0; i < TRIES && kill_supervisors(bundle); i++)
		pause_ms(5);
	r = forget(worker, slot, err);
	if (r < 0)
		return err_prefix(err, r, "container of slot %s", slot->text);
	if (!clear_groups(group))
		return err_set(err, -EBUSY, "processes of slot %s do not end", slot->text);
	return 0;
}

static bool has_word(const char *text, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += size)
		if ((at == text || at[-1] == ' ') && strchr(" \n", at[size]))
			return true;
	return false;
}

void runtime_limits(struct runtime_limits *ret_limits)
{
	AUTO_FREE uint8_t *data = NULL;
	struct bytes text = {0};

	if (paths_read(CGROUPS "/cgroup.controllers", 4096, &text, NULL) < 0) {
		*ret_limits = (struct runtime_limits){
		    .memory = access(CGROUPS "/memory/memory.limit_in_bytes", F_OK) == 0 ||
		              access(CGROUPS "/memory/cgroup.procs", F_OK) == 0,
		    .cpu = access(CGROUPS "/cpu/cgroup.procs", F_OK) == 0,
		    .pids = access(CGROUPS "/pids/cgroup.procs", F_OK) == 0};
		return;
	}
	data = text.data;
	*ret_limits = (struct runtime_limits){.memory = has_word((char *)data, "memory"),
	                                      .cpu = has_word((char *)data, "cpu"),
	                                      .pids = has_word((char *)data, "pids"),
	                                      .unified = true};
}
