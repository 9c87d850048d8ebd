/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status, health, history. The first two ask the running agent; history reads the journal, which
 * also works beside the agent and without it.
 */
#include "agent/cli/cli.h"

#include "agent/journal.h"
#include "agent/local.h"
#include "base/mem.h"
#include "protocol/digest.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- JSON ---- */

static void add_text(struct str *out, const char *key, const char *text)
{
	str_addf(out, "\"%s\":", key);
	cli_add_json(out, text);
	str_add(out, ",");
}

static void add_digest(struct str *out, const char *key, const struct digest *digest)
{
	str_addf(out, "\"%s\":", key);
	cli_add_digest_json(out, digest);
	str_add(out, ",");
}

static void add_bool(struct str *out, const char *key, bool value)
{
	str_addf(out, "\"%s\":%s,", key, value ? "true" : "false");
}

static void add_rollout(struct str *out, const struct rollout_id *rollout)
{
	char text[ROLLOUT_ID_TEXT_MAX];

	rollout_id_text(text, rollout);
	if (rollout_id_is_zero(rollout))
		str_add(out, "\"rollout\":null,");
	else
		str_addf(out, "\"rollout\":\"%s\",", text);
}

static void add_outcome(struct str *out, const struct outcome *outcome)
{
	char at[STR_TIME_MAX];

	str_format_time(at, outcome->at_unix_ms);
	str_add(out, "{");
	add_text(out, "outcome", cli_outcomes[outcome->kind]);
	add_digest(out, "release", &outcome->release);
	add_rollout(out, &outcome->rollout);
	str_addf(out, "\"attempt\":%" PRIu64 ",", outcome->attempt);
	add_text(out, "at", at);
	str_add(out, "\"reason\":");
	if (outcome->reason.phase[0] == '\0') {
		str_add(out, "null}");
		return;
	}
	str_add(out, "{");
	add_text(out, "phase", outcome->reason.phase);
	add_text(out, "check", outcome->reason.check);
	str_add(out, "\"text\":");
	cli_add_json(out, outcome->reason.text);
	str_add(out, "}}");
}

static void add_slots(struct str *out, const struct deployment_report *report)
{
	str_add(out, "\"slots\":[");
	for (size_t i = 0; i < COLOUR_COUNT; i++) {
		const struct slot_report *slot = &report->slots[i];

		str_addf(out, "%s{\"colour\":\"%s\",\"state\":\"%s\",\"release\":",
			 i > 0 ? "," : "", slot->colour == COLOUR_BLUE ? "blue" : "green",
			 cli_slot_states[slot->state]);
		cli_add_digest_json(out, &slot->release);
		str_add(out, "}");
	}
	str_add(out, "],");
}

static void add_report(struct str *out, const struct deployment_report *report)
{
	str_add(out, "{");
	add_text(out, "deployment", report->deployment);
	add_text(out, "state", cli_node_states[report->state]);
	add_digest(out, "release", &report->release);
	add_digest(out, "target", &report->target);
	add_rollout(out, &report->rollout);
	add_bool(out, "staged", report->staged);
	add_bool(out, "proven", report->proven);
	add_bool(out, "healthy", report->healthy);
	str_addf(out, "\"bytes_done\":%" PRIu64 ",\"bytes_total\":%" PRIu64 ",",
		 report->bytes_done, report->bytes_total);
	add_slots(out, report);
	str_add(out, "\"last\":");
	if (report->last.kind == OUTCOME_NONE)
		str_add(out, "null");
	else
		add_outcome(out, &report->last);
	str_add(out, "}");
}

static void print_status_json(const struct local_status *local)
{
	AUTO_STR struct str out = {0};
	const struct node_status *status = &local->status;

	str_add(&out, "{");
	add_text(&out, "node", local->node);
	add_text(&out, "name", local->name);
	add_text(&out, "coordinator", local->coordinator);
	add_bool(&out, "linked", local->linked);
	add_bool(&out, "healthy", local->healthy);
	str_addf(&out, "\"epoch\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"boot_epoch\":%" PRIu64
		       ",",
		 status->epoch, status->generation, status->boot_epoch);
	add_text(&out, "runtime", status->inventory.runtime);
	str_add(&out, "\"deployments\":[");
	for (size_t i = 0; i < status->deployments_count; i++) {
		str_add(&out, i > 0 ? "," : "");
		add_report(&out, &status->deployments[i]);
	}
	str_add(&out, "]}");
	puts(str_get(&out));
}

/* ---- tables ---- */

