/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's folder (COVEY_HOME, ~/.config/covey): fleet.conf says where the fleet's
 * coordinator is and which key it must prove; root.doc is the fleet's signed root document;
 * operator.key and release.key are secrets of this person (protocol/transport/keyfile.h).
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

struct fleet_config {
	char endpoint[LIMIT_ENDPOINT + 1]; /* tcp://host:port, base port */
	struct public_key server_key;
};

#define CONFIG_FLEET "fleet.conf"
#define CONFIG_ROOT "root.doc"
#define CONFIG_OPERATOR_KEY "operator.key"
#define CONFIG_RELEASE_KEY "release.key"
#define CONFIG_LOCAL_SOCKET "ipc:///run/covey/coordinator/control.sock"

/* -ENOENT; -EINVAL with file and line. */
int config_load(const char *path, struct fleet_config *ret_config,
                struct err *err) COVEY_MUST_CHECK;
/* The file's text, owned by the caller. */
char *config_format(const struct fleet_config *config);
