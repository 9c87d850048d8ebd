/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs have an end in virtual time; the loop goes from one end to the next. */
#include "world.h"

#include <assert.h>
#include <stdlib.h>

const struct digest R0 = {{0}}, R1 = {{1}}, R2 = {{2}}, R3 = {{3}}, R4 = {{4}};
static const char *const colours[] = {"blue", "green"};
static const struct deploy_health health = {
	.failures = 3, .interval_ms = 1000, .timeout_ms = 500, .start_period_ms = 5000};

int world_release(const struct digest *digest)
{
	return digest->bytes[0];
}

static struct behaviour *behaves(struct world *w, const struct digest *release)
{
	assert(world_release(release) < WORLD_RELEASES);
	return &w->behaviour[world_release(release)];
}

static uint64_t later(struct world *w)
{
	return w->now + (w->jitter ? 1 + rng_below(&w->rng, 2 * w->latency_ms) : w->latency_ms);
}

static void logf_(struct world *w, int i, const char *what, const struct digest *release,
		  const char *more)
{
	str_addf(&w->log, "%s%s", i ? w->deployments[i].name : "", i ? ": " : "");
	str_add(&w->log, what);
	if (release)
		str_addf(&w->log, " r%d", world_release(release));
	str_addf(&w->log, "%s%s\n", *more ? " " : "", more);
}

const char *world_log(struct world *w)
{
	static char text[16384];

	str_cut(text, sizeof(text), str_get(&w->log));
	str_free(&w->log);
	return text;
}

const struct deploy *world_deploy(const struct world *w, int i)
{
	return node_core_find(w->core, w->deployments[i].name);
}

struct deployment_report world_report(const struct world *w, int i)
{
	struct deployment_report report = {0};

	if (world_deploy(w, i))
		deploy_report(world_deploy(w, i), &report);
	return report;
}

bool world_answers(const struct world *w, int i, const struct digest *release)
{
	const struct world_deployment *n = &w->deployments[i];
	const struct world_slot *s = &n->slots[n->colour];
	const struct behaviour *b = &w->behaviour[world_release(&s->release)];

	return n->open && s->alive && w->now >= s->started_ms + b->ready_ms &&
	       !(b->sour_ms && w->now >= s->started_ms + b->sour_ms) &&
	       (!release || digest_equal(&s->release, release));
}

/* Time in which clients are not served although a release was committed. */
static void watch_clients(struct world *w)
{
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		struct world_deployment *n = &w->deployments[i];
		const struct deploy *d = world_deploy(w, i);
		bool due = d && !digest_is_zero(&d->record.committed.digest);

		if (due && !world_answers(w, i, NULL)) {
			n->dark_since = n->dark_since ? n->dark_since : w->now;
			continue;
		}
		if (n->dark_since)
			n->dark_ms += w->now - n->dark_since;
		n->dark_since = 0;
	}
}

static struct world_deployment *by_name(struct world *w, const char *name)
{
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		if (str_equal(w->deployments[i].name, name))
			return &w->deployments[i];
	return NULL;
}

static void save(struct world *w)
{
	const struct deploy_record *record;
	const char *name;

	while (node_core_next_dirty(w->core, &name, &record)) {
		struct world_deployment *n = by_name(w, name);

		n->is_saved = record != NULL;
		if (record)
			n->saved = *record;
	}
	if (node_core_take_generation_dirty(w->core))
		node_core_generation(w->core, &w->saved_epoch, &w->saved_generation);
}

static void trace(struct world *w, const struct node_event *event, const enum deploy_phase *before)
{
	for (int i = 0; w->trace && i < WORLD_DEPLOYMENTS; i++) {
		const struct deploy *d = world_deploy(w, i);
		enum deploy_phase phase = d ? d->record.phase : DEPLOY_GONE;

		if (phase != before[i])
			str_addf(&w->log, "%8llu %s: %s -> %s on %s\n", (unsigned long long)w->now,
				 w->deployments[i].name, deploy_phases[before[i]].text,
				 deploy_phases[phase].text,
				 event->kind == NODE_DESIRED
					 ? "desired state"
					 : deploy_event_texts[event->event.kind]);
	}
}

