/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in, periods and verdicts into the judge's journal, events to the rollout's machine: all
 * in one transaction. If it fails, memory is ahead of the journal, so the judge is dropped and read
 * anew. Records lie in the store before anybody looks at them; after a restart those that belong to
 * periods which had not closed are read again.
 */
#include "coordinator/judging.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"

enum { ROWS_AT_ONCE = 1024, ENTRY_MAX = 16 << 20 };

/* ---- a judge ---- */

void judging_free(struct shell_judging *j)
{
	struct judge_entry entry = {0};

	if (!j)
		return;
	entry.start = j->start;
	codec_free(&codec_judge_entry, &entry);
	for (size_t i = 0; i < j->periods_count; i++)
		period_free(&j->periods[i]);
	build_free(&j->baseline);
	gather_free(j->gather);
	judge_free(j->judge);
	free(j->periods);
	free(j->nodes);
	free(j->clocks);
	free(j);
}
COVEY_DEFINE_CLEANUP(struct shell_judging *, judging_free)

static struct judge *new_judge(const struct shell_judging *j)
{
	struct judge_feature features[LIMIT_FEATURES];
	struct judge_frozen frozen = {&j->policy, features, j->baseline.features_count,
	                              j->start.declared};

	for (size_t i = 0; i < frozen.features_count; i++) {
		const struct baseline_feature *f = &j->baseline.features[i];

		features[i] = (struct judge_feature){
		    .name = f->name,
		    .input =
		        !str_equal(f->name, FEATURE_SCORE) && !str_equal(f->name, FEATURE_CLASS),
		    .baseline = f->counts,
		    .bins = f->counts_count,
		};
	}
	return judge_new(&frozen);
}

static int apply_start(struct shell_judging *j, const struct rollout *machine,
                       struct judge_entry *entry)
{
	const struct judge_start *start = &j->start;
	struct gather_setup setup = {.policy = &j->policy,
	                             .from = machine->from,
	                             .to = machine->to,
	                             .nodes_count = entry->start.members_count};

	if (j->sequence != 0 || !entry->start.gates_count || !entry->start.period_ms)
		return -EUCLEAN;
	j->start = entry->start;
	entry->start = (struct judge_start){0};
	if (start->baseline_body.size &&
	    baseline_decode(start->baseline_body.data, start->baseline_body.size, &j->baseline,
	                    NULL) < 0)
		return -EUCLEAN;
	memcpy(j->policy.gates, start->gates, start->gates_count * sizeof(*start->gates));
	j->policy.gates_count = start->gates_count;
	j->nodes = mem_array(start->members_count + 1, sizeof(*j->nodes));
	j->clocks = mem_array(start->members_count + 1, sizeof(*j->clocks));
	for (size_t i = 0; i < start->members_count; i++) {
		const struct judge_member *member = &start->members[i];

		j->clocks[i] = INT64_MAX;
		j->nodes[i].stratum = member->stratum;
		j->nodes[i].thresholds = member->thresholds;
		for (size_t g = 0; g < member->rates_count; g++)
			j->nodes[i].rates[g] = member->rates[g].value;
	}
	setup.baseline = start->baseline;
	setup.period_ms = start->period_ms;
	setup.thresholds = start->thresholds;
	setup.nodes = j->nodes;
	j->gather = gather_new(&setup);
	j->judge = new_judge(j);
	j->seen = j->closed_at[0] = j->closed_at[1] = entry->seen;
	return 0;
}

/* Counts that make no sense were counted as far as they do (judge_add), here as at a replay. */
static void add_period(struct shell_judging *j, struct judge_period *period, uint64_t seen)
{
	(void)!judge_add(j->judge, period, j->quarantined);
	MEM_GROW(j->periods, &j->periods_cap, j->periods_count);
	j->periods[j->periods_count++] = *period;
	*period = (struct judge_period){0};
	j->closed_at[1] = j->closed_at[0];
	j->closed_at[0] = seen;
}

static struct judge *judge_without(const struct shell_judging *j, uint64_t without)
{
	struct judge *judge = new_judge(j);

	for (size_t i = 0; i < j->periods_count; i++)
		(void)!judge_add(judge, &j->periods[i], without);
	return judge;
}

