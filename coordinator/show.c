/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes, rollouts and deployments as `-o json` prints them (product.md, docs/PROTOCOL.md). The
 * names of states come from the tables of the core and of include/covey/report.h.
 */
#include "coordinator/control.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

#define X(name, text) [NODE_STATE_##name] = text,
static const char *const node_state_names[NODE_STATE_COUNT] = {NODE_STATES(X)};
#undef X
#define X(name, text) [SLOT_STATE_##name] = text,
static const char *const slot_state_names[SLOT_STATE_COUNT] = {SLOT_STATES(X)};
#undef X
static const char *const colour_names[COLOUR_COUNT] = {"blue", "green"};
static const char *const outcome_names[OUTCOME_COUNT] = {"none",    "completed", "rolled_back",
							 "aborted", "failed",	 "unreachable"};
static const char *const strategy_names[STRATEGY_COUNT] = {"canary", "blue_green", "rolling"};
static const char *const swap_names[SWAP_COUNT] = {"start-first", "stop-first"};
static const char *const inconclusive_names[INCONCLUSIVE_COUNT] = {"hold", "promote", "rollback",
								"promote-if-promised"};

static json_t *release_name(const struct coordinator *c, const struct digest *digest)
{
	char name[SHELL_TEXT_RELEASE];

	if (digest_is_zero(digest))
		return json_null();
	artifacts_name(c, digest, name);
	return json_string(name);
}

/* ---- nodes ---- */

static json_t *show_slots(const struct coordinator *c, const struct shell_node *node)
{
	json_t *slots = json_array();

	for (size_t i = 0; i < node->status.deployments_count; i++) {
		const struct deployment_report *report = &node->status.deployments[i];

		for (size_t s = 0; s < COLOUR_COUNT; s++) {
			const struct slot_report *slot = &report->slots[s];

			if (slot->state == SLOT_STATE_EMPTY && digest_is_zero(&slot->release))
				continue;
			json_array_append_new(
				slots, json_pack("{ss ss so ss}", "deployment", report->deployment,
						 "colour", colour_names[slot->colour], "release",
						 release_name(c, &slot->release), "state",
						 slot_state_names[slot->state]));
		}
	}
	return slots;
}

static json_t *show_reason(const struct reason *reason)
{
	if (!reason->phase[0])
		return json_null();
	return json_pack("{so so so so}", "phase", json_text(reason->phase), "check",
			 json_text_or_null(reason->check), "text", json_text(reason->text), "log",
			 json_text_or_null(reason->log));
}

static json_t *show_outcome(const struct coordinator *c, const struct outcome *outcome)
{
	if (outcome->kind == OUTCOME_NONE)
		return json_null();
	return json_pack("{ss so so so so}", "outcome", outcome_names[outcome->kind], "release",
			 release_name(c, &outcome->release), "rollout",
			 json_rollout_id(&outcome->rollout), "at", json_time(outcome->at_unix_ms),
			 "reason", show_reason(&outcome->reason));
}

static json_t *show_report(const struct coordinator *c, const struct deployment_report *report)
{
	return json_pack("{ss ss so so so sb so so so so}", "deployment", report->deployment,
			 "state", node_state_names[report->state], "release",
			 release_name(c, &report->release), "target",
			 release_name(c, &report->target), "rollout",
			 json_rollout_id(&report->rollout), "healthy", report->healthy,
			 "bytes_done", json_u64(report->bytes_done), "bytes_total",
			 json_u64(report->bytes_total), "last", show_outcome(c, &report->last),
			 "reason", show_reason(&report->last.reason));
}

static json_t *show_inventory(const struct inventory *inventory)
{
	return json_pack("{so so so so so so so so}", "hostname", json_text(inventory->hostname),
			 "os", json_text(inventory->os), "arch", json_text(inventory->arch),
			 "kernel", json_text(inventory->kernel), "runtime",
			 json_text(inventory->runtime), "cpus", json_u64(inventory->cpus),
			 "memory_bytes", json_u64(inventory->memory_bytes), "disk_free_bytes",
			 json_u64(inventory->disk_free_bytes));
}

static const char *name_of(const struct coordinator *c, const struct node_id *id,
			   char dst[NODE_ID_TEXT_MAX])
{
	const struct shell_node *node = agents_find(c, id);

	if (node)
		return node->record.name;
	node_id_text(dst, id);
	return dst;
}

