/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold, seen from the coordinator: it looks into the shell (read only) after each call,
 * at every desired state on its way out, and at the whole fleet when peace has come. Checks stand
 * on the plain fields and on what was seen before, never on the functions that decide.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/core/invariants.h"
#include "coordinator/rollouts.h"
#include "protocol/digest.h"

#include <jansson.h>

struct seen { /* of a deployment's newest rollout */
	struct rollout_id id;
	struct invariants *invariants;
	uint64_t changes;
	enum rollout_state state;
	size_t stage;
};

struct sim_watch {
	struct seen seen[SIM_DEPLOYMENTS];
	uint32_t bounds[SIM_DEPLOYMENTS][2]; /* max_unavailable of the newest and the one before */
};

static struct sim *watched; /* the one that runs */

static int deployment_of(const char *name)
{
	for (int d = 0; d < SIM_DEPLOYMENTS; d++)
		if (str_equal(sim_deployments[d], name))
			return d;
	return -1;
}

static const char *name_of(const struct sim *sim, const struct digest *release)
{
	int v = sim_version_of(sim, release);

	return v >= 0 ? sim->versions[v].name : digest_is_zero(release) ? "nothing" : "a stranger";
}

void watch_create(struct sim *sim)
{
	sim->watch = mem_alloc(sizeof(*sim->watch));
	watched = sim;
}

static void forget(struct seen *seen)
{
	if (seen->invariants)
		invariants_free(seen->invariants);
	*seen = (struct seen){.state = ROLLOUT_STATE_COUNT};
}

void watch_free(struct sim *sim)
{
	watched = NULL;
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		forget(&sim->watch->seen[d]);
	free(sim->watch);
}

/* ---- rollouts ---- */

static const struct rollout *machine_of(const struct sim *sim, uint32_t deployment)
{
	struct shell_rollout *ro;

	if (!sim->coordinator)
		return NULL;
	ro = rollouts_of(sim->coordinator, sim_deployments[deployment]);
	return ro ? ro->machine : NULL;
}

bool watch_rollout(struct sim *sim, uint32_t deployment, char ret_id[ROLLOUT_ID_TEXT_MAX])
{
	const struct rollout *machine = machine_of(sim, deployment);

	if (machine)
		rollout_id_text(ret_id, &machine->id);
	return machine != NULL;
}

const char *watch_state(struct sim *sim, uint32_t deployment)
{
	const struct rollout *machine = machine_of(sim, deployment);

	return machine ? rollout_state_name(machine->state) : "";
}

bool watch_ended(struct sim *sim)
{
	if (!sim->coordinator)
		return false;
	for (uint32_t d = 0; d < SIM_DEPLOYMENTS; d++) {
		const struct rollout *machine = machine_of(sim, d);
		bool stuck = machine && machine->state == ROLLOUT_STUCK && sim->persons[d] > 0;

		if (machine && !stuck && !rollout_state_is_final(machine->state))
			return false;
	}
	return true;
}

static void trace_rollout(struct sim *sim, struct seen *seen, const struct rollout *machine)
{
	char id[ROLLOUT_ID_TEXT_MAX];

	if (seen->state == machine->state && seen->stage == machine->stage)
		return;
	seen->state = machine->state;
	seen->stage = machine->stage;
	rollout_id_text(id, &machine->id);
	sim_trace(sim, "rollout %.6s of %s (%s to %s): %s, stage %zu of %zu%s%s", id,
		  machine->deployment, name_of(sim, &machine->from), name_of(sim, &machine->to),
		  rollout_state_name(machine->state), machine->stage + 1, machine->stages_count,
		  machine->why.text[0] ? ": " : "", machine->why.text);
}

static void trace_event(struct sim *sim, const struct rollout *machine,
			const struct rollout_event *event)
{
	const struct sim_node *node = NULL;

	if (!sim->options.trace || event->kind == EVENT_NODE_REPORT)
		return;
	if (event->node < machine->nodes_count)
		node = sim_node_of(sim, &machine->nodes[event->node].id);
	sim_trace(sim, "rollout of %s: %s %s", machine->deployment, rollout_event_name(event->kind),
		  node ? node->name : "");
}

