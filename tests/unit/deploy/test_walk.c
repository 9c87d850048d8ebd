/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seeded random walk: three deployments, releases that misbehave, an agent that dies, a machine
 * that reboots, stale and senseless events, a coordinator that changes its mind. After every event
 * the invariants; then quiet, in which everything must come to rest. Each invariant is shown to
 * notice a planted bug. COVEY_WALK_SEEDS=n walks further, COVEY_WALK_SEED=n walks one seed again.
 */
#include "traces.h"

#include <stdio.h>
#include <stdlib.h>

/* What the invariants remember apart from the core. */
static struct memory {
	bool committed[WORLD_DEPLOYMENTS][WORLD_RELEASES];
	int last[WORLD_DEPLOYMENTS]; /* committed */
	bool vetoed[WORLD_DEPLOYMENTS][WORLD_RELEASES];
	uint64_t attempt[WORLD_DEPLOYMENTS][WORLD_RELEASES];
	bool map_unsure; /* the map was told to fail: emptying under it is excused */
	char violation[256];
} memory;

static void violated(struct world *w, const char *what)
{
	if (!memory.violation[0])
		STR_CUT(memory.violation, what);
	str_addf(&w->log, "violation: %s\n", what);
}

static void check_outcome(int i, const struct deploy *d)
{
	const struct deploy_outcome *last = &d->record.last;
	int release = world_release(&last->release);
	int committed = world_release(&d->record.committed.digest);

	if (committed != memory.last[i]) {
		memory.last[i] = committed;
		memory.committed[i][committed] = true;
		memory.vetoed[i][committed] = false;
	}
	if (last->kind == OUTCOME_ROLLED_BACK && !str_equal(last->reason.phase, "coordinator")) {
		if (!memory.vetoed[i][release] || memory.attempt[i][release] < last->attempt)
			memory.attempt[i][release] = last->attempt;
		memory.vetoed[i][release] = true;
	}
}

static void check_world(struct world *w)
{
	int switches = 0;

	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		const struct deploy *d = world_deploy(w, i);

		if (!d)
			continue;
		check_outcome(i, d);
		switches += deploy_switches(d);
		if (!w->deployments[i].is_saved ||
		    memcmp(&w->deployments[i].saved, &d->record, sizeof(d->record)) != 0)
			violated(w, "journal differs from memory");
		if (deploy_deadline(d) <= d->now_ms)
			violated(w, "deadline in the past");
	}
	if (switches > 1)
		violated(w, "two switches at once");
}

static void check_route(struct world *w, int i, const struct deploy_effects *f)
{
	const struct world_slot *s = &w->deployments[i].slots[f->route_colour];

	if (f->route != DEPLOY_ROUTE_TO)
		return;
	if (!digest_equal(&s->release, &f->route_release))
		violated(w, "route to a slot that runs something else");
	else if (!digest_equal(&s->smoked, &s->release) &&
		 !memory.committed[i][world_release(&f->route_release)])
		violated(w, "route to a slot that is neither proven nor was committed");
}

static void check_slot(struct world *w, int i, enum colour c, const struct deploy_slot_effects *f)
{
	const struct world_deployment *n = &w->deployments[i];
	uint64_t attempt = world_deploy(w, i)->record.assignment.attempt;
	int release = world_release(&f->release);

	if (f->slot == DEPLOY_SLOT_RUN && memory.vetoed[i][release] &&
	    attempt <= memory.attempt[i][release])
		violated(w, "a vetoed release is started");
	if (f->slot == DEPLOY_SLOT_EMPTY_IT && n->open && n->colour == c && n->slots[c].alive &&
	    !memory.map_unsure)
		violated(w, "a slot is emptied while the map leads to it");
}

static void check_decision(struct world *w, int i, const struct deploy_effects *f)
{
	struct deploy_effects again;

	deploy_decide(world_deploy(w, i), w->now, &again);
	if (memcmp(&again, f, sizeof(again)) != 0)
		violated(w, "a decision changes when it is asked twice");
	check_route(w, i, f);
	for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
		check_slot(w, i, c, &f->slots[c]);
}

