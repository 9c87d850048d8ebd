/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent tells on its own machine: whoever connects to <run_dir>/agent/agent.sock
 * (SOCK_SEQPACKET) gets one packet, an encoded struct local_status, and the end of the connection.
 * The folder is the agent's own, for run_dir is root's.
 * `covey-agent status` and `covey-agent health` read it.
 */
#pragma once

#include "agent/peering.h"
#include "covey/report.h"
#include "protocol/codec.h"

#include <systemd/sd-event.h>

enum { LOCAL_PACKET_MAX = 192 << 10 };
#define LOCAL_SOCKET_NAME "agent/agent.sock"

struct local_status {
	char name[LIMIT_NAME + 1];
	char node[NODE_ID_TEXT_MAX];
	char coordinator[LIMIT_ENDPOINT + 1];
	bool linked;
	bool healthy;		   /* every committed slot answers its probe */
	struct node_status status; /* without logs */
	struct peering_view peers;
};

extern const struct codec_struct codec_local_status;

struct local;

/* Fills *ret_status; what it owns is freed with codec_free(). */
typedef void local_fill_fn(void *context, struct local_status *ret_status);

/* Replaces a socket that a dead agent left; -EADDRINUSE when another agent answers there. */
int local_new(sd_event *event, const char *run_dir, local_fill_fn *fill, void *context,
	      struct local **ret_local, struct err *err) COVEY_MUST_CHECK;
void local_free(struct local *local); /* removes the socket; NULL is fine */

/* The other end. -ENOENT, -ECONNREFUSED: no agent runs. codec_free(&codec_local_status, ...). */
int local_ask(const char *run_dir, struct local_status *ret_status,
	      struct err *err) COVEY_MUST_CHECK;
