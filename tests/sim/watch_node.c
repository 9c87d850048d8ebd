/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold on a node: what it starts, where it leads its clients, that its journal says what
 * its memory says, that it is in one change at a time. Looks into the agent's shell, read only.
 */
#include "sim.h"

#include "agent/record_codec.h"
#include "agent/shell.h"
#include "base/str.h"

static const struct deploy *deploy_of(const struct sim_node *node, uint32_t deployment)
{
	return node->agent ? node_core_find(node->agent->core, sim_deployments[deployment]) : NULL;
}

/* ---- after each call into the agent ---- */

/* The node's own word on what it rolled back and what it committed. */
static void note_outcome(struct sim_node *node, const struct deploy_outcome *last)
{
	int v = sim_version_of(node->sim, &last->release);

	if (v < 0)
		return;
	if (last->kind == OUTCOME_COMPLETED)
		node->vetoed[v] = 0;
	else if (last->kind == OUTCOME_ROLLED_BACK && !str_equal(last->reason.phase, "coordinator"))
		node->vetoed[v] = last->attempt + 1;
}

static void trace_phase(struct sim_node *node, uint32_t d, const struct deploy *deploy)
{
	struct sim_place *place = &node->places[d];
	const struct deploy_record *record = &deploy->record;
	int v = sim_version_of(node->sim, &record->target.digest);

	if (place->phase == (unsigned)record->phase)
		return;
	sim_trace(node->sim, "%s: %s %s -> %s, target %s, last %d %s %s", node->name,
		  sim_deployments[d], deploy_phases[place->phase].text,
		  deploy_phases[record->phase].text, v < 0 ? "-" : node->sim->versions[v].name,
		  (int)record->last.kind, record->last.reason.check, record->last.reason.text);
	place->phase = (unsigned)record->phase;
}

void watch_node(struct sim_node *node)
{
	unsigned switching = 0;

	for (uint32_t d = 0; d < SIM_DEPLOYMENTS; d++) {
		const struct deploy *deploy = deploy_of(node, d);

		if (!deploy)
			continue;
		if (!node->agent->journal_broken) /* else a crash may undo it, and nobody was told */
			note_outcome(node, &deploy->record.last);
		trace_phase(node, d, deploy);
		if (deploy_is_gone(deploy))
			node->places[d].out = SIM_NEVER_SERVED; /* nobody expects anything */
		switching += deploy_switches(deploy);
	}
	if (switching > 1)
		sim_break(node->sim, "%s switches two deployments at once", node->name);
}

/* ---- journal ---- */

struct comparison {
	struct sim_node *node;
	size_t count;
	bool equal;
};

static int compare(void *context, const char *deployment, const void *data, size_t size,
		   struct err *err)
{
	struct comparison *comparison = context;
	const struct deploy *deploy = node_core_find(comparison->node->agent->core, deployment);
	struct bytes bytes = {0};

	comparison->count++;
	if (!deploy ||
	    codec_encode(&codec_deploy_record, &deploy->record, RECORD_ENCODED_MAX, &bytes, err) < 0)
		comparison->equal = false;
	else
		comparison->equal &= bytes.size == size && memcmp(bytes.data, data, size) == 0;
	free(bytes.data);
	return 0;
}

void watch_journal(struct sim_node *node)
{
	struct comparison comparison = {.node = node, .equal = true};
	struct journal_node row;
	uint64_t epoch, generation;

	if (!node->agent || node->agent->journal_broken || planted(node->sim, "lost veto"))
		return;
	node_core_generation(node->agent->core, &epoch, &generation);
	if (journal_each_record(node->journal, compare, &comparison, NULL) < 0 ||
	    journal_load_node(node->journal, &row, NULL) < 0 || row.epoch != epoch ||
	    row.generation != generation || !comparison.equal ||
	    comparison.count != node_core_count(node->agent->core))
		sim_break(node->sim, "%s: journal and memory differ", node->name);
}

/* ---- clients ---- */

static bool reached(const struct sim_node *node, const struct sim_place *place)
{
	const struct sim_slot *slot = &place->slots[place->route];

	return place->route_open && slot->running && node->smoked[slot->version];
}

static bool in_trouble(const struct sim_node *node)
{
	uint64_t now = node->sim->now_ms;

	return !node->agent || !node->link_up || !node->helper_up || now < node->cut_to_ms ||
	       now < node->cut_from_ms || now < node->disk_full_ms || now < node->slow_ms;
}

