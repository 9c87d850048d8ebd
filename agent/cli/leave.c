/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaving a fleet, the way of join.c backwards. First what needs keys: deployments drain and go,
 * the coordinator is told. Then the files, in an order that lets an interrupted command be said
 * again: content and journal, which only make sense with the identity; identity and keys; and
 * last root.doc, whose presence means that the node has joined.
 */
#include "agent/cli/cli.h"

#include "agent/daemon.h"
#include "agent/joined.h"
#include "agent/local.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int remove_file(const char *dir, const char *name, struct err *err)
{
	AUTO_FREE char *path = mem_format("%s/%s", dir, name);

	return unlink(path) < 0 && errno != ENOENT ? err_errno(err, -errno, "remove %s", path) : 0;
}

/* A folder of plain files, and the folder. */
static int remove_folder(const char *dir, const char *name, struct err *err)
{
	AUTO_FREE char *path = mem_format("%s/%s", dir, name);
	DIR *folder = opendir(path);
	const struct dirent *entry;
	int r = 0;

	if (!folder)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "folder %s", path);
	while (r == 0 && (entry = readdir(folder))) {
		if (entry->d_type != DT_DIR)
			r = remove_file(path, entry->d_name, err);
	}
	closedir(folder);
	if (r == 0 && rmdir(path) < 0)
		r = err_errno(err, -errno, "remove folder %s", path);
	return r;
}

int leave_clean(const struct agent_config *config, bool keep_root, struct err *err)
{
	static const char *const folders[] = {"parts", "blobs", "releases", "objects"};
	static const char *const files[] = {"journal.db-shm", "journal.db-wal", "journal.db",
					    JOINED_IDENTITY,  JOINED_LINK_KEY,	JOINED_SIGN_KEY};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++)
		r = remove_folder(config->state_dir, folders[i], err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
		r = remove_file(config->state_dir, files[i], err);
	if (r == 0 && !keep_root)
		r = remove_file(config->trust_dir, JOINED_ROOT, err);
	return r;
}

/* Is there anything that only the fleet's keys could bring in order? */
static bool is_half_gone(const struct agent_config *config)
{
	AUTO_FREE char *root = mem_format("%s/%s", config->trust_dir, JOINED_ROOT);
	AUTO_FREE char *journal = mem_format("%s/journal.db", config->state_dir);

	return access(root, F_OK) == 0 && access(journal, F_OK) < 0;
}

static bool service_runs(const struct agent_config *config)
{
	struct local_status status = {0};

	if (local_ask(config->run_dir, &status, NULL) < 0)
		return false;
	codec_free(&codec_local_status, &status);
	return true;
}

int cli_leave(const struct cli_options *options, const struct agent_config *config)
{
	struct err err = {0};
	bool told = true;
	int r;

	if (service_runs(config))
		return cli_fail("leave: the agent runs; this command does its work in its place, "
				"so stop it first: `systemctl disable --now covey-agent`");
	if (access(config->trust_dir, F_OK) == 0 && access(config->trust_dir, W_OK) < 0)
		return cli_fail("leave: only root may take this node out of its fleet");
	r = daemon_leave(config, &told, &err);
	if (r == -ENOENT && is_half_gone(config))
		r = 0;
	if (r == 0)
		r = leave_clean(config, options->keep, &err);
	if (r < 0)
		return cli_fail("leave: %s", err_text(&err, r));
	puts(told ? "left: nothing of the fleet runs here any more, and the coordinator knows"
		  : "left: nothing of the fleet runs here any more; the coordinator did not answer: "
		    "say `covey node rm` there");
	return CLI_OK;
}
