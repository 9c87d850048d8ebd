/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random walks, from seeds. Two kinds: chaos feeds arbitrary events, to show that the machine is
 * total and keeps its promises whatever it hears; the fleet walk has nodes that behave like agents
 * (with faults), operators who meddle and a coordinator that crashes and replays its journal. After
 * the faults comes a quiet phase in which every rollout must end within a bounded virtual time.
 * COVEY_WALK_SEEDS=n runs more seeds, COVEY_WALK_SEED=n one of them, with a trace;
 * COVEY_WALK_CROWD=n measures a rollout of n nodes.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "coordinator/core/fleet.h"
#include "coordinator/core/invariants.h"
#include "trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

enum { OLD = 1, NEW = 2, WALK_NODES_MAX = 40, STEPS = 600, HOUR_MS = 3600000 };

struct agent {
	struct rollout_goal told;	/* that it knows */
	uint64_t generation, newest;	/* that it knows; that was made for it */
	struct rollout_goal made;
	enum node_state state;
	int serving;
	bool staged, proven, healthy, ours, dead, cut;
	uint64_t attempt, veto, bake_end_ms;
};

struct walk {
	struct rng rng;
	struct deployment_spec spec;
	struct plan plan;
	struct digest from, to;
	struct rollout *rollout;
	struct invariants *seen;
	struct rollout_event *journal;
	size_t journal_count, journal_cap;
	struct agent agents[WALK_NODES_MAX + 8];
	uint64_t now_ms, seed, digest;
	size_t spare;
	bool verbose, bad_release, quiet;
	uint64_t outcomes[ROLLOUT_STATE_COUNT];
};

static bool chance(struct walk *w, uint64_t percent)
{
	return rng_below(&w->rng, 100) < percent;
}

static void fail_walk(const struct walk *w, const char *text)
{
	fail_msg("seed %llu, state %s: %s", (unsigned long long)w->seed,
		 rollout_state_name(w->rollout->state), text);
}

/* ---- creation ---- */

static struct share random_share(struct walk *w)
{
	struct share share = {.percent = chance(w, 50)};

	share.value = (uint32_t)(share.percent ? 5 + rng_below(&w->rng, 60)
					       : 1 + rng_below(&w->rng, 4));
	return share;
}

static void random_spec(struct walk *w)
{
	struct deployment_spec *spec = &w->spec;

	deployment_spec_defaults(spec);
	STR_CUT(spec->name, "ocr");
	STR_CUT(spec->selector, "all");
	spec->release = w->to;
	spec->strategy = (enum strategy_kind)rng_below(&w->rng, STRATEGY_COUNT);
	spec->stages[0].nodes = random_share(w);
	spec->stages[0].bake_ms = rng_below(&w->rng, 600000);
	spec->batch = random_share(w);
	spec->batch_bake_ms = rng_below(&w->rng, 120000);
	spec->promote = chance(w, 50) ? PROMOTE_MANUAL : PROMOTE_AUTO;
	spec->max_unavailable = random_share(w);
	if (chance(w, 40)) {
		STR_CUT(spec->per_label, "site");
		spec->per_label_nodes = 1 + (uint32_t)rng_below(&w->rng, 2);
	}
	spec->failures.nodes = (uint32_t)rng_below(&w->rng, 4);
	spec->failures.percent = chance(w, 30) ? (uint32_t)rng_below(&w->rng, 60) : 0;
	spec->failures.unreachable = random_share(w);
	spec->on_inconclusive = (enum inconclusive_kind)rng_below(&w->rng, INCONCLUSIVE_COUNT);
	if (chance(w, 20)) {
		spec->gates = mem_array(1, sizeof(*spec->gates));
		spec->gates_count = 1;
		spec->gates[0] = (struct gate_spec){.require = GATE_EVIDENCE,
						    .min_bake_ms = rng_below(&w->rng, 100000),
						    .deadline_ms = rng_below(&w->rng, 900000)};
	}
}

static struct rollout *new_rollout(const struct walk *w)
{
	struct rollout_id id = {{9}};

	return rollout_new(&id, &w->spec, &w->plan, &w->from, 1, 1000, w->spare);
}