/* The linker leads every rollout_apply() of the shell through here: each event is looked at, also
 * where several come in one call. A machine that is only read back is behind what was seen. */
void __real_rollout_apply(struct rollout *rollout, const struct rollout_event *event);
void __wrap_rollout_apply(struct rollout *rollout, const struct rollout_event *event);

void __wrap_rollout_apply(struct rollout *machine, const struct rollout_event *event)
{
	int d = deployment_of(machine->deployment);
	struct seen *seen = watched && d >= 0 ? &watched->watch->seen[d] : NULL;
	struct err err = {0};

	__real_rollout_apply(machine, event);
	if (!seen || !seen->invariants || !rollout_id_equal(&seen->id, &machine->id) ||
	    machine->changes != seen->changes + 1)
		return;
	seen->changes++;
	trace_event(watched, machine, event);
	if (invariants_check(seen->invariants, machine, &err) < 0)
		sim_break(watched, "rollout of %s: %s", machine->deployment, err_text(&err, 0));
}

void watch_lost(struct sim *sim)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++) {
		if (sim->watch->seen[d].invariants)
			invariants_free(sim->watch->seen[d].invariants);
		sim->watch->seen[d].invariants = NULL;
	}
}

static void watch_machine(struct sim *sim, unsigned d, const struct rollout *machine)
{
	struct seen *seen = &sim->watch->seen[d];
	uint32_t *bounds = sim->watch->bounds[d];

	if (!rollout_id_equal(&seen->id, &machine->id)) {
		forget(seen);
		seen->id = machine->id;
		bounds[1] = bounds[0];
		bounds[0] = machine->stages[0].plan.max_in_change;
	}
	if (seen->invariants && seen->changes != machine->changes)
		sim_break(sim, "rollout of %s was changed by no event", machine->deployment);
	if (!seen->invariants)
		seen->invariants = invariants_new(machine);
	seen->changes = machine->changes;
	trace_rollout(sim, seen, machine);
}

void watch_coordinator(struct sim *sim)
{
	const struct coordinator *c = sim->coordinator;
	const struct rollout *machines[SIM_DEPLOYMENTS];
	struct err err = {0};
	size_t count = 0;

	for (size_t i = 0; i < c->rollouts_count; i++) {
		int d = deployment_of(c->rollouts[i]->head.deployment);

		if (c->rollouts[i]->stale || d < 0)
			continue; /* known to be ahead of the store: read anew before it is used */
		watch_machine(sim, (unsigned)d, c->rollouts[i]->machine);
		machines[count++] = c->rollouts[i]->machine;
	}
	if (invariants_fleet(machines, count, &err) < 0)
		sim_break(sim, "%s", err_text(&err, 0));
}

void watch_restored(struct sim *sim)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		forget(&sim->watch->seen[d]);
	for (uint32_t i = 0; i < sim->nodes_count; i++) {
		memset(&sim->nodes[i].last_sent, 0, sizeof(sim->nodes[i].last_sent));
		memset(sim->nodes[i].told, 0, sizeof(sim->nodes[i].told));
	}
}

void watch_store(struct sim *sim)
{
	struct err err = {0};

	if (!sim->coordinator || sim->now_ms < sim->store_full_ms)
		return;
	for (size_t i = 0; i < sim->coordinator->rollouts_count; i++)
		if (sim->coordinator->rollouts[i]->stale)
			return;
	if (coordinator_check(sim->coordinator, &err) < 0)
		sim_break(sim, "coordinator: %s", err_text(&err, 0));
}

/* ---- desired states ---- */