/* A change that Covey makes: on the way back all nodes may go at once (product.md). */
static enum sim_out reason_of(const struct sim_node *node, uint32_t d)
{
	const struct deploy *deploy = deploy_of(node, d);
	const struct sim_place *place = &node->places[d];
	uint32_t version = place->slots[place->route].version;
	enum sim_behaviour behaviour = node->sim->versions[version].behaviour;

	if (in_trouble(node) || !deploy)
		return SIM_OUT_BY_FAULT;
	if (behaviour == SIM_SOURS || behaviour == SIM_CRASHES)
		return SIM_OUT_BY_RELEASE; /* it is started anew, or left */
	if (deploy->record.phase == DEPLOY_REVERTING || deploy->record.assignment.revert ||
	    digest_equal(&deploy->record.target.digest, &deploy->record.assignment.base))
		return SIM_OUT_ON_WAY_BACK;
	if (deploy->record.phase == DEPLOY_REMOVING || deploy->record.phase == DEPLOY_GONE)
		return SIM_OUT_REMOVED;
	return SIM_OUT_BY_CHANGE;
}

void watch_place(struct sim_node *node, uint32_t deployment, enum sim_out why)
{
	struct sim_place *place = &node->places[deployment];

	if (reached(node, place)) {
		place->out = SIM_SERVES;
		return;
	}
	if (place->out != SIM_SERVES)
		return;
	place->out = why == SIM_OUT_BY_CHANGE ? reason_of(node, deployment) : why;
	sim_trace(node->sim, "%s: clients of %s reach nothing (%d)", node->name,
		  sim_deployments[deployment], (int)place->out);
	if (place->out == SIM_OUT_BY_CHANGE)
		watch_budget(node->sim, deployment);
}

void watch_hit(struct sim_node *node)
{
	for (unsigned d = 0; d < SIM_DEPLOYMENTS; d++)
		if (node->places[d].out == SIM_OUT_BY_CHANGE)
			node->places[d].out = SIM_OUT_BY_FAULT;
}

/* ---- what it asks of the helper ---- */

void watch_start(struct sim_node *node, const struct helper_request *request, int version)
{
	struct sim *sim = node->sim;
	const char *name = sim->versions[version].name;
	const struct deploy *deploy = deploy_of(node, sim->versions[version].deployment);
	uint64_t attempt = request->attempt;

	if (!node->held[version].sealed)
		sim_break(sim, "%s starts %s, which is not sealed", node->name, name);
	if (node->held[version].wrong)
		sim_break(sim, "%s starts %s, of which a chunk is not what its digest says",
			  node->name, name);
	if (deploy && deploy->record.assignment.attempt > attempt)
		attempt = deploy->record.assignment.attempt; /* a retry while it goes back */
	if (node->vetoed[version] && attempt < node->vetoed[version])
		sim_break(sim, "%s starts %s again, which it rolled back", node->name, name);
}

void watch_route(struct sim_node *node, const struct helper_route *route, int version)
{
	if (!node->smoked[version])
		sim_break(node->sim, "%s routes to %s, which never passed its smoke tests here",
			  node->name, node->sim->versions[version].name);
}

/* ---- the end ---- */

bool watch_gave_up(const struct sim_node *node, uint32_t deployment)
{
	const struct deploy *deploy = deploy_of(node, deployment);

	return deploy && deploy->record.last.kind == OUTCOME_FAILED &&
	       deploy->record.last.reason.text[0];
}

bool watch_could_return(const struct sim_node *node, uint32_t deployment, int version)
{
	const struct deploy *deploy = deploy_of(node, deployment);
	const struct digest *release = &node->sim->versions[version].digest;
	int before;

	if (!deploy || watch_gave_up(node, deployment) ||
	    !digest_equal(&deploy->record.committed.digest, release))
		return false;
	before = sim_version_of(node->sim, &deploy->record.previous.digest);
	return before >= 0 && !watch_bars(node, deployment, before);
}

bool watch_has_committed(const struct sim_node *node, uint32_t deployment)
{
	const struct deploy *deploy = deploy_of(node, deployment);

	return deploy && !digest_is_zero(&deploy->record.committed.digest);
}

bool watch_bars(const struct sim_node *node, uint32_t deployment, int version)
{
	const struct deploy *deploy = deploy_of(node, deployment);

	return node->vetoed[version] ||
	       (deploy && deploy_vetoes(deploy, &node->sim->versions[version].digest,
					deploy->record.assignment.attempt));
}

bool watch_idle(const struct sim_node *node, uint32_t deployment)
{
	const struct deploy *deploy = deploy_of(node, deployment);

	return !deploy || deploy->record.phase == DEPLOY_IDLE ||
	       deploy->record.phase == DEPLOY_GONE;
}