int judging_apply(struct shell_judging *j, const struct rollout *machine, struct judge_entry *entry)
{
	int r = 0;

	if ((j->sequence == 0) != (entry->kind == JUDGE_START))
		return -EUCLEAN;
	switch (entry->kind) {
	case JUDGE_START:
		r = apply_start(j, machine, entry);
		break;
	case JUDGE_FREEZE:
		gather_freeze(j->gather, &entry->thresholds);
		break;
	case JUDGE_PERIOD:
		gather_skip(j->gather, entry->period.index + 1);
		add_period(j, &entry->period, entry->seen);
		break;
	case JUDGE_VERDICT:
		j->verdict = (struct judge_verdict){entry->decision, entry->gate, ""};
		STR_CUT(j->verdict.why, entry->why);
		j->paused = j->paused || entry->decision == JUDGE_PAUSE;
		break;
	case JUDGE_QUARANTINE:
		if (entry->node >= JUDGE_NODE_ROWS)
			return -EUCLEAN;
		j->quarantined |= UINT64_C(1) << entry->node;
		judge_free(j->judge);
		j->judge = judge_without(j, j->quarantined);
		break;
	case JUDGE_ENTRY_COUNT:
	default:
		return -EUCLEAN;
	}
	j->sequence++;
	return r;
}

/* ---- the journal ---- */

struct replay {
	struct shell_judging *judging;
	const struct rollout *machine;
};

static int replay(void *arg, const struct store_judgement *row)
{
	struct replay *replay = arg;
	struct judge_entry entry;
	int r = codec_decode(&codec_judge_entry, row->entry.data, row->entry.size, &entry, NULL);

	if (r < 0 || row->sequence != replay->judging->sequence + 1)
		return -EUCLEAN;
	r = judging_apply(replay->judging, replay->machine, &entry);
	codec_free(&codec_judge_entry, &entry);
	return r;
}

/* What belongs to periods that had not closed is read again: those records were taken after the
 * last closing but one. */
int judging_read(struct coordinator *c, const struct shell_rollout *ro,
                 struct shell_judging **ret_judging, struct err *err)
{
	COVEY_CLEANUP(judging_free_p) struct shell_judging *j = mem_alloc(sizeof(*j));
	struct replay replay_arg = {j, ro->machine};
	int r = c->store->ops->judgement_each(c->store, &ro->head.id, replay, &replay_arg, err);

	if (r == -EUCLEAN)
		return err_set(err, r, "the judge's journal of the rollout of %s is damaged",
		               ro->head.deployment);
	if (r < 0)
		return r;
	j->seen = j->closed_at[1];
	*ret_judging = j->sequence ? TAKE_PTR(j) : NULL;
	return 0;
}

/* Writes the entry and applies it. */
static int append(struct rollout_batch *batch, struct shell_rollout *ro, struct judge_entry *entry)
{
	struct shell_judging *j = ro->judging;
	struct store_judgement row = {.rollout = ro->head.id, .sequence = j->sequence + 1};
	int r = rollouts_batch_open(batch);

	entry->at_ms = shell_now(batch->c);
	if (r == 0)
		r = codec_encode(&codec_judge_entry, entry, ENTRY_MAX, &row.entry, batch->err);
	if (r == 0)
		r = batch->c->store->ops->judgement_append(batch->c->store, &row, batch->err);
	free(row.entry.data);
	return r < 0 ? r : judging_apply(j, ro->machine, entry);
}

static int start(struct rollout_batch *batch, struct shell_rollout *ro)
{
	struct judge_entry entry;
	int r = judging_settle(batch->c, ro, &entry, batch->err);

	if (r < 0)
		return r;
	ro->judging = mem_alloc(sizeof(*ro->judging));
	r = append(batch, ro, &entry);
	codec_free(&codec_judge_entry, &entry);
	return r;
}

/* ---- records ---- */

uint64_t judging_ended_at(int64_t *clock, uint64_t received_ms,
                          const struct observation_record *record)
{
	uint64_t end_ms = record->start_unix_ms + record->length_ms;
	int64_t behind = (int64_t)(received_ms - end_ms);

	if (*clock > behind)
		*clock = behind; /* the fastest message tells most of the clock */
	return end_ms + (uint64_t)*clock;
}

struct taking {
	struct coordinator *c;
	struct shell_rollout *ro;
	size_t rows;
};

