/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing down: the records that the core marked, the generation that they follow and, when a
 * change came to its end, a line of history, all in one transaction. When one fails, nobody knows
 * what is written: then everything is written once more, and until that succeeds nothing is done.
 */
#include "agent/shell.h"

#include "agent/core/backoff.h"
#include "agent/record_codec.h"
#include "base/log_ids.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

void recording_note(struct work *work, const struct deploy_outcome *last)
{
	work->last_kind = last->kind;
	work->last_at_unix_ms = last->at_unix_ms;
	work->last_release = last->release;
}

static bool is_news(const struct work *work, const struct deploy_outcome *last)
{
	return last->kind != OUTCOME_NONE &&
	       (work->last_kind != last->kind || work->last_at_unix_ms != last->at_unix_ms ||
		!digest_equal(&work->last_release, &last->release));
}

static const char *event_id(const struct deploy_outcome *last)
{
	if (last->kind == OUTCOME_COMPLETED)
		return LOG_ID_COMPLETED;
	if (last->kind == OUTCOME_FAILED)
		return LOG_ID_FAILED;
	if (last->kind != OUTCOME_ROLLED_BACK)
		return NULL;
	return str_equal(last->reason.check, "veto") ? LOG_ID_VETO : LOG_ID_ROLLED_BACK;
}

/* How a change ended is told once, here. */
static void tell_people(const struct agent *agent, const struct deploy_record *record)
{
	static const char *const words[] = {"",		  "completed", "rolled back",
					    "aborted",	  "failed",    "unreachable"};
	const struct deploy_outcome *last = &record->last;
	char hex[13], rollout[ROLLOUT_ID_TEXT_MAX] = "";
	struct log_event event = {
		.id = event_id(last),
		.level = last->kind == OUTCOME_COMPLETED ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
		.deployment = record->name,
		.release = hex,
		.rollout = rollout,
	};

	_Static_assert(ARRAY_SIZE(words) == OUTCOME_COUNT, "a word for each outcome");
	str_hex(hex, last->release.bytes, 6);
	if (!rollout_id_is_zero(&last->rollout))
		rollout_id_text(rollout, &last->rollout);
	shell_event(agent, &event, "%s: %s %s%s%s", record->name, hex, words[last->kind],
		    last->reason.text[0] != '\0' ? ": " : "", last->reason.text);
}

static int write_history(struct agent *agent, const struct deploy_record *record, struct err *err)
{
	const struct deploy_outcome *last = &record->last;
	struct outcome outcome = {.kind = last->kind,
				  .rollout = last->rollout,
				  .release = last->release,
				  .attempt = last->attempt,
				  .at_unix_ms = last->at_unix_ms};
	struct work *work = shell_work(agent, record->name);
	struct bytes bytes = {0};
	int r;

	if (!is_news(work, last))
		return 0;
	STR_CUT(outcome.reason.phase, last->reason.phase);
	STR_CUT(outcome.reason.check, last->reason.check);
	STR_CUT(outcome.reason.text, last->reason.text);
	r = codec_encode(&codec_outcome, &outcome, RECORD_ENCODED_MAX, &bytes, err);
	if (r == 0)
		r = journal_add_history(agent->journal, record->name, bytes.data, bytes.size, err);
	free(bytes.data);
	return r;
}

/* Once they are committed. */
static void note_outcomes(struct agent *agent)
{
	for (size_t i = 0; i < node_core_count(agent->core); i++) {
		const struct deploy_record *record = &node_core_at(agent->core, i)->record;

		struct work *work = shell_work(agent, record->name);

		if (is_news(work, &record->last))
			tell_people(agent, record);
		recording_note(work, &record->last);
	}
}

static int write_record(struct agent *agent, const char *name, const struct deploy_record *record,
			struct err *err)
{
	struct bytes bytes = {0};
	int r;

	if (!record)
		return journal_drop_record(agent->journal, name, err);
	r = codec_encode(&codec_deploy_record, record, RECORD_ENCODED_MAX, &bytes, err);
	if (r == 0)
		r = journal_save_record(agent->journal, name, bytes.data, bytes.size, err);
	free(bytes.data);
	if (r == 0)
		r = write_history(agent, record, err);
	return r;
}

static int write_generation(struct agent *agent, struct err *err)
{
	uint64_t epoch, generation;

	node_core_generation(agent->core, &epoch, &generation);
	return journal_save_generation(agent->journal, epoch, generation, err);
}

static int drop_unknown(void *context, const char *name, const void *data, size_t size,
			struct err *err)
{
	struct agent *agent = context;

	return node_core_find(agent->core, name) ? 0
						 : journal_drop_record(agent->journal, name, err);
}

/* After a failed commit nobody knows what is written: everything once more. */
static int write_all(struct agent *agent, struct err *err)
{
	int r = write_generation(agent, err);

	for (size_t i = 0; r == 0 && i < node_core_count(agent->core); i++) {
		const struct deploy *deploy = node_core_at(agent->core, i);

		r = write_record(agent, deploy->record.name, &deploy->record, err);
	}
	return r < 0 ? r : journal_each_record(agent->journal, drop_unknown, agent, err);
}

static int write_changes(struct agent *agent, bool *begun, struct err *err)
{
	const struct deploy_record *record;
	const char *name;
	int r = 0;

	while (r == 0 && node_core_next_dirty(agent->core, &name, &record)) {
		if (!*begun)
			r = journal_begin(agent->journal, err);
		*begun = *begun || r == 0;
		if (r == 0)
			r = write_record(agent, name, record, err);
	}
	if (r < 0 || !node_core_take_generation_dirty(agent->core))
		return r;
	if (!*begun)
		r = journal_begin(agent->journal, err);
	*begun = *begun || r == 0;
	return r < 0 ? r : write_generation(agent, err);
}

static int write_transaction(struct agent *agent, struct err *err)
{
	bool begun = false;
	int r;

	if (agent->journal_broken) {
		r = journal_begin(agent->journal, err);
		begun = r == 0;
		if (r == 0)
			r = write_all(agent, err);
	} else {
		r = 0;
	}
	if (r == 0)
		r = write_changes(agent, &begun, err);
	if (!begun)
		return r;
	if (r < 0) {
		journal_abandon(agent->journal);
		return r;
	}
	r = journal_commit(agent->journal, err);
	if (r == 0)
		note_outcomes(agent);
	return r;
}

/* False: not written, so nothing may be done about it yet. */
bool recording_write(struct agent *agent)
{
	struct err err = {0};
	int r;

	if (agent->journal_broken && agent_now(agent) < agent->journal_at_ms)
		return false;
	r = write_transaction(agent, &err);
	if (r < 0) {
		agent->journal_broken = true;
		agent->journal_failures++;
		agent->journal_at_ms =
			agent_now(agent) + backoff_ms(SHELL_RETRY_MIN_MS, SHELL_RETRY_MAX_MS,
						      agent->journal_failures,
						      agent->world->random(agent->world->context));
		shell_event(agent,
			    &(struct log_event){.id = LOG_ID_NO_JOURNAL, .level = LOG_LEVEL_ERR},
			    "%s: nothing is changed until it can be written", err_text(&err, r));
		return false;
	}
	if (agent->journal_broken)
		shell_log(agent, LOG_LEVEL_INFO, "the journal can be written again");
	agent->journal_broken = false;
	agent->journal_failures = 0;
	node_core_generation(agent->core, &agent->epoch, &agent->generation);
	return true;
}