static void apply(struct world *w, struct node_event event)
{
	enum deploy_phase before[WORLD_DEPLOYMENTS];
	uint32_t switches = 0;

	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		before[i] = world_deploy(w, i) ? world_deploy(w, i)->record.phase : DEPLOY_GONE;

	event.event.now_ms = w->now;
	event.event.unix_ms = w->unix_ms + w->now;
	event.event.random = rng_next(&w->rng);
	(void)!node_core_apply(w->core, &event);
	trace(w, &event, before);
	if (w->lose_next_write) {
		w->lose_next_write = false;
		world_restart(w);
		return;
	}
	save(w);
	for (size_t k = 0; k < node_core_count(w->core); k++)
		switches += deploy_switches(node_core_at(w->core, k));
	w->switches_max = switches > w->switches_max ? switches : w->switches_max;
	if (w->check)
		w->check(w);
	watch_clients(w);
}

void world_event(struct world *w, int i, struct deploy_event event)
{
	apply(w, (struct node_event){NODE_DEPLOYMENT, NULL, w->deployments[i].name, event});
}

void world_all(struct world *w, enum deploy_event_kind kind)
{
	apply(w, (struct node_event){NODE_ALL, NULL, NULL, {.kind = kind}});
}

void world_init(struct world *w, uint64_t seed)
{
	static const char *const names[] = {"ocr", "asr", "nlp"};

	*w = (struct world){.rng = {seed},
			    .now = 1000,
			    .unix_ms = 1700000000000,
			    .latency_ms = 100,
			    .connections_last_ms = 3000};
	w->core = node_core_create(WORLD_DEPLOYMENTS);
	w->desired = (struct desired_state){.epoch = 1, .generation = 1};
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		STR_CUT(w->deployments[i].name, names[i]);
}

void world_free(struct world *w)
{
	node_core_free(w->core);
	str_free(&w->log);
}

struct assignment *world_assignment(struct world *w, int i)
{
	struct assignment *a = &w->assignments[i];

	if (a->deployment[0])
		return a;
	STR_CUT(a->deployment, w->deployments[i].name);
	a->bake_ms = 60000;
	a->drain_ms = 10000;
	a->keep_warm_ms = 120000;
	a->node_deadline_ms = 600000;
	return a;
}

void world_desire(struct world *w)
{
	struct assignment list[WORLD_DEPLOYMENTS];

	w->desired.generation++;
	w->desired.assignments = list;
	w->desired.assignments_count = 0;
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		if (w->assignments[i].deployment[0])
			list[w->desired.assignments_count++] = w->assignments[i];
	apply(w, (struct node_event){.kind = NODE_DESIRED, .desired = &w->desired});
	w->desired.assignments = NULL;
}

static void perform_slot(struct world *w, int i, enum colour c, const struct deploy_slot_effects *f)
{
	struct world_slot *s = &w->deployments[i].slots[c];

	if (s->job.kind == DEPLOY_SLOT_LEAVE && f->slot != DEPLOY_SLOT_LEAVE) {
		s->job.kind = f->slot;
		s->job.release = f->release;
		s->job.kill = f->kill;
		s->job.done_ms = later(w);
		if (f->slot == DEPLOY_SLOT_RUN)
			logf_(w, i, "start", &f->release, colours[c]);
		else
			logf_(w, i, f->kill ? "kill" : "stop", &f->release, colours[c]);
	}
	if (f->probe == DEPLOY_PROBE_NONE)
		s->probe_ms = 0;
	else if (!s->probe_ms)
		s->probe_ms = w->now + 200;
	if (!f->connections)
		s->count_ms = 0;
	else if (!s->count_ms)
		s->count_ms = w->now + 1000;
	if (f->close && !s->close_ms) {
		s->close_ms = later(w);
		logf_(w, i, "reset", &f->release, colours[c]);
	}
	if (f->smoke && !s->smoke_ms) {
		s->smoke_ms = later(w);
		logf_(w, i, "smoke", &f->release, colours[c]);
	} else if (!f->smoke) {
		s->smoke_ms = 0;
	}
}

static void perform_one(struct world *w, int i, const char *what, const struct digest *wanted,
			uint64_t *done_ms)
{
	if (digest_is_zero(wanted)) {
		*done_ms = 0;
	} else if (!*done_ms) {
		*done_ms = later(w);
		logf_(w, i, what, wanted, "");
	}
}

