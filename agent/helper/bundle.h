/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container as the OCI runtime sees it: from a verified release and this node's facts to the
 * text of config.json. Pure but for the device nodes, whose numbers come from the node's /dev.
 */
#pragma once

#include "agent/config.h"
#include "base/str.h"
#include "covey/release.h"

enum { BUNDLE_GROUPS = 64, BUNDLE_PIDS_DEFAULT = 1024 };

struct bundle_user {
	uint32_t uid, gid;
	uint32_t groups[BUNDLE_GROUPS];
	size_t groups_count;
};

struct bundle_device {
	char path[CONFIG_DEVICE_MAX];
	uint32_t mode, uid, gid; /* as on the node */
	uint32_t major, minor;
	bool block;
};

struct bundle { /* borrowed texts */
	const struct release *release;
	const char *colour, *node, *hostname;
	const char *rootfs;  /* mounted there when the container starts */
	const char *model;   /* directory, or NULL: no model files */
	const char *observe; /* directory of the observation socket */
	const char *cgroup;
	uint32_t port;                            /* PORT */
	bool limit_memory, limit_cpu, limit_pids; /* controllers that this node has */
	bool cgroup_namespace;
	uint32_t first_id; /* of the container's ids on the node (idmap.h); 0: the node's own */
	struct bundle_user user;
	const struct bundle_device *devices;
	size_t devices_count;
};

/* -EINVAL for a release that cannot be expressed. */
int bundle_format(const struct bundle *bundle, struct str *ret_json,
                  struct err *err) COVEY_MUST_CHECK;

/* The image's `user` ("", "1000", "model", "1000:1000", "model:video") by the image's own
 * etc/passwd and etc/group, which are read below rootfs without leaving it, at most 1 MiB each.
 * -ENOENT: a name that is not there. */
int bundle_user_find(const char *rootfs, const char *user, struct bundle_user *ret_user,
                     struct err *err) COVEY_MUST_CHECK;

/* Numbers of the device nodes that the release asks for. -EPERM: not allowed in agent.conf;
 * -ENODEV: not on this node. */
int bundle_devices_find(const struct agent_config *config, const struct release *release,
                        struct bundle_device *ret_devices, size_t *ret_count,
                        struct err *err) COVEY_MUST_CHECK;