static void walk_begin(struct walk *w, uint64_t seed, bool verbose)
{
	static const char *const sites[] = {"a", "b", "c", "d"};
	struct fleet_node nodes[WALK_NODES_MAX] = {0};
	struct label labels[WALK_NODES_MAX] = {0};
	struct err err = {0};
	size_t count;

	*w = (struct walk){.rng = {.state = seed}, .seed = seed, .now_ms = 1000, .spare = 3,
			   .verbose = verbose, .to = trace_digest(NEW)};
	w->from = trace_digest(chance(w, 20) ? 0 : OLD);
	w->bad_release = chance(w, 40);
	random_spec(w);
	count = 1 + rng_below(&w->rng, WALK_NODES_MAX);
	for (size_t i = 0; i < count; i++) {
		STR_CUT(labels[i].key, "site");
		STR_CUT(labels[i].value, sites[rng_below(&w->rng, 4)]);
		nodes[i] = (struct fleet_node){.id = trace_node_id((uint32_t)i + 1),
					       .labels = &labels[i],
					       .labels_count = 1,
					       .reachable = chance(w, 90),
					       .release = chance(w, 5) ? w->to : w->from};
	}
	assert_int_equal(plan_make(&w->spec, nodes, count, &w->plan, &err), 0);
	w->rollout = new_rollout(w);
	w->seen = invariants_new(w->rollout);
	for (size_t i = 0; i < ARRAY_SIZE(w->agents); i++) {
		struct agent *a = &w->agents[i];
		bool already = i < count && w->plan.nodes[i].already;

		a->serving = already ? NEW : digest_is_zero(&w->from) ? 0 : OLD;
		a->state = a->serving ? NODE_STATE_SERVING : NODE_STATE_PENDING;
		a->healthy = a->serving != 0;
		a->cut = i < count && !w->plan.nodes[i].reachable;
	}
}

static void walk_end(struct walk *w)
{
	free(w->journal);
	rollout_free(w->rollout);
	invariants_free(w->seen);
	plan_free(&w->plan);
	deployment_spec_free(&w->spec);
}

/* ---- the coordinator's side ---- */

static void make_goals(struct walk *w)
{
	for (uint32_t i = 0; i < w->rollout->nodes_count; i++) {
		struct agent *a = &w->agents[i];
		struct rollout_goal goal;

		rollout_goal(w->rollout, i, &goal);
		if (goal.goal == a->made.goal && goal.revert == a->made.revert &&
		    goal.attempt == a->made.attempt && goal.owned == a->made.owned)
			continue;
		a->made = goal;
		a->newest++;
	}
}

static bool feed(struct walk *w, const struct rollout_event *event)
{
	struct err err = {0};

	if (!rollout_admits(w->rollout, event, NULL)) {
		uint64_t before = rollout_hash(w->rollout);

		if (!chance(w, 2))
			return false;
		rollout_apply(w->rollout, event); /* total: changes nothing */
		assert_int_equal(before, rollout_hash(w->rollout));
		return false;
	}
	MEM_GROW(w->journal, &w->journal_cap, w->journal_count);
	w->journal[w->journal_count++] = *event;
	rollout_apply(w->rollout, event);
	if (w->verbose)
		printf("%9llu %-16s node %2d state %-12s -> %s stage %zu\n",
		       (unsigned long long)w->now_ms, rollout_event_name(event->kind),
		       (int)event->node,
		       event->kind == EVENT_NODE_REPORT ? (const char *[]){
#define X(name, text) text,
			       NODE_STATES(X)
#undef X
		       }[event->state] : "",
		       rollout_state_name(w->rollout->state), w->rollout->stage);
	if (invariants_check(w->seen, w->rollout, &err) < 0)
		fail_walk(w, err.text);
	if (str_equal(rollout_state_waits(w->rollout->state), "deadline") && !w->rollout->frozen &&
	    !w->rollout->window_closed && rollout_deadline(w->rollout) == UINT64_MAX)
		fail_walk(w, "it waits for a deadline that there is not");
	w->digest = w->digest * 31 + rollout_hash(w->rollout);
	make_goals(w);
	return true;
}

static void feed_kind(struct walk *w, enum rollout_event_kind kind, uint32_t node)
{
	struct rollout_event event = rollout_event_make(kind, w->now_ms, node);

	feed(w, &event);
}