static void perform_route(struct world *w, int i, const struct deploy_effects *f)
{
	struct world_deployment *n = &w->deployments[i];

	if (n->route_ms || f->route == DEPLOY_ROUTE_LEAVE)
		return;
	n->routing = f->route;
	n->routing_colour = f->route_colour;
	n->route_ms = later(w);
	logf_(w, i, f->route == DEPLOY_ROUTE_TO ? "route" : "close",
	      f->route == DEPLOY_ROUTE_TO ? &f->route_release : NULL,
	      f->route == DEPLOY_ROUTE_TO ? colours[f->route_colour] : "");
}

static void perform(struct world *w)
{
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		struct world_deployment *n = &w->deployments[i];
		const struct deploy *d = world_deploy(w, i);
		struct deploy_effects f = {0};

		if (d)
			deploy_decide(d, w->now, &f);
		if (d && w->check_effects)
			w->check_effects(w, i, &f);
		if (!digest_equal(&n->fetching, &f.fetch))
			n->fetch_ms = 0;
		n->fetching = f.fetch;
		perform_one(w, i, "fetch", &f.fetch, &n->fetch_ms);
		perform_one(w, i, "preflight", &f.preflight, &n->preflight_ms);
		perform_one(w, i, "unpack", &f.unpack, &n->unpack_ms);
		perform_route(w, i, &f);
		for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
			perform_slot(w, i, c, &f.slots[c]);
	}
}

static void tell(struct world *w, int i, enum deploy_event_kind kind, enum colour c,
		 struct digest release, const char *check, const char *text)
{
	world_event(w, i,
		    (struct deploy_event){.kind = kind,
					  .colour = c,
					  .release = release,
					  .check = check,
					  .text = text,
					  .health = health,
					  .permanent = true});
}

static void finish_start(struct world *w, int i, enum colour c)
{
	struct world_slot *s = &w->deployments[i].slots[c];
	struct digest release = s->job.release;

	s->job.kind = DEPLOY_SLOT_LEAVE;
	if (!digest_is_zero(&s->release) && !digest_equal(&s->release, &release)) {
		tell(w, i, DEPLOY_EVENT_START_FAILED, c, release, "busy",
		     "another release is there");
		return;
	}
	if (behaves(w, &release)->start_fails) {
		tell(w, i, DEPLOY_EVENT_START_FAILED, c, release, "start", "exec format error");
		return;
	}
	if (!s->alive)
		s->started_ms = w->now;
	s->release = release;
	s->alive = true;
	tell(w, i, DEPLOY_EVENT_SLOT_STARTED, c, release, NULL, NULL);
}

static void finish_stop(struct world *w, int i, enum colour c)
{
	struct world_slot *s = &w->deployments[i].slots[c];
	struct digest release = s->job.release;

	w->resets += (uint32_t)(s->alive ? s->connections : 0);
	*s = (struct world_slot){0};
	tell(w, i, DEPLOY_EVENT_SLOT_STOPPED, c, release, NULL, NULL);
}

static void finish_route(struct world *w, int i)
{
	struct world_deployment *n = &w->deployments[i];
	bool open = n->routing == DEPLOY_ROUTE_TO;
	enum colour c = n->routing_colour;

	n->route_ms = 0;
	if (w->route_fails) {
		tell(w, i, DEPLOY_EVENT_ROUTE_FAILED, c, R0, "nft", "netlink: busy");
		return;
	}
	for (enum colour k = COLOUR_BLUE; k < COLOUR_COUNT; k++)
		if (n->open && n->colour == k && !(open && c == k))
			n->slots[k].leave_ms = w->now + w->connections_last_ms;
	n->open = open;
	n->colour = c;
	if (open) {
		n->slots[c].connections = 3;
		n->slots[c].leave_ms = 0;
	}
	world_event(w, i,
		    (struct deploy_event){.kind = DEPLOY_EVENT_ROUTED,
					  .open = open,
					  .colour = c,
					  .release = n->slots[c].release});
}