/* How the node takes part in exchange, and what others have against it. */
static json_t *show_peering(const struct coordinator *c, const struct shell_node *node)
{
	static const char *const faults[PEER_FAULT_COUNT] = {"unreachable", "not_proved",
							     "sent_bad", "lied"};
	json_t *troubles = json_array();
	char endpoint[LIMIT_ENDPOINT + 1] = "", id[NODE_ID_TEXT_MAX];

	for (size_t i = 0; node->troubles && i < SHELL_TROUBLES; i++) {
		const struct shell_trouble *trouble = &node->troubles[i];

		if (trouble->at_ms)
			json_array_append_new(
				troubles,
				json_pack("{ss ss so so}", "by", name_of(c, &trouble->by, id),
					  "fault", faults[trouble->fault], "text",
					  json_text(trouble->text), "at",
					  json_time(trouble->at_ms)));
	}
	if (node->has_peering)
		exchange_endpoint(node, endpoint);
	return json_pack("{ss so so so}", "state",
			 !node->has_peering    ? "unknown"
			 : node->peering.off   ? "off"
			 : !node->peering.port ? "closed"
					       : "open",
			 "endpoint", json_text_or_null(endpoint), "problem",
			 json_text_or_null(node->peering.text), "troubles", troubles);
}

json_t *show_node(const struct coordinator *c, const struct shell_node *node, bool full)
{
	const struct store_node *record = &node->record;
	char key[2 * KEY_SIZE + 1];
	json_t *object = json_pack(
		"{ss so so ss so so so}", "name", record->name, "id", json_node_id(&record->id),
		"labels", json_labels(record->labels, record->labels_count), "state",
		agents_state(node), "last_seen", json_time(node->seen_ms), "agent_version",
		json_text(record->agent_version), "slots", show_slots(c, node));
	json_t *reports = json_array();

	if (!full) {
		json_decref(reports);
		return object;
	}
	for (size_t i = 0; i < node->status.deployments_count; i++)
		json_array_append_new(reports, show_report(c, &node->status.deployments[i]));
	str_hex(key, record->link_key.bytes, KEY_SIZE);
	json_object_set_new(object, "inventory", show_inventory(&node->inventory));
	json_object_set_new(object, "deployments", reports);
	json_object_set_new(object, "link_key", json_string(key));
	json_object_set_new(object, "joined_at", json_time(record->joined_ms));
	json_object_set_new(object, "cordoned", json_boolean(record->cordoned));
	json_object_set_new(object, "reachable", json_boolean(!node->silent));
	json_object_set_new(object, "epoch", json_u64(node->desired.epoch));
	json_object_set_new(object, "generation", json_u64(node->desired.generation));
	json_object_set_new(object, "peers", show_peering(c, node));
	return object;
}

/* ---- rollouts ---- */

static json_t *show_why(const struct coordinator *c, const struct rollout *machine,
			const struct rollout_why *why, uint32_t node)
{
	char id[NODE_ID_TEXT_MAX];

	if (!why->phase[0])
		return json_null();
	return json_pack("{so so so so}", "phase", json_text(why->phase), "node",
			 node < machine->nodes_count
				 ? json_string(name_of(c, &machine->nodes[node].id, id))
				 : json_null(),
			 "check", json_text_or_null(why->check), "text", json_text(why->text));
}

static json_t *stage_nodes(const struct coordinator *c, const struct rollout *machine,
			   const struct rollout_stage *stage)
{
	json_t *names = json_array();
	char id[NODE_ID_TEXT_MAX];

	for (uint32_t i = 0; i < stage->plan.count; i++)
		json_array_append_new(
			names, json_string(name_of(c, &machine->nodes[stage->plan.first + i].id,
						   id)));
	return names;
}

static json_t *show_stages(const struct coordinator *c, const struct rollout *machine)
{
	json_t *stages = json_array();

	for (size_t i = 0; i < machine->stages_count; i++) {
		const struct rollout_stage *stage = &machine->stages[i];
		uint64_t bake_ends = stage->state == STAGE_BAKING && !machine->stopped
					     ? stage->baking_ms + stage->plan.bake_ms
					     : 0;

		json_array_append_new(
			stages,
			json_pack("{so ss ss so so so so so}", "index", json_u64(i), "name",
				  stage->plan.name, "state", stage_state_name(stage->state),
				  "nodes", stage_nodes(c, machine, stage), "started_at",
				  json_time(stage->started_ms), "ended_at",
				  json_time(stage->ended_ms), "bake_ms",
				  json_u64(stage->plan.bake_ms), "bake_ends_at",
				  json_time(bake_ends)));
	}
	return stages;
}

