/* SPDX-License-Identifier: Apache-2.0 */
/* peers: with whom this node exchanges chunks now, and what comes of it. */
#include "agent/cli/cli.h"

#include "agent/local.h"
#include "protocol/codec.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- JSON ---- */

static void add_text(struct str *out, const char *key, const char *text)
{
	str_addf(out, "\"%s\":", key);
	if (text[0])
		cli_add_json(out, text);
	else
		str_add(out, "null");
	str_add(out, ",");
}

static void add_neighbour(struct str *out, const struct peering_neighbour *neighbour)
{
	str_add(out, "{");
	add_text(out, "node", neighbour->node);
	add_text(out, "name", neighbour->name);
	add_text(out, "endpoint", neighbour->endpoint);
	add_text(out, "problem", neighbour->text);
	str_addf(out, "\"up\":%s,\"far\":%s,\"bytes_got\":%" PRIu64 ",\"bytes_given\":%" PRIu64 "}",
		 neighbour->up ? "true" : "false", neighbour->far ? "true" : "false",
		 neighbour->got, neighbour->given);
}

static void print_json(const struct peering_view *peers)
{
	AUTO_STR struct str out = {0};

	str_addf(&out, "{\"on\":%s,\"open\":%s,", peers->on ? "true" : "false",
		 peers->open ? "true" : "false");
	add_text(&out, "problem", peers->text);
	str_addf(&out,
		 "\"bytes_from_origin\":%" PRIu64 ",\"bytes_from_peers\":%" PRIu64
		 ",\"rate_down\":%" PRIu64 ",\"rate_up\":%" PRIu64 ",\"neighbours\":[",
		 peers->from_origin, peers->from_peers, peers->rate_down, peers->rate_up);
	for (size_t i = 0; i < peers->neighbours_count; i++) {
		str_add(&out, i > 0 ? "," : "");
		add_neighbour(&out, &peers->neighbours[i]);
	}
	str_add(&out, "]}");
	puts(str_get(&out));
}

/* ---- table ---- */

static const char *state_of(const struct peering_view *peers)
{
	if (!peers->on)
		return "off in agent.conf";
	if (!peers->open)
		return "not at this hour (window in agent.conf)";
	return peers->neighbours_count > 0 ? "under way" : "nothing to exchange";
}

static void print_table(const struct peering_view *peers)
{
	char down[STR_SIZE_MAX], up[STR_SIZE_MAX];

	printf("exchange   %s\n", state_of(peers));
	if (peers->text[0])
		printf("listening  no: %s\n", peers->text);
	if (peers->neighbours_count == 0)
		return;
	str_format_size(down, peers->rate_down);
	str_format_size(up, peers->rate_up);
	printf("rate       %s/s down, %s/s up\n\n%-20s %-6s %-24s %12s %12s  %s\n", down, up, "NODE",
	       "UP", "ADDRESS", "GOT", "GIVEN", "PROBLEM");
	for (size_t i = 0; i < peers->neighbours_count; i++) {
		const struct peering_neighbour *neighbour = &peers->neighbours[i];
		AUTO_STR struct str text = {0};

		cli_add_plain(&text, neighbour->text);
		str_format_size(down, neighbour->got);
		str_format_size(up, neighbour->given);
		printf("%-20s %-6s %-24s %12s %12s  %s\n", neighbour->name,
		       neighbour->up ? "yes" : "no",
		       neighbour->endpoint[0] ? neighbour->endpoint : "connects here", down, up,
		       str_get(&text));
	}
}

int cli_peers(const struct cli_options *options, const struct agent_config *config)
{
	struct local_status local = {0};
	struct err err = {0};
	int r = local_ask(config->run_dir, &local, &err);

	if (r < 0)
		return cli_fail("%s", err_text(&err, r));
	if (options->output == CLI_JSON)
		print_json(&local.peers);
	else
		print_table(&local.peers);
	codec_free(&codec_local_status, &local);
	return CLI_OK;
}