static uint64_t hash_of(const struct desired_state *desired)
{
	const uint8_t *bytes = (const uint8_t *)desired->assignments;
	size_t size = desired->assignments_count * sizeof(*desired->assignments);
	uint64_t hash = UINT64_C(0xcbf29ce484222325), word;

	for (; size >= sizeof(word); bytes += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return hash;
}

/* Never an older one, and never two meanings of one number. */
static void watch_generation(struct sim *sim, struct sim_node *node,
			     const struct desired_state *desired)
{
	struct sim_sent new = {desired->epoch, desired->generation, hash_of(desired)};
	const struct sim_sent *last = &node->last_sent;

	if (new.epoch < last->epoch ||
	    (new.epoch == last->epoch && new.generation < last->generation))
		sim_break(sim, "%s is sent %llu.%llu, an older desired state than %llu.%llu before",
			  node->name, (unsigned long long)new.epoch,
			  (unsigned long long)new.generation, (unsigned long long)last->epoch,
			  (unsigned long long)last->generation);
	node->last_sent = new;
	for (unsigned i = 0; i < SIM_SENT && i < node->sent_count; i++) {
		if (node->sent[i].epoch != new.epoch || node->sent[i].generation != new.generation)
			continue;
		if (node->sent[i].hash != new.hash)
			sim_break(sim, "%s: desired state %llu.%llu means two things", node->name,
				  (unsigned long long)new.epoch,
				  (unsigned long long)new.generation);
		return;
	}
	sim_trace(sim, "%s is sent desired state %llu.%llu", node->name,
		  (unsigned long long)new.epoch, (unsigned long long)new.generation);
	node->sent[node->sent_count++ % SIM_SENT] = new;
}

static bool gate_failed(const struct rollout *machine)
{
	for (size_t i = 0; i < machine->stages_count; i++)
		if (machine->stages[i].verdict == VERDICT_FAIL)
			return true;
	return false;
}

/* Whoever is let go now was not let go before: may the rollout still do that? */
static void watch_new(struct sim *sim, struct sim_node *node, unsigned d,
		      const struct assignment *a, const struct rollout *machine)
{
	bool new = !rollout_id_equal(&node->told[d], &a->rollout) ||
		   node->told_attempt[d] != a->attempt;
	bool late_retry;

	if (a->goal != GOAL_SERVE || !new)
		return;
	node->told[d] = a->rollout;
	node->told_attempt[d] = a->attempt;
	if (!machine || !rollout_id_equal(&machine->id, &a->rollout)) {
		sim_break(sim, "%s is let go by a rollout of %s that is not the newest", node->name,
			  a->deployment);
		return;
	}
	late_retry = machine->state == ROLLOUT_COMPLETED && a->attempt > machine->attempt;
	if (machine->going_back || gate_failed(machine))
		sim_break(sim, "%s is let go although the rollout goes back", node->name);
	else if (rollout_state_is_final(machine->state) && !late_retry)
		sim_break(sim, "%s is let go although the rollout is %s", node->name,
			  rollout_state_name(machine->state));
}

static void watch_assignment(struct sim *sim, struct sim_node *node, const struct assignment *a)
{
	const struct coordinator *c = sim->coordinator;
	const struct shell_node *known = c ? agents_find(c, &node->id) : NULL;
	int d = deployment_of(a->deployment);
	const struct shell_deployment *deployment = c ? deployments_find(c, a->deployment) : NULL;
	const struct rollout *machine = d < 0 ? NULL : machine_of(sim, (uint32_t)d);
	struct err err = {0};

	if (!c || !known) /* it is just being created */
		return;
	if (!deployment || d < 0) {
		sim_break(sim, "%s is told of a deployment that there is not", node->name);
		return;
	}
	if (known->record.cordoned) {
		if (a->goal != GOAL_NONE || a->revert)
			sim_break(sim, "%s is cordoned and told to change", node->name);
		return;
	}
	if (!digest_equal(&a->base, &deployment->record.base))
		sim_break(sim, "%s is told that %s is the old release, which is %s", node->name,
			  name_of(sim, &a->base), name_of(sim, &deployment->record.base));
	if (!digest_is_zero(&a->next) && (!machine || !digest_equal(&a->next, &machine->to)))
		sim_break(sim, "%s is told to run %s, neither the old nor the new release",
			  node->name, name_of(sim, &a->next));
	if (machine && !rollout_state_is_final(machine->state) &&
	    invariants_assignment(machine, a, &err) < 0)
		sim_break(sim, "%s: %s", node->name, err_text(&err, 0));
	watch_new(sim, node, (unsigned)d, a, machine);
}

void watch_desired(struct sim *sim, struct sim_node *node, const struct desired_state *desired)
{
	watch_generation(sim, node, desired);
	for (size_t i = 0; i < desired->assignments_count; i++)
		watch_assignment(sim, node, &desired->assignments[i]);
}

/* ---- budget ---- */

void watch_budget(struct sim *sim, uint32_t deployment)
{
	const uint32_t *bounds = sim->watch->bounds[deployment];
	uint32_t bound = bounds[0] > bounds[1] ? bounds[0] : bounds[1], out = 0;

	for (uint32_t i = 0; i < sim->nodes_count; i++)
		out += sim->nodes[i].places[deployment].out == SIM_OUT_BY_CHANGE;
	if (out > bound)
		sim_break(sim, "%u nodes of %s are out of service through changes, %u may be", out,
			  sim_deployments[deployment], bound);
}

/* ---- the end ---- */

/* A node that does not serve what it should must be named, with a reason. */
static bool is_named(struct sim *sim, const struct sim_node *node, uint32_t d)
{
	char body[128];
	json_t *reply, *one, *reason, *last;
	size_t i;
	bool named = false;

	snprintf(body, sizeof(body), "{\"node\":\"%s\"}", node->name);
	if (sim_control(sim, "node.show", body, NULL))
		return false;
	reply = json_loads(sim->reply.body, 0, NULL);
	json_array_foreach(json_object_get(reply, "deployments"), i, one) {
		last = json_object_get(one, "last");
		reason = json_object_get(last, "reason");
		if (str_equal(json_string_value(json_object_get(one, "deployment")),
			      sim_deployments[d]) &&
		    json_string_length(json_object_get(reason, "text")) > 0)
			named = true;
	}
	json_decref(reply);
	return named;
}

static bool empty(const struct sim_place *place)
{
	return !place->route_open && !place->slots[COLOUR_BLUE].exists &&
	       !place->slots[COLOUR_GREEN].exists;
}

static bool serves(const struct sim_place *place, int version)
{
	const struct sim_slot *slot = &place->slots[place->route];

	return place->route_open && slot->running && (version < 0 || slot->version == (uint32_t)version);
}

static bool is_member(const struct coordinator *c, const struct shell_node *known,
		      const struct shell_deployment *deployment)
{
	const struct shell_rollout *ro = rollouts_of(c, deployment->record.name);

	return agents_matches(known, deployment->spec.selector) ||
	       (ro && ro->machine->state == ROLLOUT_STUCK && agents_matches(known, ro->spec.selector));
}

/* The rollout has let the node go and then taken it back; it knows a way and has not gone it. */
static bool was_not_taken_back(struct sim *sim, const struct sim_node *node,
			       const struct rollout *machine, uint32_t d)
{
	int to = machine ? sim_version_of(sim, &machine->to) : -1;
	uint32_t i = machine ? rollout_find(machine, &node->id) : ROLLOUT_NO_NODE;

	return i != ROLLOUT_NO_NODE && machine->nodes[i].changed && !machine->nodes[i].gone &&
	       machine->going_back && !machine->superseded && to >= 0 &&
	       !digest_equal(&machine->to, &machine->from) &&
	       serves(&node->places[d], to) && watch_could_return(node, d, to);
}

/* What is wrong with one deployment on one node; NULL: nothing. */
static const char *wrong(struct sim *sim, const struct sim_node *node,
			 const struct shell_node *known, uint32_t d)
{
	const struct coordinator *c = sim->coordinator;
	const struct shell_deployment *deployment = deployments_find(c, sim_deployments[d]);
	const struct rollout *machine = machine_of(sim, d);
	const struct sim_place *place = &node->places[d];
	int want;

	if (!deployment || !is_member(c, known, deployment))
		return known->record.cordoned || empty(place) ? NULL : "was not removed";
	if (known->record.cordoned)
		return NULL;
	if (was_not_taken_back(sim, node, machine, d))
		return "serves what was taken back";
	if (machine && machine->state == ROLLOUT_STUCK)
		return NULL;
	if (!watch_idle(node, d))
		return "has not come to rest";
	if (digest_is_zero(&deployment->record.base))
		return place->route_open ? "serves what was never completed" : NULL;
	want = sim_version_of(sim, &deployment->record.base);
	if (serves(place, want))
		return NULL;
	if (!watch_bars(node, d, want) && !watch_gave_up(node, d))
		return "does not serve what was completed last";
	if (!serves(place, -1) && watch_has_committed(node, d) && !watch_gave_up(node, d))
		return "serves nothing any more";
	return is_named(sim, node, d) ? NULL : "fails without a reason";
}

static bool node_ends_well(struct sim *sim, const struct sim_node *node, char text[512])
{
	const struct shell_node *known = agents_find(sim->coordinator, &node->id);
	struct node_status status, here;
	bool heard;

	if (!known || !node->agent) {
		snprintf(text, 512, "%s is %s", node->name, known ? "down" : "not known");
		return false;
	}
	agent_status(node->agent, &status);
	heard = status.epoch == known->desired.epoch &&
		status.generation == known->desired.generation && known->has_status &&
		known->status.sequence == status.sequence &&
		known->status.boot_epoch == status.boot_epoch && !known->silent;
	here = status; /* its numbers */
	codec_free(&codec_node_status, &status);
	for (uint32_t d = 0; heard && d < SIM_DEPLOYMENTS; d++) {
		const char *what = wrong(sim, node, known, d);

		if (!what)
			continue;
		snprintf(text, 512, "%s %s: %s, rollout %s", node->name, what, sim_deployments[d],
			 watch_state(sim, d));
		return false;
	}
	if (!heard)
		snprintf(text, 512,
			 "%s and the coordinator do not know the same: desired %llu.%llu and "
			 "%llu.%llu, status %llu.%llu and %llu.%llu%s",
			 node->name, (unsigned long long)here.epoch,
			 (unsigned long long)here.generation,
			 (unsigned long long)known->desired.epoch,
			 (unsigned long long)known->desired.generation,
			 (unsigned long long)here.boot_epoch, (unsigned long long)here.sequence,
			 (unsigned long long)known->status.boot_epoch,
			 (unsigned long long)known->status.sequence, known->silent ? ", silent" : "");
	return heard;
}

/* rolled_back, aborted and stuck say why. */
static bool rollout_ends_well(struct sim *sim, uint32_t d, char text[512])
{
	const struct rollout *machine = machine_of(sim, d);
	const struct shell_deployment *deployment;
	bool completed = machine && machine->state == ROLLOUT_COMPLETED;

	if (!machine)
		return true;
	deployment = deployments_find(sim->coordinator, sim_deployments[d]);
	snprintf(text, 512, "rollout of %s is %s", sim_deployments[d], watch_state(sim, d));
	if (!completed && (!machine->why.text[0] || planted(sim, "reason"))) {
		str_cut(text + strlen(text), 512 - strlen(text), " without a reason");
		return false;
	}
	return !completed || (deployment && digest_equal(&deployment->record.base, &machine->to));
}

bool watch_end(struct sim *sim, char text[512])
{
	str_cut(text, 512, "the coordinator is down");
	if (!sim->coordinator)
		return false;
	for (uint32_t d = 0; d < SIM_DEPLOYMENTS; d++)
		if (!rollout_ends_well(sim, d, text))
			return false;
	for (uint32_t i = 0; i < sim->nodes_count; i++)
		if (!sim->nodes[i].retired && !node_ends_well(sim, &sim->nodes[i], text))
			return false;
	text[0] = '\0';
	return true;
}
