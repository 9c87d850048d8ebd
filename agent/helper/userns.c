/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trial is a container that is made and never started, from one layer of one file on the disk
 * where layers are, in a process of its own because it changes its mount namespace. What can go
 * wrong: a kernel before 5.19, a file system that cannot map owners, a runtime that cannot reach
 * the bundle from inside, a /proc or /sys that may not be mounted there, namespaces that an
 * administrator forbade. A trial that fails for another reason (no memory) is not repeated before
 * the next boot either: containers then are as confined as they are without.
 */
#include "agent/helper/userns.h"

#include "agent/helper/bundle.h"
#include "agent/helper/idmap.h"
#include "agent/helper/runtime.h"
#include "agent/helper/slot.h"
#include "agent/helper/spawn.h"
#include "base/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* No slot is called that: it would end in a colour. */
static const struct slot_name trial = {"trial"};

static int make_layer(const struct agent_config *config, char path[PATHS_MAX], struct err *err)
{
	char file[PATHS_MAX];
	int r = paths_make(paths_state(config, path, "/trial"), 0755, err);

	if (r == 0)
		r = paths_write(paths_state(config, file, "/trial/program"), "", 0, 0755, err);
	return r;
}

static int write_bundle(const struct agent_config *config, const char *model, struct err *err)
{
	char rootfs[PATHS_MAX], group[PATHS_MAX], path[PATHS_MAX];
	struct text_item command = {(char[]){"/program"}};
	const struct release release = {.model = "trial", .argv = &command, .argv_count = 1};
	struct runtime_limits limits;
	struct bundle bundle = {.release = &release, .colour = "", .node = "", .hostname = "trial",
	                        .rootfs = paths_slot_run(config, &trial, rootfs, "/rootfs"),
	                        .model = model, .observe = model,
	                        .cgroup = paths_cgroup(config, &trial, group),
	                        .first_id = IDMAP_FIRST};
	AUTO_STR struct str json = {0};
	int r;

	runtime_limits(&limits);
	bundle.cgroup_namespace = limits.unified;
	r = bundle_format(&bundle, &json, err);
	return r < 0 ? r
	             : paths_write(paths_slot_run(config, &trial, path, "/config.json"), json.data,
	                           json.size, 0600, err);
}

static int make_container(struct worker *worker, struct err *err)
{
	const struct agent_config *config = &worker->config;
	char layer[PATHS_MAX], path[PATHS_MAX], model[PATHS_MAX];
	const char *const layers[] = {layer};
	const struct slot_tree tree = {
	    .layers = layers, .layers_count = 1, .model = layer, .first_id = IDMAP_FIRST};
	int r = make_layer(config, layer, err);

	if (r == 0)
		r = paths_make(paths_slot_run(config, &trial, path, ""), 0700, err);
	if (r == 0)
		r = slot_mount(worker, &trial, &tree, err);
	if (r == 0)
		r = write_bundle(config, paths_slot_run(config, &trial, model, SLOT_MODEL), err);
	return r < 0 ? r : runtime_try(worker, &trial, err);
}

static void clean_up(struct worker *worker)
{
	char path[PATHS_MAX];

	/* What is left is found by the next trial; nothing else ever looks at it. */
	(void)!slot_clear(worker, &trial, NULL);
	(void)!paths_remove(paths_state(&worker->config, path, "/trial"), NULL);
}

/* "" or why not. */
static int try_it(struct worker *worker, char *ret_why, size_t why_size, struct err *err)
{
	AUTO_CLOSE int from = -1, to = -1;
	struct err why = {0};
	int ends[2], r;
	ssize_t size;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "no pipe");
	from = ends[0];
	to = ends[1];
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "no process");
	if (pid == 0) {
		r = make_container(worker, &why);
		if (r < 0)
			dprintf(to, "%s", err_text(&why, r));
		_exit(0);
	}
	close(TAKE_FD(to));
	size = read(from, ret_why, why_size - 1);
	ret_why[size > 0 ? size : 0] = 0;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	clean_up(worker);
	return 0;
}

/* What the answer depends on besides the kernel. */
static void key_of(const struct worker *worker, char *dst, size_t size)
{
	char path[PATHS_MAX];
	struct stat st = {0};

	if (spawn_find(worker->config.helper.runtime, path, sizeof(path), NULL) == 0 &&
	    stat(path, &st) < 0)
		st = (struct stat){0};
	snprintf(dst, size, "%s %" PRIu64 " %" PRId64, worker->config.helper.runtime,
	         (uint64_t)st.st_ino, (int64_t)st.st_mtime);
}

/* The file: the key in its first line, "" or why not in the second. */
static bool recall(const char *path, const char *key, char *ret_why, size_t why_size)
{
	AUTO_FREE uint8_t *data = NULL;
	struct bytes text = {0};
	char *why;

	if (paths_read(path, PATHS_MAX + 1024, &text, NULL) < 0)
		return false;
	data = text.data;
	why = strchr((char *)data, '\n');
	if (!why)
		return false;
	*why++ = 0;
	str_cut(ret_why, why_size, why);
	return str_equal((char *)data, key);
}

bool userns_works(struct worker *worker, char *ret_why, size_t why_size)
{
	char path[PATHS_MAX], key[PATHS_MAX];
	AUTO_FREE char *text = NULL;
	struct err err = {0};
	AUTO_CLOSE int lock = -1;
	int r;

	if (!worker->config.helper.user_namespaces) {
		str_cut(ret_why, why_size, "agent.conf says so");
		return false;
	}
	key_of(worker, key, sizeof(key));
	paths_run(&worker->config, path, "/user-namespaces");
	if (recall(path, key, ret_why, why_size))
		return ret_why[0] == 0;
	lock = worker_lock(worker, "trial", false, &err);
	if (lock >= 0 && recall(path, key, ret_why, why_size))
		return ret_why[0] == 0;
	r = lock < 0 ? lock : try_it(worker, ret_why, why_size, &err);
	if (r == 0) {
		text = mem_format("%s\n%s", key, ret_why);
		r = paths_write(path, text, strlen(text), 0600, &err);
	}
	if (r < 0)
		str_cut(ret_why, why_size, err_text(&err, r));
	return r == 0 && ret_why[0] == 0;
}