static void begin(struct world *w, uint64_t seed)
{
	memory = (struct memory){0};
	world_init(w, seed);
	w->check = check_world;
	w->check_effects = check_decision;
}

static struct digest any_release(struct world *w, bool or_none)
{
	struct digest release = {{0}};

	release.bytes[0] = (uint8_t)(rng_below(&w->rng, WORLD_RELEASES - 1) + 1);
	if (or_none && rng_below(&w->rng, 5) == 0)
		release.bytes[0] = 0;
	return release;
}

static uint64_t maybe(struct world *w, uint32_t one_in, uint64_t at_most)
{
	return rng_below(&w->rng, one_in) ? 0 : 1 + rng_below(&w->rng, at_most);
}

static void misbehave(struct world *w, int release)
{
	struct behaviour *b = &w->behaviour[release];

	*b = (struct behaviour){0};
	if (release == 1)
		return; /* r1 is always good */
	b->ready_ms = rng_below(&w->rng, 4) ? rng_below(&w->rng, 3000) : WORLD_NEVER_READY;
	b->exit_ms = maybe(w, 4, 100000);
	b->sour_ms = maybe(w, 4, 100000);
	b->start_fails = maybe(w, 8, 1);
	b->smoke_fails = maybe(w, 8, 1);
	b->fetch_fails = maybe(w, 8, 1);
	b->preflight_fails = maybe(w, 8, 1);
	b->unpack_fails = maybe(w, 8, 1);
	b->silent = maybe(w, 12, 1);
}

static void coordinator(struct world *w)
{
	int i = (int)rng_below(&w->rng, WORLD_DEPLOYMENTS);
	struct assignment *a = world_assignment(w, i);

	switch (rng_below(&w->rng, 10)) {
	case 0:
	case 1:
	case 2:
		a->next = any_release(w, true);
		a->rollout.bytes[0] = (uint8_t)rng_below(&w->rng, 256);
		a->goal = (enum goal)rng_below(&w->rng, GOAL_COUNT);
		a->revert = false;
		break;
	case 3:
	case 4:
		a->goal = GOAL_SERVE;
		break;
	case 5:
		a->revert = !a->revert;
		break;
	case 6:
		a->base = digest_is_zero(&a->next) ? any_release(w, true) : a->next;
		a->next = R0;
		a->revert = false;
		break;
	case 7:
		a->attempt++;
		break;
	case 8:
		a->swap = a->swap ? SWAP_START_FIRST : SWAP_STOP_FIRST;
		a->hold_old = maybe(w, 2, 1);
		break;
	default:
		a->deployment[0] = 0; /* removed, until world_assignment() brings it back */
	}
	world_desire(w);
}

static void nonsense(struct world *w)
{
	struct deploy_event event = {
		.kind = (enum deploy_event_kind)rng_below(&w->rng, DEPLOY_EVENT_COUNT),
		.colour = (enum colour)rng_below(&w->rng, COLOUR_COUNT),
		.release = any_release(w, true),
	};

	/* Lies about the helper's slots and the map are excluded: those are facts. */
	if (event.kind == DEPLOY_EVENT_GRANT || event.kind == DEPLOY_EVENT_SLOT_STOPPED ||
	    event.kind == DEPLOY_EVENT_SLOT_STARTED || event.kind == DEPLOY_EVENT_ROUTED ||
	    event.kind == DEPLOY_EVENT_SMOKE_PASSED || event.kind == DEPLOY_EVENT_DESIRED)
		event.kind = DEPLOY_EVENT_TICK;
	world_event(w, (int)rng_below(&w->rng, WORLD_DEPLOYMENTS), event);
}

