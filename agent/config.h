/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.conf: what the administrator of a node decides, read by covey-agent and by covey-helper
 * alike (the helper takes every path, name and limit from here and never from the agent). INI by
 * libinih; after FILE every FILE.d/NAME.conf in the order of its name, later values win. The
 * lists labels and allow_devices add up over lines, an empty value empties them. Unknown sections
 * and keys are errors that name file and line; nothing is half accepted.
 *
 *   [agent]  name= state_dir= run_dir= trust_dir= user= labels=site=lyon,ring=1
 *   [helper] state_dir= socket= group= runtime= conmon= subnet= host_ports=LOW-HIGH
 *            allow_devices=/dev/a,/dev/b cgroup_parent= instance= user_namespaces=auto|off
 *   [disk]   quota=SIZE (0: none) reserve=10%
 *   [fetch]  rate=SIZE a second (0: no limit)
 *   [peers]  peer=on|off peer_address=IP peer_port=7410 (0: nobody may connect)
 *            upload_rate=SIZE a second (0: no limit) metered=yes|no window=22:00-06:00 timezone=
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

#define CONFIG_DEFAULT_PATH "/etc/covey/agent.conf"

enum {
	CONFIG_PATH_MAX = 256,    /* with NUL; directories are absolute */
	CONFIG_SOCKET_MAX = 108,  /* sun_path */
	CONFIG_USER_MAX = 33,     /* user and group names, or decimal ids */
	CONFIG_INSTANCE_MAX = 17, /* [a-z0-9]{1,16} */
	CONFIG_DEVICE_MAX = 128,
};

struct config_helper {
	char state_dir[CONFIG_PATH_MAX]; /* layers, releases, slots: root's own */
	char socket[CONFIG_SOCKET_MAX];
	char group[CONFIG_USER_MAX];   /* of the socket, mode 0660 */
	char runtime[CONFIG_PATH_MAX]; /* runc, crun: a name in PATH or an absolute path */
	char conmon[CONFIG_PATH_MAX];
	uint32_t subnet;              /* IPv4 of the slots' networks, host byte order */
	uint32_t subnet_prefix;       /* 8..28 */
	uint32_t port_low, port_high; /* for slots with network: host; inclusive */
	char allow_devices[LIMIT_DEVICES][CONFIG_DEVICE_MAX];
	size_t allow_devices_count;
	char cgroup_parent[CONFIG_PATH_MAX];
	bool user_namespaces; /* for containers, where they work (helper/userns.h) */
	char instance[CONFIG_INSTANCE_MAX]; /* in names that the whole machine shares: cgroups,
	                                       interfaces, the nftables table */
};

struct config_peers { /* exchange of chunks with other nodes */
	bool on;
	char address[LIMIT_SHORT_TEXT + 1]; /* IP that neighbours connect to; "": as seen */
	uint32_t port;
	uint64_t upload_rate; /* bytes a second; 0: no limit */
	bool metered;	      /* takes from neighbours, gives nothing */
	char window[LIMIT_SHORT_TEXT + 1]; /* when to exchange; "": always */
	char timezone[LIMIT_SHORT_TEXT + 1];
};

struct agent_config {
	char name[LIMIT_NAME + 1]; /* "" : the host's name */
	char state_dir[CONFIG_PATH_MAX];
	char run_dir[CONFIG_PATH_MAX];
	char trust_dir[CONFIG_PATH_MAX]; /* root.doc and the node's keys */
	char user[CONFIG_USER_MAX];      /* that covey-agent runs as; may talk to the helper */
	struct label labels[LIMIT_LABELS];
	size_t labels_count;
	struct config_helper helper;
	uint64_t disk_quota_bytes; /* 0: none */
	uint32_t disk_reserve_percent;
	uint64_t fetch_rate; /* bytes a second, from the coordinator and from peers; 0: no limit */
	struct config_peers peers;
};

/* Defaults only: what an empty agent.conf means. */
void config_defaults(struct agent_config *config);

/* Reads path and path.d/NAME.conf over the defaults; *ret_config is written on success only.
 * -ENOENT when path is not there, -EINVAL with "FILE: line N: ..." for what it does not accept. */
int config_load(const char *path, struct agent_config *ret_config,
                struct err *err) COVEY_MUST_CHECK;

/* User and group as numbers; decimal ids pass as they are. -ENOENT when unknown here. */
int config_user_id(const char *user, uint32_t *ret_uid, struct err *err) COVEY_MUST_CHECK;
int config_group_id(const char *group, uint32_t *ret_gid, struct err *err) COVEY_MUST_CHECK;