static void pass_time(struct walk *w, uint64_t ms)
{
	uint64_t end = w->now_ms + ms;

	for (;;) {
		uint64_t deadline = rollout_deadline(w->rollout);
		struct rollout_event tick;

		if (deadline > end)
			break;
		w->now_ms = deadline > w->now_ms ? deadline : w->now_ms;
		tick = rollout_event_make(EVENT_TICK, w->now_ms, ROLLOUT_NO_NODE);
		if (!feed(w, &tick))
			fail_walk(w, "the tick at the deadline is not admitted");
		if (rollout_deadline(w->rollout) <= w->now_ms)
			fail_walk(w, "the deadline does not move on");
	}
	w->now_ms = end;
}

/* The coordinator is killed; its journal is all that is left. */
static void crash(struct walk *w)
{
	struct rollout *again = new_rollout(w);

	for (size_t i = 0; i < w->journal_count; i++)
		rollout_apply(again, &w->journal[i]);
	if (rollout_hash(again) != rollout_hash(w->rollout))
		fail_walk(w, "the replay differs");
	rollout_free(w->rollout);
	w->rollout = again;
}

/* ---- the agents' side ---- */

static void go_back(struct walk *w, struct agent *a, enum node_state state)
{
	a->serving = digest_is_zero(&w->from) ? 0 : OLD;
	a->healthy = a->serving != 0;
	a->state = state;
}

static void fail_agent(struct walk *w, struct agent *a)
{
	go_back(w, a, NODE_STATE_ROLLED_BACK);
	a->attempt = a->veto = a->told.attempt;
	a->ours = true;
	if (!w->quiet && chance(w, 10)) { /* the rollback target is gone as well */
		a->state = NODE_STATE_FAILED;
		a->healthy = false;
	}
}

static void act_serve(struct walk *w, struct agent *a)
{
	bool bad = w->bad_release ? chance(w, 20) : !w->quiet && chance(w, 1);

	a->ours = true;
	a->attempt = a->told.attempt;
	if (a->serving == NEW && a->state == NODE_STATE_SERVING) {
		a->healthy = w->quiet || !chance(w, 1);
	} else if (a->serving == NEW && a->state == NODE_STATE_BAKING) {
		if (bad)
			fail_agent(w, a);
		else if (w->now_ms >= a->bake_end_ms)
			a->state = NODE_STATE_SERVING;
	} else if (a->veto >= a->told.attempt) {
		a->state = NODE_STATE_ROLLED_BACK;
	} else if (!a->staged) {
		a->staged = true;
		a->state = NODE_STATE_STAGED;
	} else if (a->state != NODE_STATE_STARTING) {
		a->state = NODE_STATE_STARTING;
	} else if (bad) {
		fail_agent(w, a);
	} else {
		a->serving = NEW;
		a->healthy = a->proven = true;
		a->state = NODE_STATE_BAKING;
		a->bake_end_ms = w->now_ms + a->told.bake_ms;
	}
}

static void act(struct walk *w, struct agent *a)
{
	if (a->dead)
		return;
	if (a->told.revert) {
		a->ours = true;
		a->attempt = a->told.attempt;
		go_back(w, a, NODE_STATE_ROLLED_BACK);
		if (!w->quiet && chance(w, 3)) {
			a->state = NODE_STATE_FAILED;
			a->healthy = false;
		}
		return;
	}
	switch (a->told.goal) {
	case GOAL_NONE:
		return;
	case GOAL_FETCH:
	case GOAL_PREPARE:
		if (a->veto >= a->told.attempt || a->serving == NEW)
			return;
		a->ours = true;
		a->attempt = a->told.attempt;
		if (chance(w, 1) && !w->quiet) {
			fail_agent(w, a);
			return;
		}
		a->staged = true;
		a->proven = a->told.goal == GOAL_PREPARE;
		a->state = NODE_STATE_STAGED;
		return;
	case GOAL_SERVE:
		act_serve(w, a);
		return;
	case GOAL_COUNT:
		break;
	}
}