static void fate(struct world *w)
{
	int i = (int)rng_below(&w->rng, WORLD_DEPLOYMENTS);
	enum colour c = (enum colour)rng_below(&w->rng, COLOUR_COUNT);

	switch (rng_below(&w->rng, 16)) {
	case 0:
		world_restart(w);
		break;
	case 1:
		world_reboot(w);
		break;
	case 2:
		w->lose_next_write = true;
		break;
	case 3:
		if (w->deployments[i].slots[c].alive)
			world_exit(w, i, c);
		break;
	case 4:
		world_all(w, DEPLOY_EVENT_MEMORY_PRESSURE);
		break;
	case 5:
		w->route_fails = maybe(w, 3, 1);
		memory.map_unsure |= w->route_fails;
		break;
	case 6:
		w->link_down = maybe(w, 2, 1);
		break;
	case 7:
		w->now += rng_below(&w->rng, 100000);
		break;
	case 8:
	case 9:
		nonsense(w);
		break;
	case 10:
		misbehave(w, 1 + (int)rng_below(&w->rng, WORLD_RELEASES - 1));
		break;
	default:
		coordinator(w);
	}
}

/* Nothing moves any more but restarts with backoff of something that cannot live. */
static void check_rest(struct world *w, int i)
{
	const struct deploy *d = world_deploy(w, i);
	const struct assignment *a = &w->assignments[i];
	struct deployment_report report;
	bool good;

	if (!d || deploy_is_gone(d)) {
		if (a->deployment[0])
			violated(w, "an assigned deployment is gone");
		return;
	}
	if (d->record.phase != DEPLOY_IDLE)
		violated(w, deploy_phases[d->record.phase].text);
	/* A committed `next` that loops is the coordinator's to take back: the node says FAILED. */
	report = world_report(w, i);
	good = digest_equal(&a->base, &R1) && !deploy_vetoes(d, &R1, a->attempt) &&
	       !digest_equal(&d->record.no_return, &R1) &&
	       !(digest_equal(&report.release, &a->next) && report.state == NODE_STATE_FAILED);
	if (w->trace)
		str_addf(&w->log,
			 "%s: serves %d slot %d r%d want %d/%d fact %d/%d committed r%d base r%d "
			 "next r%d "
			 "goal %d revert %d last %d\n",
			 d->record.name, d->record.serves, d->record.serving,
			 d->record.slots[d->record.serving].release.digest.bytes[0],
			 d->record.slots[0].want, d->record.slots[1].want, d->slots[0].fact,
			 d->slots[1].fact, d->record.committed.digest.bytes[0], a->base.bytes[0],
			 a->next.bytes[0], a->goal, a->revert, d->record.last.kind);
	if (good && !world_answers(w, i, NULL))
		violated(w, "nothing answers although r1 could");
}

static void quiet(struct world *w)
{
	w->link_down = w->route_fails = w->lose_next_write = false;
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		if (w->assignments[i].deployment[0])
			w->assignments[i].goal = GOAL_SERVE;
	for (int r = 0; r < WORLD_RELEASES; r++)
		if (w->behaviour[r].sour_ms || w->behaviour[r].exit_ms)
			w->behaviour[r] = (struct behaviour){.start_fails = true};
	world_desire(w);
	world_run(w, 1800000);
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		check_rest(w, i);
}

