/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rollouts' machines inside the shell. Each is its seed (what it was created from) and its
 * journal; an event reaches a machine only through the journal. Several events may share a
 * transaction: nothing is done outside before that is committed, and if it cannot be committed the
 * machines that were touched are read anew from the store.
 */
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/core/record.h"
#include "protocol/codec_fields.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#define THIS struct rollout_seed
static const struct codec_field rollout_seed_fields[] = {
	F_U64(1, attempt),
	F_U64(2, created_ms),
	F_U32(3, spare),
	F_STRUCT(4, plan, plan),
};
CODEC_STRUCT(rollout_seed);
#undef THIS

/* ---- questions ---- */

bool rollouts_under_way(const struct shell_rollout *ro)
{
	return !rollout_state_is_final(ro->machine->state);
}

struct shell_rollout *rollouts_of(const struct coordinator *c, const char *deployment)
{
	for (size_t i = 0; i < c->rollouts_count; i++) {
		if (str_equal(c->rollouts[i]->head.deployment, deployment))
			return c->rollouts[i];
	}
	return NULL;
}

struct shell_rollout *rollouts_find(const struct coordinator *c, const struct rollout_id *id)
{
	for (size_t i = 0; i < c->rollouts_count; i++) {
		if (rollout_id_equal(&c->rollouts[i]->head.id, id))
			return c->rollouts[i];
	}
	return NULL;
}

const struct rollout **rollouts_machines(const struct coordinator *c, struct shell_rollout ***ret,
					 size_t *ret_count)
{
	const struct rollout **machines = mem_array(c->rollouts_count + 1, sizeof(*machines));
	size_t count = 0;

	if (ret)
		*ret = mem_array(c->rollouts_count + 1, sizeof(**ret));
	for (size_t i = 0; i < c->rollouts_count; i++) {
		if (!rollouts_under_way(c->rollouts[i]))
			continue;
		if (ret)
			(*ret)[count] = c->rollouts[i];
		machines[count++] = c->rollouts[i]->machine;
	}
	*ret_count = count;
	return machines;
}

/* ---- reading ---- */

void rollouts_unload(struct shell_rollout *ro)
{
	deployment_spec_free(&ro->spec);
	judging_free(ro->judging);
	if (ro->machine)
		rollout_free(ro->machine);
	free(ro->effects.goals);
	free(ro);
}

static int take_record(void *arg, const struct store_rollout *record)
{
	struct shell_rollout *ro = arg;
	struct rollout_seed seed;
	int r = codec_decode(&codec_deployment_spec, record->spec.data, record->spec.size,
			     &ro->spec, NULL);

	if (r < 0)
		return -EUCLEAN;
	r = codec_decode(&codec_rollout_seed, record->snapshot.data, record->snapshot.size, &seed,
			 NULL);
	if (r < 0)
		return -EUCLEAN;
	ro->head = *record;
	ro->head.spec = ro->head.snapshot = (struct bytes){0};
	ro->machine = rollout_new(&record->id, &ro->spec, &seed.plan, &record->from, seed.attempt,
				  seed.created_ms, seed.spare);
	ro->effects.goals = mem_array(ro->machine->nodes_capacity + 1, sizeof(*ro->effects.goals));
	codec_free(&codec_rollout_seed, &seed);
	return 0;
}

struct shell_rollout *rollouts_create(const struct store_rollout *record)
{
	COVEY_CLEANUP(rollouts_unload_p) struct shell_rollout *ro = mem_alloc(sizeof(*ro));

	return take_record(ro, record) == 0 ? TAKE_PTR(ro) : NULL;
}

static int replay(void *arg, const struct store_journal *entry)
{
	struct shell_rollout *ro = arg;
	struct rollout_event event;
	int r = codec_decode(&codec_rollout_event, entry->event.data, entry->event.size, &event,
			     NULL);

	if (r < 0 || entry->sequence != ro->sequence + 1)
		return -EUCLEAN;
	rollout_apply(ro->machine, &event);
	codec_free(&codec_rollout_event, &event);
	ro->sequence = entry->sequence;
	return 0;
}