static void report(struct walk *w, uint32_t i)
{
	const struct agent *a = &w->agents[i];
	struct deployment_report report = {.state = a->state,
					   .attempt = a->attempt,
					   .staged = a->staged,
					   .proven = a->proven,
					   .healthy = a->healthy};
	struct rollout_event event;

	if (a->dead || a->cut)
		return;
	report.release = trace_digest((uint8_t)a->serving);
	report.target = w->to;
	if (a->ours)
		report.rollout = w->rollout->id;
	event = rollout_event_report(w->now_ms, i, &report, a->generation == a->newest);
	feed(w, &event);
}

static void deliver(struct agent *a)
{
	if (a->dead || a->cut)
		return;
	a->told = a->made;
	a->generation = a->newest;
}

/* ---- the walk ---- */

static void meddle(struct walk *w)
{
	static const enum rollout_event_kind kinds[] = {
		EVENT_PAUSE,  EVENT_RESUME,   EVENT_RESUME,	   EVENT_PROMOTE, EVENT_PROMOTE,
		EVENT_RETRY,  EVENT_FREEZE,   EVENT_UNFREEZE,	   EVENT_UNFREEZE,
		EVENT_WINDOW_CLOSED, EVENT_WINDOW_OPEN, EVENT_WINDOW_OPEN};
	enum rollout_event_kind kind = kinds[rng_below(&w->rng, ARRAY_SIZE(kinds))];

	if (chance(w, 1))
		kind = EVENT_ABORT;
	if (chance(w, 2))
		kind = EVENT_PROMOTE_FULL;
	feed_kind(w, kind, ROLLOUT_NO_NODE);
}

static void judge(struct walk *w)
{
	struct rollout_event e = rollout_event_make(EVENT_GATE_VERDICT, w->now_ms, ROLLOUT_NO_NODE);

	e.stage = (uint32_t)w->rollout->stage;
	e.verdict = w->bad_release && chance(w, 10) ? VERDICT_FAIL
		    : chance(w, 50)		    ? VERDICT_PASS
						    : VERDICT_INCONCLUSIVE;
	feed(w, &e);
}

static void join_or_leave(struct walk *w, uint32_t i)
{
	struct rollout_event e = rollout_event_make(EVENT_NODE_JOINED, w->now_ms, ROLLOUT_NO_NODE);

	if (chance(w, 50)) {
		feed_kind(w, EVENT_NODE_GONE, i);
		return;
	}
	e.id = chance(w, 50) ? w->rollout->nodes[i].id
			     : trace_node_id(500 + (uint32_t)rng_below(&w->rng, 8));
	e.reachable = true;
	STR_CUT(e.group, "e");
	feed(w, &e);
}

static void step(struct walk *w)
{
	uint32_t i = (uint32_t)rng_below(&w->rng, w->rollout->nodes_count);
	struct agent *a = &w->agents[i];
	uint64_t dice = rng_below(&w->rng, 100);

	if (dice < 25) {
		deliver(a);
	} else if (dice < 55) {
		act(w, a);
		if (chance(w, 80)) /* else the report is lost, the next one says it all */
			report(w, i);
	} else if (dice < 65) {
		report(w, i);
	} else if (dice < 85) {
		pass_time(w, rng_below(&w->rng, 60000));
	} else if (dice < 88) {
		a->cut = !a->cut;
	} else if (dice < 93) {
		feed_kind(w, a->cut || a->dead ? EVENT_NODE_UNREACHABLE : EVENT_NODE_REACHABLE, i);
	} else if (dice < 95) {
		meddle(w);
	} else if (dice < 96) {
		judge(w);
	} else if (dice < 97) {
		join_or_leave(w, i);
	} else if (dice < 98) {
		a->dead = chance(w, 10);
	} else if (chance(w, 20)) {
		crash(w);
	}
}

static bool has_ended(const struct rollout *r)
{
	return rollout_state_is_final(r->state) || r->state == ROLLOUT_STUCK;
}

/* Nothing fails any more except what is dead; somebody answers the questions. */
static void quiet_round(struct walk *w)
{
	feed_kind(w, EVENT_UNFREEZE, ROLLOUT_NO_NODE);
	feed_kind(w, EVENT_WINDOW_OPEN, ROLLOUT_NO_NODE);
	if (w->rollout->state == ROLLOUT_PAUSED)
		feed_kind(w, EVENT_PROMOTE, ROLLOUT_NO_NODE);
	for (uint32_t i = 0; i < w->rollout->nodes_count; i++) {
		struct agent *a = &w->agents[i];

		a->cut = false;
		feed_kind(w, a->dead ? EVENT_NODE_UNREACHABLE : EVENT_NODE_REACHABLE, i);
		deliver(a);
		act(w, a);
		report(w, i);
	}
	pass_time(w, 30000);
}