/* The reason with the container's last lines, where the node's report still speaks of it. */
static json_t *node_reason(const struct coordinator *c, const struct rollout *machine, uint32_t i)
{
	const struct shell_node *node = agents_find(c, &machine->nodes[i].id);
	const struct deployment_report *report =
		node ? agents_report(node, machine->deployment) : NULL;
	json_t *reason = show_why(c, machine, &machine->node_whys[i], i);

	if (json_is_object(reason) && report &&
	    rollout_id_equal(&report->last.rollout, &machine->id))
		json_object_set_new(reason, "log", json_text_or_null(report->last.reason.log));
	return reason;
}

static json_t *show_rollout_nodes(const struct coordinator *c, const struct rollout *machine)
{
	json_t *nodes = json_array();
	char id[NODE_ID_TEXT_MAX];

	for (uint32_t i = 0; i < machine->nodes_count; i++) {
		const struct rollout_node *member = &machine->nodes[i];
		const struct shell_node *node = agents_find(c, &member->id);
		const struct deployment_report *report =
			node ? agents_report(node, machine->deployment) : NULL;
		json_t *object = json_pack(
			"{ss so ss so so}", "node", name_of(c, &member->id, id), "stage",
			json_u64(member->stage), "state",
			node_state_names[rollout_node_state(machine, i)], "release",
			release_name(c, &member->release), "reason", node_reason(c, machine, i));

		if (report && report->bytes_total > 0) {
			json_object_set_new(object, "bytes_done", json_u64(report->bytes_done));
			json_object_set_new(object, "bytes_total", json_u64(report->bytes_total));
			json_object_set_new(object, "bytes_from_peers",
					    json_u64(report->bytes_from_peers));
			json_object_set_new(object, "fetch_rate", json_u64(report->fetch_rate));
		}
		if (member->gone)
			json_object_set_new(object, "gone", json_true());
		json_array_append_new(nodes, object);
	}
	return nodes;
}

json_t *show_rollout_head(const struct coordinator *c, const struct store_rollout *head)
{
	const struct shell_rollout *ro = rollouts_find(c, &head->id);
	char model[SHELL_TEXT_RELEASE];

	artifacts_name(c, &head->to, model);
	if (strchr(model, '@'))
		*strchr(model, '@') = '\0';
	return json_pack("{so ss so so so ss so so}", "id", json_rollout_id(&head->id),
			 "deployment", head->deployment, "model", json_text(model), "from",
			 release_name(c, &head->from), "to", release_name(c, &head->to), "state",
			 ro ? rollout_state_name(ro->machine->state) : head->state, "started_at",
			 json_time(head->created_ms), "ended_at", json_time(head->ended_ms));
}

json_t *show_rollout(const struct coordinator *c, const struct shell_rollout *ro)
{
	const struct rollout *machine = ro->machine;
	struct rollout_effects effects = ro->effects;
	json_t *object = show_rollout_head(c, &ro->head);

	rollout_decide(machine, shell_now(c), &effects);
	json_object_set_new(object, "model", json_string(ro->spec.model));
	json_object_set_new(object, "state", json_string(rollout_state_name(machine->state)));
	json_object_set_new(object, "reason",
			    show_why(c, machine, &machine->why, machine->why_node));
	json_object_set_new(object, "stages", show_stages(c, machine));
	json_object_set_new(object, "nodes", show_rollout_nodes(c, machine));
	json_object_set_new(object, "gates", show_gates(c, ro));
	json_object_set_new(object, "judgement", show_verdict(ro));
	json_object_set_new(object, "started_at",
			    json_time(machine->started_ms ? machine->started_ms
							  : machine->created_ms));
	json_object_set_new(object, "ended_at", json_time(machine->ended_ms));
	json_object_set_new(object, "paused_seconds",
			    json_u64(rollout_paused_ms(machine, shell_now(c)) / 1000));
	json_object_set_new(object, "text", json_text(effects.text));
	json_object_set_new(object, "evidence",
			    json_string(effects.evidence_none ? "none" : "counts"));
	json_object_set_new(object, "change", json_u64(machine->changes));
	return object;
}

/* ---- deployments ---- */