int rollouts_read(struct coordinator *c, const struct rollout_id *id,
		  struct shell_rollout **ret_rollout, struct err *err)
{
	COVEY_CLEANUP(rollouts_unload_p) struct shell_rollout *ro = mem_alloc(sizeof(*ro));
	char text[ROLLOUT_ID_TEXT_MAX];
	int r = c->store->ops->rollout_get(c->store, id, take_record, ro, err);

	if (r == 0)
		r = c->store->ops->journal_each(c->store, id, replay, ro, err);
	rollout_id_text(text, id);
	if (r == -EUCLEAN)
		return err_set(err, r, "the journal of rollout %s is damaged", text);
	if (r < 0)
		return err_prefix(err, r, "rollout %s", text);
	*ret_rollout = TAKE_PTR(ro);
	return 0;
}

static int load_head(void *arg, const struct store_rollout *record)
{
	struct coordinator *c = arg;

	MEM_GROW(c->history, &c->history_cap, c->history_count);
	c->history[c->history_count] = *record;
	c->history[c->history_count].spec = (struct bytes){0};
	c->history[c->history_count++].snapshot = (struct bytes){0};
	c->rollout_number = record->number;
	return 0;
}

void rollouts_adopt(struct coordinator *c, struct shell_rollout *ro)
{
	for (size_t i = 0; i < c->rollouts_count; i++) {
		if (str_equal(c->rollouts[i]->head.deployment, ro->head.deployment)) {
			rollouts_unload(c->rollouts[i]);
			c->rollouts[i] = ro;
			return;
		}
	}
	MEM_GROW(c->rollouts, &c->rollouts_cap, c->rollouts_count);
	c->rollouts[c->rollouts_count++] = ro;
}

void rollouts_drop(struct coordinator *c, const char *deployment)
{
	for (size_t i = 0; i < c->rollouts_count; i++) {
		if (!str_equal(c->rollouts[i]->head.deployment, deployment))
			continue;
		rollouts_unload(c->rollouts[i]);
		c->rollouts[i] = c->rollouts[--c->rollouts_count];
		return;
	}
}

/* The newest rollout of every deployment that exists. */
int rollouts_load(struct coordinator *c, struct err *err)
{
	int r = c->store->ops->rollout_each(c->store, NULL, load_head, c, err);

	for (size_t i = c->history_count; r == 0 && i-- > 0;) {
		const struct store_rollout *head = &c->history[i];
		struct shell_rollout *ro;

		if (!deployments_find(c, head->deployment) || rollouts_of(c, head->deployment))
			continue;
		r = rollouts_read(c, &head->id, &ro, err);
		if (r < 0)
			return r;
		rollouts_adopt(c, ro);
		if (ro->machine->now_ms > shell_now(c))
			c->time_offset_ms += ro->machine->now_ms - shell_now(c);
	}
	return r;
}

void rollouts_free_all(struct coordinator *c)
{
	for (size_t i = 0; i < c->rollouts_count; i++)
		rollouts_unload(c->rollouts[i]);
	free(c->rollouts);
	free(c->history);
}

/* ---- feeding ---- */

int rollouts_journal(struct coordinator *c, const struct shell_feed *feed, struct err *err)
{
	struct store_journal entry = {.rollout = feed->rollout->head.id,
				      .sequence = feed->rollout->sequence + 1,
				      .at_ms = feed->event.at_ms};
	int r = codec_encode(&codec_rollout_event, &feed->event, LIMIT_AGENT_MESSAGE, &entry.event,
			     err);

	if (r == 0)
		r = c->store->ops->journal_append(c->store, &entry, err);
	free(entry.event.data);
	return r;
}