static int take_row(void *arg, const struct store_observation *row,
                    const struct observation_record *record)
{
	struct taking *taking = arg;
	struct shell_judging *j = taking->ro->judging;
	uint32_t node = rollout_find(taking->ro->machine, &row->node);
	int64_t clock = INT64_MAX;

	taking->rows++;
	j->seen = row->id;
	if (node < JUDGE_NODE_ROWS && (j->quarantined >> node & 1))
		return 0;
	if (node >= j->start.members_count) /* has no place in what was frozen */
		node = GATHER_JOINED;
	(void)gather_add(j->gather, node,
	                 judging_ended_at(node == GATHER_JOINED ? &clock : &j->clocks[node],
	                                  row->received_ms, record),
	                 record);
	return 0;
}

static int take_rows(struct coordinator *c, struct shell_rollout *ro, struct err *err)
{
	struct taking taking = {.c = c, .ro = ro};
	int r;

	do {
		taking.rows = 0;
		r = observations_each(c, ro->head.deployment, ro->judging->seen, ROWS_AT_ONCE,
		                      take_row, &taking, err);
	} while (r == 0 && taking.rows == ROWS_AT_ONCE);
	return r;
}

/* 1: at least one period closed. */
static int close_periods(struct rollout_batch *batch, struct shell_rollout *ro)
{
	struct shell_judging *j = ro->judging;
	struct judge_entry entry = {.kind = JUDGE_FREEZE, .seen = j->seen};
	int closed = 0, r = 0;

	if (gather_froze(j->gather, &entry.thresholds))
		r = append(batch, ro, &entry);
	entry = (struct judge_entry){.kind = JUDGE_PERIOD, .seen = j->seen};
	while (r == 0 && gather_close(j->gather, shell_now(batch->c), &entry.period)) {
		r = append(batch, ro, &entry);
		period_free(&entry.period);
		closed = 1;
	}
	return r < 0 ? r : closed;
}

/* ---- conclusions ---- */

static size_t canaries_with_rows(const struct shell_judging *j, uint32_t nodes[JUDGE_NODE_ROWS])
{
	uint64_t seen = 0;
	size_t count = 0;

	for (size_t p = 0; p < j->periods_count; p++)
		for (size_t i = 0; i < j->periods[p].rows_count; i++) {
			const struct judge_row *row = &j->periods[p].rows[i];

			if (row->cohort == COHORT_CANARY && row->node < JUDGE_NODE_ROWS)
				seen |= UINT64_C(1) << row->node;
		}
	seen &= ~j->quarantined;
	for (uint32_t i = 0; i < JUDGE_NODE_ROWS; i++)
		if (seen >> i & 1)
			nodes[count++] = i;
	return count;
}

/* The canary node that alone carries the verdict of a gate; JUDGE_NO_NODE: the release does. */
static uint32_t carrier(const struct shell_judging *j, uint32_t gate)
{
	uint32_t nodes[JUDGE_NODE_ROWS];
	size_t count = canaries_with_rows(j, nodes), found;
	struct judge *without[JUDGE_NODE_ROWS];

	if (count < 2)
		return JUDGE_NO_NODE;
	for (size_t i = 0; i < count; i++)
		without[i] = judge_without(j, j->quarantined | UINT64_C(1) << nodes[i]);
	found = judge_carrier(without, count, gate);
	for (size_t i = 0; i < count; i++)
		judge_free(without[i]);
	return found < count ? nodes[found] : JUDGE_NO_NODE;
}

static int quarantine(struct rollout_batch *batch, struct shell_rollout *ro, uint32_t node,
                      const struct judge_verdict *verdict)
{
	struct judge_entry entry = {
	    .kind = JUDGE_QUARANTINE, .seen = ro->judging->seen, .node = node};
	struct rollout_event event =
	    rollout_event_make(EVENT_QUARANTINE, shell_now(batch->c), node);
	int r = append(batch, ro, &entry);

	STR_CUT(event.why.phase, "coordinator");
	STR_CUT(event.why.check, "quarantine");
	snprintf(event.why.text, sizeof(event.why.text),
	         "this node alone carries the verdict, so it is taken back and the release is not "
	         "blamed: %s",
	         verdict->why);
	return r < 0 ? r : rollouts_batch_feed(batch, ro, &event);
}

static enum verdict verdict_of(enum judge_decision decision)
{
	switch (decision) {
	case JUDGE_HALT:
	case JUDGE_ROLL_BACK:
		return VERDICT_FAIL;
	case JUDGE_PROMOTE:
		return VERDICT_PASS;
	case JUDGE_CONTINUE:
	case JUDGE_PAUSE:
		return VERDICT_INCONCLUSIVE;
	case JUDGE_NO_EVIDENCE:
	case JUDGE_DECISION_COUNT:
	default:
		return VERDICT_NONE;
	}
}