static void walk(struct world *w, uint64_t seed)
{
	begin(w, seed);
	w->jitter = true;
	w->trace = getenv("COVEY_WALK_SEED") != NULL;
	for (int r = 1; r < WORLD_RELEASES; r++)
		misbehave(w, r);
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		if (rng_below(&w->rng, 3))
			world_assignment(w, i)->base = R1;
	world_desire(w);
	for (int step = 0; step < 60 && !memory.violation[0]; step++) {
		world_run(w, rng_below(&w->rng, rng_below(&w->rng, 3) ? 2000 : 100000));
		fate(w);
	}
	quiet(w);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void random_walks_keep_the_invariants_and_come_to_rest(void **state)
{
	uint64_t first = number("COVEY_WALK_SEED", 1);
	uint64_t count = getenv("COVEY_WALK_SEED") ? 1 : number("COVEY_WALK_SEEDS", 50);

	for (uint64_t seed = first; seed < first + count; seed++) {
		struct world w;

		walk(&w, seed);
		if (memory.violation[0]) {
			if (count == 1)
				fputs(str_get(&w.log), stderr);
			fail_msg("seed %llu: %s", (unsigned long long)seed, memory.violation);
		}
		world_free(&w);
	}
}

static void a_seed_gives_the_same_walk_twice(void **state)
{
	struct world a, b;

	walk(&a, 7);
	walk(&b, 7);
	assert_string_equal(str_get(&a.log), str_get(&b.log));
	assert_true(a.log.size > 500);
	world_free(&a);
	world_free(&b);
}

/* ---- each invariant notices its bug ---- */

static struct deploy *inside(struct world *w, int i)
{
	return (struct deploy *)world_deploy(w, i); /* the bug: state changed behind its back */
}

/* spec: NODE-19 */
static void planted_two_switches(void **state)
{
	struct world w;

	begin(&w, 1);
	trace_installed(&w, 0, R1);
	trace_installed(&w, 1, R1);
	inside(&w, 0)->record.phase = DEPLOY_STARTING;
	inside(&w, 1)->record.phase = DEPLOY_SMOKING;
	check_world(&w);
	assert_string_equal(memory.violation, "journal differs from memory");
	memory.violation[0] = 0;
	w.deployments[0].saved = world_deploy(&w, 0)->record;
	w.deployments[1].saved = world_deploy(&w, 1)->record;
	check_world(&w);
	assert_string_equal(memory.violation, "two switches at once");
	world_free(&w);
}

/* spec: NODE-2 */
static void planted_switch_without_smoke(void **state)
{
	struct world w;

	begin(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].ready_ms = 4000;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 2000);
	assert_phase(&w, 0, READYING);
	inside(&w, 0)->record.phase = DEPLOY_SWITCHING;
	world_run(&w, 10);
	assert_string_equal(memory.violation,
			    "route to a slot that is neither proven nor was committed");
	world_free(&w);
}

/* spec: NODE-11 */
static void planted_forgotten_veto(void **state)
{
	struct world w;

	begin(&w, 1);
	trace_installed(&w, 0, R1);
	w.behaviour[2].smoke_fails = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 10000);
	inside(&w, 0)->record.vetoes_count = 0;
	world_desire(&w);
	world_run(&w, 10000);
	assert_string_equal(memory.violation, "a vetoed release is started");
	world_free(&w);
}

/* spec: NODE-9 */
static void planted_kill_before_the_map_moved(void **state)
{
	struct world w;

	begin(&w, 1);
	trace_installed(&w, 0, R1);
	inside(&w, 0)->record.slots[COLOUR_BLUE].want = DEPLOY_WANT_KILL;
	inside(&w, 0)->route = DEPLOY_ROUTE_CLOSED;
	world_run(&w, 10);
	assert_string_equal(memory.violation, "a slot is emptied while the map leads to it");
	world_free(&w);
}

static void planted_deadline_in_the_past_is_not_possible(void **state)
{
	struct deploy d;

	deploy_init(&d, "ocr");
	d.now_ms = 1000;
	d.record.phase = DEPLOY_REVERTING;
	assert_int_equal(deploy_deadline(&d), DEPLOY_REVERT_MS);
	d.now_ms = DEPLOY_REVERT_MS;
	assert_int_equal(deploy_deadline(&d), DEPLOY_NEVER);
}

static void planted_helper_that_never_answers_is_not_rest(void **state)
{
	struct world w;

	begin(&w, 1);
	trace_installed(&w, 0, R1);
	w.link_down = true;
	trace_rollout(&w, 0, R1, R2, GOAL_SERVE);
	world_run(&w, 3600000);
	check_rest(&w, 0);
	assert_string_equal(memory.violation, "fetching");
	memory.violation[0] = 0;
	w.link_down = false;
	world_run(&w, 3600000);
	w.deployments[0].open = false; /* somebody flushed the map behind our back */
	w.assignments[0].base = R1;
	check_rest(&w, 0);
	assert_string_equal(memory.violation, "nothing answers although r1 could");
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_walks_keep_the_invariants_and_come_to_rest),
		cmocka_unit_test(a_seed_gives_the_same_walk_twice),
		cmocka_unit_test(planted_two_switches),
		cmocka_unit_test(planted_switch_without_smoke),
		cmocka_unit_test(planted_forgotten_veto),
		cmocka_unit_test(planted_kill_before_the_map_moved),
		cmocka_unit_test(planted_deadline_in_the_past_is_not_possible),
		cmocka_unit_test(planted_helper_that_never_answers_is_not_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