static void log_notes(struct coordinator *c, const struct shell_rollout *ro)
{
	const struct rollout *machine = ro->machine;

	for (size_t i = 0; i < machine->notes_count; i++) {
		const struct rollout_note *note = &machine->notes[i];
		const struct shell_node *node = NULL;

		if (note->node < machine->nodes_count)
			node = agents_find(c, &machine->nodes[note->node].id);
		events_add(c, rollout_note_name(note->kind), ro->head.deployment, &ro->head.id,
			   node ? node->record.name : NULL, "%s", note->text);
	}
}

void rollouts_apply(struct coordinator *c, const struct shell_feed *feed)
{
	rollout_apply(feed->rollout->machine, &feed->event);
	feed->rollout->sequence++;
	log_notes(c, feed->rollout);
	c->dirty = true;
	c->unsettled = true;
	c->change++;
}

int rollouts_batch_open(struct rollout_batch *batch)
{
	int r = batch->open ? 0 : shell_begin(batch->c, batch->err);

	batch->open |= r == 0;
	return r;
}

int rollouts_batch_feed(struct rollout_batch *batch, struct shell_rollout *ro,
			const struct rollout_event *event)
{
	struct shell_feed feed = {.rollout = ro, .event = *event};
	int r;

	if (ro->stale || !rollout_admits(ro->machine, event, NULL))
		return 0;
	r = rollouts_batch_open(batch);
	if (r == 0)
		r = rollouts_journal(batch->c, &feed, batch->err);
	if (r < 0)
		return r;
	ro->touched = true;
	rollouts_apply(batch->c, &feed);
	return 1;
}

/* Reads what a failed transaction touched anew. Until that works the machine is stale and nothing
 * is decided from it. */
int rollouts_reread(struct coordinator *c, struct err *err)
{
	for (size_t i = 0; i < c->rollouts_count; i++) {
		struct shell_rollout *ro = c->rollouts[i], *fresh;
		int r;

		if (!ro->stale)
			continue;
		r = rollouts_read(c, &ro->head.id, &fresh, err);
		if (r < 0)
			return r;
		rollouts_unload(ro);
		c->rollouts[i] = fresh;
	}
	return 0;
}

int rollouts_batch_end(struct rollout_batch *batch, int r)
{
	struct coordinator *c = batch->c;

	if (batch->open)
		r = shell_end(c, r < 0 ? r : 0, batch->err);
	for (size_t i = 0; i < c->rollouts_count; i++) {
		c->rollouts[i]->stale |= r < 0 && c->rollouts[i]->touched;
		c->rollouts[i]->touched = false;
	}
	batch->open = false;
	if (r < 0)
		c->machines_before = SIZE_MAX;
	return r;
}

int rollouts_feed(struct coordinator *c, struct shell_rollout *ro,
		  const struct rollout_event *event, struct err *err)
{
	struct rollout_batch batch = {.c = c, .err = err};
	int fed = rollouts_batch_feed(&batch, ro, event);
	int r = rollouts_batch_end(&batch, fed);

	return r < 0 ? r : fed;
}

static const struct deployment_report *report_of(const struct node_status *status,
						 const char *deployment)
{
	for (size_t i = 0; i < status->deployments_count; i++) {
		if (str_equal(status->deployments[i].deployment, deployment))
			return &status->deployments[i];
	}
	return NULL;
}

/* A current status that does not mention a deployment says something too: nothing is there. */
size_t rollouts_of_status(struct coordinator *c, const struct shell_node *node,
			  const struct node_status *status, bool current, struct shell_feed *feeds,
			  size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < c->rollouts_count && count < max; i++) {
		struct shell_rollout *ro = c->rollouts[i];
		const struct deployment_report *report = report_of(status, ro->head.deployment);
		uint32_t index;

		if (ro->stale || (!report && !current))
			continue;
		index = rollout_find(ro->machine, &node->record.id);
		if (index == ROLLOUT_NO_NODE)
			continue;
		feeds[count].rollout = ro;
		feeds[count].event = rollout_event_report(shell_now(c), index, report, current);
		count += rollout_admits(ro->machine, &feeds[count].event, NULL);
	}
	return count;
}