static void print_status_table(const struct local_status *local)
{
	const struct node_status *status = &local->status;

	printf("node         %s (%s)\n", local->name, local->node);
	printf("coordinator  %s, %s\n", local->coordinator,
	       local->linked ? "linked" : "not linked");
	printf("runtime      %s\n", status->inventory.runtime[0] ? status->inventory.runtime
								 : "helper not connected");
	if (status->deployments_count == 0) {
		puts("\nno deployments");
		return;
	}
	printf("\n%-20s %-12s %-14s %-14s %-8s %s\n", "DEPLOYMENT", "STATE", "RELEASE", "TARGET",
	       "HEALTHY", "LAST");
	for (size_t i = 0; i < status->deployments_count; i++) {
		const struct deployment_report *report = &status->deployments[i];
		AUTO_STR struct str reason = {0};
		char release[16], target[16];

		cli_short_digest(release, &report->release);
		cli_short_digest(target, &report->target);
		cli_add_plain(&reason, report->last.reason.text);
		printf("%-20s %-12s %-14s %-14s %-8s %s%s%s\n", report->deployment,
		       cli_node_states[report->state], release, target,
		       report->healthy ? "yes" : "no", cli_outcomes[report->last.kind],
		       reason.size > 0 ? ": " : "", str_get(&reason));
	}
}

/* ---- verbs ---- */

int cli_status(const struct cli_options *options, const struct agent_config *config)
{
	struct local_status local = {0};
	struct err err = {0};
	int r = local_ask(config->run_dir, &local, &err);

	if (r < 0)
		return cli_fail("%s", err_text(&err, r));
	if (options->output == CLI_JSON)
		print_status_json(&local);
	else
		print_status_table(&local);
	codec_free(&codec_local_status, &local);
	return CLI_OK;
}

int cli_health(const struct cli_options *options, const struct agent_config *config)
{
	struct local_status local = {0};
	struct err err = {0};
	int r = local_ask(config->run_dir, &local, &err);
	bool healthy;

	if (r < 0)
		return cli_fail("%s", err_text(&err, r));
	healthy = local.healthy;
	if (options->output == CLI_JSON)
		printf("{\"healthy\":%s}\n", healthy ? "true" : "false");
	else
		puts(healthy ? "every committed deployment answers"
			     : "a committed deployment does not answer: covey-agent status");
	codec_free(&codec_local_status, &local);
	return healthy ? CLI_OK : CLI_FAILED;
}

struct listing {
	struct str json;
	enum cli_output output;
	size_t count;
};

static int list_outcome(void *context, const char *deployment, const void *data, size_t size,
			struct err *err)
{
	struct listing *listing = context;
	struct outcome outcome = {0};
	int r = codec_decode(&codec_outcome, data, size, &outcome, err);

	if (r < 0)
		return err_prefix(err, r, "history of %s", deployment);
	if (listing->output == CLI_JSON) {
		str_add(&listing->json, listing->count > 0 ? ",{" : "{");
		add_text(&listing->json, "deployment", deployment);
		str_add(&listing->json, "\"end\":");
		add_outcome(&listing->json, &outcome);
		str_add(&listing->json, "}");
	} else {
		AUTO_STR struct str text = {0};
		char at[STR_TIME_MAX], release[16];

		str_format_time(at, outcome.at_unix_ms);
		cli_short_digest(release, &outcome.release);
		cli_add_plain(&text, outcome.reason.text);
		printf("%-25s %-20s %-14s %-12s %s\n", at, deployment, release,
		       cli_outcomes[outcome.kind], str_get(&text));
	}
	listing->count++;
	codec_free(&codec_outcome, &outcome);
	return 0;
}

int cli_history(const struct cli_options *options, const struct agent_config *config)
{
	AUTO_FREE char *path = mem_format("%s/journal.db", config->state_dir);
	COVEY_CLEANUP(journal_close_p) struct journal *journal = NULL;
	struct listing listing = {.output = options->output};
	struct err err = {0};
	int r = journal_open_readonly(path, &journal, &err);

	if (r < 0)
		return cli_fail("%s", err_text(&err, r));
	if (options->output == CLI_TABLE)
		printf("%-25s %-20s %-14s %-12s %s\n", "ENDED", "DEPLOYMENT", "RELEASE", "OUTCOME",
		       "REASON");
	r = journal_each_history(journal, list_outcome, &listing, &err);
	if (r == 0 && options->output == CLI_JSON)
		printf("[%s]\n", str_get(&listing.json));
	str_free(&listing.json);
	return r < 0 ? cli_fail("%s", err_text(&err, r)) : CLI_OK;
}
