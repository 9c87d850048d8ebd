/* SPDX-License-Identifier: Apache-2.0 */
/* Callbacks that hand on what neighbours do; the shell decides. */
#include "agent/daemon_peers.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

static void on_up(void *context, uint32_t peer)
{
	agent_on_peer_up(*(struct agent **)context, peer);
}

static void on_down(void *context, uint32_t peer, enum peer_fault fault, const char *text)
{
	agent_on_peer_down(*(struct agent **)context, peer, fault, text);
}

static void on_message(void *context, uint32_t peer, enum peer_way way, const void *data,
		       size_t size)
{
	agent_on_peer_message(*(struct agent **)context, peer, way, data, size);
}

static void on_listens(void *context, const char *problem)
{
	agent_on_peers_listen(*(struct agent **)context, problem);
}

int daemon_peers_open(struct zhub *hub, const struct agent_config *config,
		      const struct joined *joined, struct agent **agent, struct peers **ret_peers,
		      struct err *err)
{
	const struct peers_events events = {
		.up = on_up, .down = on_down, .message = on_message, .listens = on_listens};
	AUTO_FREE char *listen = mem_format("tcp://[::]:%u", config->peers.port);
	const struct peers_config peers = {.listen = config->peers.port ? listen : NULL,
					   .key = &joined->link_key,
					   .root = &joined->root,
					   .unix_ms = clock_unix_ms};

	return peers_new(hub, &peers, &events, agent, ret_peers, err);
}

void daemon_peers_options(const struct agent_config *config, struct agent_peering *ret_options)
{
	const struct config_peers *peers = &config->peers;

	*ret_options = (struct agent_peering){.on = peers->on,
					      .port = peers->port,
					      .upload_rate = peers->upload_rate,
					      .metered = peers->metered};
	STR_CUT(ret_options->address, peers->address);
	STR_CUT(ret_options->window, peers->window);
	STR_CUT(ret_options->timezone, peers->timezone);
}