static uint64_t walk(uint64_t seed, bool verbose, uint64_t outcomes[ROLLOUT_STATE_COUNT])
{
	struct walk w;
	uint64_t digest, quiet_since;

	walk_begin(&w, seed, verbose);
	make_goals(&w);
	feed_kind(&w, EVENT_START, ROLLOUT_NO_NODE);
	for (size_t i = 0; i < STEPS; i++)
		step(&w);
	w.quiet = true;
	quiet_since = w.now_ms;
	while (!has_ended(w.rollout)) {
		quiet_round(&w);
		if (w.now_ms > quiet_since + 30 * (uint64_t)HOUR_MS)
			fail_walk(&w, "it does not end");
	}
	if (w.rollout->state != ROLLOUT_COMPLETED && w.rollout->why.text[0] == '\0')
		fail_walk(&w, "it ended without a reason");
	outcomes[w.rollout->state]++;
	crash(&w);
	digest = w.digest;
	walk_end(&w);
	return digest;
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	uint64_t value;

	return text && str_parse_u64(text, UINT64_MAX, &value) == 0 ? value : otherwise;
}

static void test_fleet_walks(void **state)
{
	uint64_t seeds = from_env("COVEY_WALK_SEEDS", 600), one = from_env("COVEY_WALK_SEED", 0);
	uint64_t outcomes[ROLLOUT_STATE_COUNT] = {0};

	if (one) {
		walk(one, true, outcomes);
		return;
	}
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		uint64_t digest = walk(seed, false, outcomes);

		if (seed % 50 == 0) /* determinism is itself tested */
			assert_int_equal(digest, walk(seed, false, outcomes));
	}
	for (enum rollout_state s = 0; s < ROLLOUT_STATE_COUNT; s++)
		if (outcomes[s])
			print_message("  %s: %llu\n", rollout_state_name(s),
				      (unsigned long long)outcomes[s]);
	assert_true(outcomes[ROLLOUT_COMPLETED] && outcomes[ROLLOUT_ROLLED_BACK] &&
		    outcomes[ROLLOUT_ABORTED] && outcomes[ROLLOUT_STUCK]);
}

/* ---- chaos ---- */

static struct rollout_event random_event(struct walk *w)
{
	struct rollout_event e = rollout_event_make(
		(enum rollout_event_kind)rng_below(&w->rng, EVENT_COUNT), w->now_ms,
		(uint32_t)rng_below(&w->rng, w->rollout->nodes_count + 2));

	if (chance(w, 60))
		e.kind = EVENT_NODE_REPORT;
	if (chance(w, 10))
		e.node = ROLLOUT_NO_NODE;
	e.state = (enum node_state)rng_below(&w->rng, NODE_STATE_COUNT + 1);
	e.release = trace_digest((uint8_t)rng_below(&w->rng, 4));
	e.target = trace_digest((uint8_t)rng_below(&w->rng, 4));
	if (chance(w, 70))
		e.rollout = w->rollout->id;
	e.attempt = rng_below(&w->rng, 4);
	e.staged = chance(w, 80);
	e.proven = chance(w, 70);
	e.healthy = chance(w, 80);
	e.current = chance(w, 60);
	e.stage = (uint32_t)rng_below(&w->rng, w->rollout->stages_count + 1);
	e.verdict = (enum verdict)rng_below(&w->rng, VERDICT_COUNT + 1);
	if ((e.kind == EVENT_ABORT || e.kind == EVENT_SUPERSEDE || e.verdict == VERDICT_FAIL) &&
	    chance(w, 95))
		e.kind = EVENT_TICK; /* or every walk is short */
	e.id = trace_node_id(1 + (uint32_t)rng_below(&w->rng, 50));
	e.reachable = chance(w, 80);
	return e;
}