static void probe(struct world *w, int i, enum colour c)
{
	struct world_slot *s = &w->deployments[i].slots[c];
	const struct behaviour *b = behaves(w, &s->release);
	uint64_t age = w->now - s->started_ms;
	bool ok = s->alive && age >= b->ready_ms && !(b->sour_ms && age >= b->sour_ms);

	s->probe_ms = w->now + health.interval_ms;
	if (b->silent)
		return;
	if (w->blind) {
		tell(w, i, DEPLOY_EVENT_PROBE_LOST, c, s->release, NULL, "no descriptors");
		return;
	}
	tell(w, i, ok ? DEPLOY_EVENT_PROBE_OK : DEPLOY_EVENT_PROBE_FAILED, c, s->release, "health",
	     ok ? NULL : "503 Service Unavailable");
}

void world_exit(struct world *w, int i, enum colour c)
{
	struct world_slot *s = &w->deployments[i].slots[c];

	s->alive = false;
	s->connections = 0;
	world_event(w, i,
		    (struct deploy_event){.kind = DEPLOY_EVENT_SLOT_EXITED,
					  .colour = c,
					  .release = s->release,
					  .text = "exited with status 1",
					  .log = "out of luck\n"});
}

static uint64_t exit_at(struct world *w, const struct world_slot *s)
{
	const struct behaviour *b = behaves(w, &s->release);

	return s->alive && b->exit_ms ? s->started_ms + b->exit_ms : UINT64_MAX;
}

static uint64_t if_set(uint64_t at)
{
	return at ? at : UINT64_MAX;
}

static bool slot_turn(struct world *w, int i, enum colour c)
{
	struct world_slot *s = &w->deployments[i].slots[c];

	if (s->job.kind != DEPLOY_SLOT_LEAVE && w->now >= s->job.done_ms) {
		if (s->job.kind == DEPLOY_SLOT_RUN)
			finish_start(w, i, c);
		else
			finish_stop(w, i, c);
	} else if (w->now >= exit_at(w, s)) {
		world_exit(w, i, c);
	} else if (s->leave_ms && w->now >= s->leave_ms) {
		s->leave_ms = s->connections = 0;
	} else if (s->smoke_ms && w->now >= s->smoke_ms) {
		bool bad = behaves(w, &s->release)->smoke_fails;

		s->smoke_ms = w->now + 1000000000;
		s->smoked = bad ? R0 : s->release;
		tell(w, i, bad ? DEPLOY_EVENT_SMOKE_FAILED : DEPLOY_EVENT_SMOKE_PASSED, c,
		     s->release, bad ? "seven" : NULL, bad ? "label is 1, not 7" : NULL);
	} else if (s->probe_ms && w->now >= s->probe_ms) {
		probe(w, i, c);
	} else if (s->count_ms && w->now >= s->count_ms) {
		s->count_ms = w->now + 1000;
		world_event(w, i,
			    (struct deploy_event){.kind = DEPLOY_EVENT_CONNECTIONS,
						  .colour = c,
						  .connections = s->connections});
	} else if (s->close_ms && w->now >= s->close_ms) {
		w->closed += (uint32_t)s->connections;
		s->close_ms = s->leave_ms = s->connections = 0;
		world_event(w, i,
			    (struct deploy_event){.kind = DEPLOY_EVENT_CONNECTIONS, .colour = c});
	} else {
		return false;
	}
	return true;
}

static bool job_turn(struct world *w, int i)
{
	struct world_deployment *n = &w->deployments[i];
	const struct deploy *d = world_deploy(w, i);
	struct digest target = d ? d->record.target.digest : R0;
	const struct behaviour *b = behaves(w, &target);

	if (n->route_ms && w->now >= n->route_ms) {
		finish_route(w, i);
	} else if (n->fetch_ms && w->now >= n->fetch_ms && !w->link_down) {
		n->fetch_ms = 0;
		tell(w, i, b->fetch_fails ? DEPLOY_EVENT_FETCH_FAILED : DEPLOY_EVENT_FETCH_DONE,
		     COLOUR_BLUE, target, "digest", "chunk 7 is not what was signed");
	} else if (n->preflight_ms && w->now >= n->preflight_ms) {
		n->preflight_ms = 0;
		tell(w, i,
		     b->preflight_fails ? DEPLOY_EVENT_PREFLIGHT_FAILED : DEPLOY_EVENT_PREFLIGHT_OK,
		     COLOUR_BLUE, target, "memory", "needs 8 GiB, has 4 GiB");
	} else if (n->unpack_ms && w->now >= n->unpack_ms) {
		n->unpack_ms = 0;
		tell(w, i, b->unpack_fails ? DEPLOY_EVENT_UNPACK_FAILED : DEPLOY_EVENT_UNPACKED,
		     COLOUR_BLUE, target, "disk", "no space left on device");
	} else {
		return false;
	}
	return true;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_time(struct world *w)
{
	uint64_t when = node_core_deadline(w->core);

	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		const struct world_deployment *n = &w->deployments[i];

		when = min(when, if_set(n->route_ms));
		when = min(when, w->link_down ? UINT64_MAX : if_set(n->fetch_ms));
		when = min(when, min(if_set(n->preflight_ms), if_set(n->unpack_ms)));
		for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
			const struct world_slot *s = &n->slots[c];

			if (s->job.kind != DEPLOY_SLOT_LEAVE)
				when = min(when, s->job.done_ms);
			when = min(when, min(exit_at(w, s), if_set(s->leave_ms)));
			when = min(when, min(if_set(s->smoke_ms), if_set(s->probe_ms)));
			when = min(when, min(if_set(s->count_ms), if_set(s->close_ms)));
		}
	}
	return when;
}