static json_t *show_stage_specs(const struct deployment_spec *spec)
{
	json_t *stages = json_array();

	for (size_t i = 0; i < spec->stages_count; i++) {
		const struct stage_spec *stage = &spec->stages[i];

		json_array_append_new(stages, json_pack("{so so so}", "nodes",
							json_share(stage->nodes), "bake_ms",
							json_u64(stage->bake_ms), "where",
							json_text_or_null(stage->where)));
	}
	return stages;
}

static json_t *show_gate_specs(const struct deployment_spec *spec)
{
	json_t *gates = json_array();

	for (size_t i = 0; i < spec->gates_count; i++) {
		const struct gate_spec *gate = &spec->gates[i];

		json_array_append_new(
			gates, json_pack("{ss ss sb sb sb so so so}", "metric", gate->metric,
					 "against", gate->absolute ? "absolute" : "control", "critical", gate->critical,
					 "dry_run", gate->dry_run, "require_evidence",
					 gate->require == GATE_EVIDENCE, "min_bake_ms",
					 json_u64(gate->min_bake_ms), "deadline_ms",
					 json_u64(gate->deadline_ms), "bound_ms",
					 gate->bound_ms ? json_u64(gate->bound_ms) : json_null()));
	}
	return gates;
}

static json_t *show_strategy(const struct deployment_spec *spec)
{
	static const char *const promotes[PROMOTE_COUNT] = {"auto", "manual"};

	return json_pack("{ss so so so ss}", "kind", strategy_names[spec->strategy], "stages",
			 show_stage_specs(spec), "batch", json_share(spec->batch), "batch_bake_ms",
			 json_u64(spec->batch_bake_ms), "promote", promotes[spec->promote]);
}

static json_t *show_limits(const struct deployment_spec *spec)
{
	json_t *per = json_null();

	if (spec->per_label[0])
		per = json_pack("{ss so}", "label", spec->per_label, "nodes",
				json_u64(spec->per_label_nodes));
	return json_pack("{so so s{so so so} s{so so so}}", "max_unavailable",
			 json_share(spec->max_unavailable), "max_unavailable_per", per, "failures",
			 "nodes", json_u64(spec->failures.nodes), "percent",
			 json_u64(spec->failures.percent), "unreachable",
			 json_share(spec->failures.unreachable), "deadlines", "node_ms",
			 json_u64(spec->deadlines.node_ms), "stage_ms",
			 json_u64(spec->deadlines.stage_ms), "rollout_ms",
			 json_u64(spec->deadlines.rollout_ms));
}

json_t *show_spec(const struct deployment_spec *spec)
{
	json_t *limits = show_limits(spec);
	json_t *object = json_pack(
		"{ss so ss ss so so so s{so so so} so ss}", "deployment", spec->name, "release",
		json_sprintf("%s@%s", spec->model, spec->version), "nodes", spec->selector, "swap",
		swap_names[spec->swap], "drain_ms", json_u64(spec->drain_ms), "keep_warm_ms",
		json_u64(spec->keep_warm_ms), "strategy", show_strategy(spec), "windows",
		"download", json_text_or_null(spec->windows.download), "switch",
		json_text_or_null(spec->windows.swap), "timezone",
		json_text_or_null(spec->windows.timezone), "gates", show_gate_specs(spec),
		"on_inconclusive", inconclusive_names[spec->on_inconclusive]);

	json_object_update(object, limits);
	json_decref(limits);
	return object;
}

static size_t count_serving(const struct coordinator *c, const struct shell_deployment *deployment)
{
	size_t count = 0;

	for (size_t i = 0; i < c->nodes_count; i++) {
		const struct deployment_report *report =
			agents_report(c->nodes[i], deployment->record.name);

		count += report && !digest_is_zero(&report->release);
	}
	return count;
}

json_t *show_deployment(const struct coordinator *c, const struct shell_deployment *deployment,
			bool full)
{
	const struct store_deployment *record = &deployment->record;
	const struct shell_rollout *ro = rollouts_of(c, record->name);
	bool under_way = ro && rollouts_under_way(ro);
	json_t *object = json_pack(
		"{ss ss so so so ss ss so so}", "deployment", record->name, "model",
		deployment->spec.model, "release", release_name(c, &record->base), "digest", json_digest(&record->base), "nodes",
		json_u64(count_serving(c, deployment)), "selector", deployment->spec.selector,
		"strategy", strategy_names[deployment->spec.strategy], "rollout",
		under_way ? json_rollout_id(&ro->head.id) : json_null(), "changed_at",
		json_time(record->changed_ms));

	if (full)
		json_object_set_new(object, "spec", show_spec(&deployment->spec));
	return object;
}