/* A word is said once to each stage; its numbers are in `gates` of rollout show. */
static int tell(struct rollout_batch *batch, struct shell_rollout *ro,
                const struct judge_verdict *verdict, bool news)
{
	const struct rollout *machine = ro->machine;
	struct rollout_event event =
	    rollout_event_make(EVENT_GATE_VERDICT, shell_now(batch->c), ROLLOUT_NO_NODE);
	const struct shell_judging *j = ro->judging;

	STR_CUT(event.why.phase, "coordinator");
	STR_CUT(event.why.check, verdict->gate < j->policy.gates_count
	                             ? j->policy.gates[verdict->gate].metric
	                             : "evidence");
	STR_CUT(event.why.text, verdict->why);
	event.stage = (uint32_t)machine->stage;
	event.verdict = verdict_of(verdict->decision);
	if (verdict->decision == JUDGE_CONTINUE && judge_promised(j->judge))
		event.verdict = VERDICT_PROMISED;
	if (verdict->decision == JUDGE_PAUSE && news) {
		event.kind = EVENT_PAUSE;
		STR_CUT(event.why.check, "input");
	} else if (event.verdict == machine->stages[machine->stage].verdict) {
		return 0;
	}
	return rollouts_batch_feed(batch, ro, &event);
}

static int conclude(struct rollout_batch *batch, struct shell_rollout *ro)
{
	struct shell_judging *j = ro->judging;
	struct judge_entry entry = {.kind = JUDGE_VERDICT, .seen = j->seen};
	struct judge_verdict verdict;
	bool news;
	int r = 0;

	judge_look(j->judge, &verdict);
	while (verdict_of(verdict.decision) == VERDICT_FAIL) {
		uint32_t node = carrier(j, verdict.gate);

		if (node == JUDGE_NO_NODE)
			break;
		r = quarantine(batch, ro, node, &verdict);
		if (r < 0)
			return r;
		judge_look(j->judge, &verdict);
	}
	news = verdict.decision != j->verdict.decision || verdict.gate != j->verdict.gate;
	if (verdict.decision == JUDGE_PAUSE && j->paused)
		news = false; /* a person has seen it and went on */
	if (news) {
		entry.decision = verdict.decision;
		entry.gate = verdict.gate;
		STR_CUT(entry.why, verdict.why);
		r = append(batch, ro, &entry);
	}
	if (r >= 0)
		r = tell(batch, ro, &verdict, news);
	return r < 0 ? r : 0;
}

/* ---- all rollouts ---- */

static bool is_judged(const struct shell_rollout *ro)
{
	return rollouts_under_way(ro) && !ro->stale && !ro->machine->going_back;
}

static int step(struct coordinator *c, struct shell_rollout *ro, struct err *err)
{
	struct rollout_batch batch = {.c = c, .err = err};
	int r = 0, closed;

	if (!ro->judging)
		r = judging_read(c, ro, &ro->judging, err);
	if (r == 0 && !ro->judging)
		r = start(&batch, ro);
	if (r == 0)
		r = take_rows(c, ro, err);
	closed = r < 0 ? r : close_periods(&batch, ro);
	r = closed > 0 ? conclude(&batch, ro) : closed;
	r = rollouts_batch_end(&batch, r);
	if (r < 0) { /* memory is ahead of the journal */
		judging_free(ro->judging);
		ro->judging = NULL;
	}
	return r;
}

void judging_take(struct coordinator *c)
{
	uint64_t now = shell_now(c);

	for (size_t i = 0; i < c->rollouts_count && c->retry_ms == 0; i++) {
		struct shell_rollout *ro = c->rollouts[i];
		struct err err = {0};
		int r;

		if (!is_judged(ro) || (ro->judging && !c->observations_fresh &&
		                       gather_deadline(ro->judging->gather) > now))
			continue;
		r = step(c, ro, &err);
		if (r < 0)
			shell_store_failed(c, r, &err);
	}
}

uint64_t judging_deadline(const struct coordinator *c)
{
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < c->rollouts_count; i++) {
		const struct shell_rollout *ro = c->rollouts[i];
		uint64_t own = 0;

		if (!is_judged(ro))
			continue;
		if (ro->judging)
			own = gather_deadline(ro->judging->gather);
		at = own < at ? own : at;
	}
	return at;
}