static bool turn(struct world *w)
{
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		if (job_turn(w, i))
			return true;
		for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
			if (slot_turn(w, i, c))
				return true;
	}
	return false;
}

void world_run(struct world *w, uint64_t ms)
{
	uint64_t end = w->now + ms;

	for (;;) {
		uint64_t when;

		perform(w);
		when = next_time(w);
		if (when > end)
			break;
		if (w->now > end)
			return; /* a reboot set the clock back in a turn: not here */
		w->now = when > w->now ? when : w->now;
		watch_clients(w);
		if (!turn(w))
			world_all(w, DEPLOY_EVENT_TICK);
	}
	w->now = end;
	watch_clients(w);
}

static void come_back(struct world *w, bool rebooted)
{
	node_core_free(w->core);
	w->core = node_core_create(WORLD_DEPLOYMENTS);
	node_core_restore_generation(w->core, w->saved_epoch, w->saved_generation);
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		struct world_deployment *n = &w->deployments[i];

		n->fetch_ms = n->preflight_ms = n->unpack_ms = n->route_ms = 0;
		if (n->is_saved && node_core_restore(w->core, &n->saved) < 0)
			abort();
	}
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++)
		for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
			struct world_slot *s = &w->deployments[i].slots[c];

			s->smoke_ms = s->probe_ms = s->count_ms = 0;
			if (!digest_is_zero(&s->release))
				world_event(w, i,
					    (struct deploy_event){.kind = DEPLOY_EVENT_ADOPT,
								  .colour = c,
								  .release = s->release,
								  .running = s->alive});
		}
	apply(w,
	      (struct node_event){
		      NODE_ALL, NULL, NULL, {.kind = DEPLOY_EVENT_RESUMED, .rebooted = rebooted}});
}

void world_restart(struct world *w)
{
	/* The helper finishes what it was told; the answers get lost. */
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		struct world_deployment *n = &w->deployments[i];

		for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++) {
			struct world_slot *s = &n->slots[c];

			if (s->job.kind == DEPLOY_SLOT_EMPTY_IT)
				*s = (struct world_slot){0};
			else if (s->job.kind == DEPLOY_SLOT_RUN && digest_is_zero(&s->release) &&
				 !behaves(w, &s->job.release)->start_fails) {
				s->release = s->job.release;
				s->alive = true;
				s->started_ms = w->now;
			}
			s->job.kind = DEPLOY_SLOT_LEAVE;
		}
		if (n->route_ms && !w->route_fails) {
			n->open = n->routing == DEPLOY_ROUTE_TO;
			n->colour = n->routing_colour;
		}
	}
	come_back(w, false);
}

void world_reboot(struct world *w)
{
	w->unix_ms += w->now;
	w->now = 500;
	for (int i = 0; i < WORLD_DEPLOYMENTS; i++) {
		struct world_deployment *n = &w->deployments[i];

		for (enum colour c = COLOUR_BLUE; c < COLOUR_COUNT; c++)
			n->slots[c] = (struct world_slot){.smoked = n->slots[c].smoked};
		n->open = false;
		n->dark_since = 0;
	}
	come_back(w, true);
}