static void test_chaos(void **state)
{
	for (uint64_t seed = 1; seed <= from_env("COVEY_WALK_SEEDS", 600); seed++) {
		struct walk w;

		walk_begin(&w, seed + 1000000, false);
		feed_kind(&w, EVENT_START, ROLLOUT_NO_NODE);
		for (size_t i = 0; i < 400 && w.rollout->nodes_count < WALK_NODES_MAX; i++) {
			struct rollout_event e = random_event(&w);

			feed(&w, &e);
			if (chance(&w, 30))
				pass_time(&w, rng_below(&w.rng, 300000));
		}
		crash(&w);
		walk_end(&w);
	}
}

/* ---- size ---- */

struct crowd {
	struct rollout *rollout;
	struct rollout_goal *known;
	struct rollout_effects effects;
	size_t events;
};

static void crowd_feed(struct crowd *c, const struct rollout_event *e)
{
	if (rollout_admits(c->rollout, e, NULL)) {
		rollout_apply(c->rollout, e);
		c->events++;
	}
}

static void crowd_report(struct crowd *c, uint32_t node, uint64_t now_ms, enum node_state state)
{
	struct deployment_report report = {.state = state, .attempt = 1, .staged = true,
					   .proven = true, .healthy = true};
	struct rollout_event e;

	report.rollout = c->rollout->id;
	report.target = c->rollout->to;
	report.release = state == NODE_STATE_STAGED ? c->rollout->from : c->rollout->to;
	e = rollout_event_report(now_ms, node, &report, true);
	crowd_feed(c, &e);
}

static uint64_t crowd_round(struct crowd *c, uint64_t now_ms)
{
	struct rollout_event tick = rollout_event_make(EVENT_TICK, now_ms, ROLLOUT_NO_NODE);

	crowd_feed(c, &tick);
	rollout_decide(c->rollout, now_ms, &c->effects);
	for (uint32_t i = 0; i < c->rollout->nodes_count; i++) {
		const struct rollout_node *n = &c->rollout->nodes[i];

		if (c->effects.goals[i].goal == GOAL_FETCH)
			crowd_report(c, i, now_ms, NODE_STATE_STAGED);
		else if (c->effects.goals[i].goal == GOAL_SERVE)
			crowd_report(c, i, now_ms,
				     n->state == NODE_STATE_STAGED ? NODE_STATE_BAKING
								   : NODE_STATE_SERVING);
	}
	return now_ms + 30000;
}

static double crowd_run(size_t count)
{
	struct fleet_node *nodes = mem_array(count, sizeof(*nodes));
	struct deployment_spec spec;
	struct plan plan;
	struct rollout_id id = {{1}};
	struct digest from = trace_digest(OLD);
	struct crowd c = {0};
	struct rollout_event start;
	struct timespec a, b;
	uint64_t now_ms = 1000;

	deployment_spec_defaults(&spec);
	STR_CUT(spec.name, "ocr");
	STR_CUT(spec.selector, "all");
	spec.release = trace_digest(NEW);
	for (size_t i = 0; i < count; i++)
		nodes[i] = (struct fleet_node){
			.id = trace_node_id((uint32_t)i + 1), .reachable = true, .release = from};
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	assert_int_equal(plan_make(&spec, nodes, count, &plan, NULL), 0);
	c.rollout = rollout_new(&id, &spec, &plan, &from, 1, now_ms, 0);
	c.effects.goals = mem_array(count, sizeof(*c.effects.goals));
	start = rollout_event_make(EVENT_START, now_ms, ROLLOUT_NO_NODE);
	crowd_feed(&c, &start);
	while (!rollout_state_is_final(c.rollout->state))
		now_ms = crowd_round(&c, now_ms);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_int_equal(c.rollout->state, ROLLOUT_COMPLETED);
	print_message("  %zu nodes: %zu events\n", count, c.events);
	free(nodes);
	free(c.effects.goals);
	rollout_free(c.rollout);
	plan_free(&plan);
	deployment_spec_free(&spec);
	return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
}

static void test_a_thousand_nodes(void **state)
{
	double seconds = crowd_run(from_env("COVEY_WALK_CROWD", 1000));

	print_message("  %.3f s of CPU\n", seconds);
	assert_true(seconds < 5); /* generous: sanitizers, a shared machine */
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_fleet_walks),
	cmocka_unit_test(test_chaos),
	cmocka_unit_test(test_a_thousand_nodes),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
