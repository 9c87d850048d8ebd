/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots go first, the rules last: a client that comes in between is reset and not sent to whoever
 * gets the address next. A slot needs no record to be cleared (slot_clear() finds what there is),
 * so the folders of the run directory are the list. Forwarding is the node's again only where this
 * boot's note says that the helper switched it on.
 */
#include "agent/helper/clear.h"

#include "agent/helper/address.h"
#include "agent/helper/slot.h"
#include "agent/helper/slotnet.h"
#include "agent/helper/spawn.h"
#include "agent/helper/traffic.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

static int earlier(int first, int r)
{
	return first < 0 ? first : r;
}

static int clear_slots(struct worker *worker, struct err *err)
{
	char path[PATHS_MAX], deployment[LIMIT_NAME + 1];
	DIR *dir = opendir(paths_run(&worker->config, path, "/slots"));
	const struct dirent *entry;
	int result = 0;

	while (dir && (entry = readdir(dir))) {
		enum colour colour;
		struct slot_name slot;
		int r;

		if (!paths_slot_parse(entry->d_name, deployment, &colour))
			continue;
		r = paths_slot(deployment, colour, &slot, err);
		if (r == 0)
			r = slot_clear(worker, &slot, err);
		result = earlier(result, r);
	}
	if (dir)
		closedir(dir);
	return result;
}

static void clear_routes(const struct agent_config *config)
{
	char subnet4[24], subnet6[ADDRESS6_MAX];
	AUTO_STR struct str text = {0};
	static const char *const argv[] = {"ip", "-force", "-batch", "-", NULL};
	int code;

	address_subnet4(config, subnet4);
	address_subnet6(config, subnet6);
	str_addf(&text,
	         "route del local %s dev lo table main\nroute del local %s dev lo table main\n",
	         subnet4, subnet6);
	if (spawn_run(&(struct spawn){.argv = argv, .input = str_get(&text), .timeout_ms = 10000},
	              &code, NULL, NULL) < 0)
		return; /* a node that never had a slot has no such route */
}

static void restore_forwarding(const struct agent_config *config, const char *note,
                               const char *path)
{
	char file[PATHS_MAX], boot[40];
	struct bytes text = {0};
	FILE *out;

	record_boot_id(boot);
	if (paths_read(paths_run(config, file, note), 64, &text, NULL))
		return;
	out = str_equal((const char *)text.data, boot) ? fopen(path, "we") : NULL;
	if (out) {
		fputc('0', out);
		fclose(out);
	}
	free(text.data);
}

/* The control groups above the slots', in the unified hierarchy or in each one of version 1. */
static void clear_groups(const struct agent_config *config)
{
	struct dirent **names = NULL;
	int count = scandir("/sys/fs/cgroup", &names, NULL, NULL);

	for (int i = 0; i < count; i++) {
		const char *base = str_equal(names[i]->d_name, ".") ? "" : names[i]->d_name;
		AUTO_FREE char *parent =
		    mem_format("/sys/fs/cgroup/%s%s", base, config->helper.cgroup_parent);
		AUTO_FREE char *group = mem_format("%s/%s", parent, config->helper.instance);

		if (names[i]->d_type == DT_DIR && !str_equal(names[i]->d_name, "..")) {
			rmdir(group);
			rmdir(parent); /* stays while another agent of this machine uses it */
		}
		free(names[i]);
	}
	free(names);
}

int clear_node(struct worker *worker, struct err *err)
{
	const struct agent_config *config = &worker->config;
	char path[PATHS_MAX];
	int result = clear_slots(worker, err);

	clear_routes(config);
	result = earlier(result, traffic_drop(worker, err));
	restore_forwarding(config, "/forwarding4", "/proc/sys/net/ipv4/ip_forward");
	restore_forwarding(config, "/forwarding6", "/proc/sys/net/ipv6/conf/all/forwarding");
	clear_groups(config);
	if (result == 0)
		result = paths_remove(paths_run(config, path, ""), err);
	return result;
}
