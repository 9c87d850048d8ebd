/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator.conf: key = value lines, drop-ins in coordinator.conf.d/ in the order of their names. */
#pragma once

#include "base/err.h"
#include "base/log.h"
#include "coordinator/judge/lookout.h"
#include "covey/limits.h"

#include <stdint.h>

enum { CONFIG_PATH_MAX = 256 };

struct config {
	char state_dir[CONFIG_PATH_MAX]; /* /var/lib/covey/coordinator */
	char listen[LIMIT_ENDPOINT + 1]; /* 0.0.0.0; an address, IPv6 without brackets */
	unsigned port;			 /* 7400: agents; 7401 data, 7402 enrolment, 7403 operators */
	char socket[CONFIG_PATH_MAX];	 /* /run/covey/coordinator/control.sock; local operators */
	char group[LIMIT_SHORT_TEXT + 1]; /* covey: who may use the socket */
	unsigned io_threads;		 /* 2 */
	struct lookout_policy drift;	 /* 1h, 50%, 24h: window, sites, hook_cooldown */
	char hook_socket[CONFIG_PATH_MAX]; /* /run/covey/hook.sock: where evidence of drift goes */
	uint64_t observe_period_ms;	 /* 60s: of nodes' observation records */
	enum log_level log_level;	 /* info */
};

/* path NULL: /etc/covey/coordinator.conf, which need not exist. Unknown keys and values out of
 * range are -EINVAL, with file and line in the sentence. */
int config_load(const char *path, struct config *ret_config, struct err *err) COVEY_MUST_CHECK;
