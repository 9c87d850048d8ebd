/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is settled before a rollout's first period, so that nothing that the rollout does can change
 * how it is judged: gates and their weights, what each node's rates were, thresholds of latency,
 * strata, the baseline. All of it is the first entry of the judge's journal.
 */
#include "coordinator/judging.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"

enum {
	HISTORY_MS = 7 * 24 * 3600 * 1000,
	HISTORY_ROWS = 50000, /* newest records, of all deployments, that are looked at */
	ROWS_AT_ONCE = 4096,
};

/* ---- history ---- */

struct place { /* of a node in what history counts by */
	struct node_id id;
	uint32_t index;
};

struct reading {
	const struct digest *release;
	struct place *places; /* by id */
	size_t places_count;
	struct history *history;
	uint64_t oldest_ms, first_ms, seen;
	size_t rows;
};

static int compare_places(const void *a, const void *b)
{
	return memcmp(a, b, NODE_ID_SIZE); /* the id comes first */
}

static struct place *make_places(const struct node_id *nodes, size_t count)
{
	struct place *places = mem_array(count + 1, sizeof(*places));

	for (size_t i = 0; i < count; i++)
		places[i] = (struct place){nodes[i], (uint32_t)i};
	qsort(places, count, sizeof(*places), compare_places);
	return places;
}

static int read_row(void *arg, const struct store_observation *row,
                    const struct observation_record *record)
{
	struct reading *reading = arg;
	const struct place *place = bsearch(&row->node, reading->places, reading->places_count,
	                                    sizeof(*place), compare_places);

	reading->rows++;
	reading->seen = row->id;
	if (!place || row->received_ms < reading->oldest_ms ||
	    !digest_equal(&row->release, reading->release))
		return 0;
	if (!reading->first_ms)
		reading->first_ms = row->received_ms;
	history_add(reading->history, place->index, record);
	return 0;
}

int judging_history(struct coordinator *c, const char *deployment, const struct digest *release,
                    const struct node_id *nodes, size_t nodes_count, struct history *history,
                    uint64_t *ret_seen, uint64_t *ret_window_ms, struct err *err)
{
	uint64_t now = shell_now(c), last = 0;
	struct reading reading = {.release = release,
	                          .places = make_places(nodes, nodes_count),
	                          .places_count = nodes_count,
	                          .history = history,
	                          .oldest_ms = now > HISTORY_MS ? now - HISTORY_MS : 0};
	int r = c->store->ops->observation_last(c->store, &last, err);

	reading.seen = last > HISTORY_ROWS ? last - HISTORY_ROWS : 0;
	do {
		reading.rows = 0;
		if (r == 0)
			r = observations_each(c, deployment, reading.seen, ROWS_AT_ONCE, read_row,
			                      &reading, err);
	} while (r == 0 && reading.rows == ROWS_AT_ONCE);
	free(reading.places);
	*ret_seen = last;
	*ret_window_ms = reading.first_ms && now > reading.first_ms ? now - reading.first_ms : 0;
	return r;
}

/* ---- strata ---- */

static const char *label_of(const struct shell_node *node, const char *key)
{
	for (size_t i = 0; node && i < node->record.labels_count; i++)
		if (str_equal(node->record.labels[i].key, key))
			return node->record.labels[i].value;
	return "";
}

/* Sites are compared each for itself where every site with a first canary also has a node that
 * changes later; else canaries would be without controls, and all nodes are one stratum. */
static void set_strata(const struct coordinator *c, const struct shell_rollout *ro,
                       struct gather_node *nodes)
{
	const struct rollout *machine = ro->machine;
	const char *key = ro->spec.per_label[0] ? ro->spec.per_label : "site";
	const char *names[JUDGE_STRATA_MAX];
	bool canary[JUDGE_STRATA_MAX] = {0}, control[JUDGE_STRATA_MAX] = {0}, usable = true;
	uint32_t count = 0;

	for (size_t i = 0; i < machine->nodes_count; i++) {
		const char *name = label_of(agents_find(c, &machine->nodes[i].id), key);
		uint32_t s = 0;

		while (s < count && !str_equal(names[s], name))
			s++;
		if (s == count && count < JUDGE_STRATA_MAX)
			names[count++] = name;
		nodes[i].stratum = s < JUDGE_STRATA_MAX ? s : JUDGE_STRATA_MAX - 1;
		if (machine->nodes[i].stage == 0)
			canary[nodes[i].stratum] = true;
		else
			control[nodes[i].stratum] = true;
	}
	for (uint32_t s = 0; s < count; s++)
		usable = usable && (!canary[s] || control[s]);
	for (size_t i = 0; i < machine->nodes_count && !usable; i++)
		nodes[i].stratum = 0;
}

/* ---- the entry ---- */

static void write_members(const struct judge_policy *policy, const struct gather_node *nodes,
                          size_t count, struct judge_start *start)
{
	start->members = mem_array(count + 1, sizeof(*start->members));
	start->members_count = count;
	for (size_t i = 0; i < count; i++) {
		struct judge_member *member = &start->members[i];

		member->stratum = nodes[i].stratum;
		member->thresholds = nodes[i].thresholds;
		member->rates_count = policy->gates_count;
		member->rates = mem_array(policy->gates_count, sizeof(*member->rates));
		for (size_t g = 0; g < policy->gates_count; g++)
			member->rates[g].value = nodes[i].rates[g];
	}
	start->gates_count = policy->gates_count;
	start->gates = mem_copy(policy->gates, policy->gates_count * sizeof(*policy->gates));
}

static int write_baseline(struct coordinator *c, const struct shell_rollout *ro,
                          struct judge_start *start, struct err *err)
{
	struct digest own = baselines_of(c, ro->head.deployment, &ro->head.to);

	start->baseline = desired_baseline(c, ro->head.deployment, ro);
	if (digest_is_zero(&start->baseline))
		return 0;
	start->declared = digest_equal(&own, &start->baseline);
	return baselines_read(c, &start->baseline, &start->baseline_body, err);
}

int judging_settle(struct coordinator *c, const struct shell_rollout *ro,
                   struct judge_entry *ret_entry, struct err *err)
{
	const struct rollout *machine = ro->machine;
	size_t count = machine->nodes_count;
	AUTO_FREE struct gather_node *nodes = mem_array(count + 1, sizeof(*nodes));
	AUTO_FREE struct node_id *ids = mem_array(count + 1, sizeof(*ids));
	AUTO_FREE bool *canaries = mem_array(count + 1, sizeof(*canaries));
	COVEY_CLEANUP(history_free_p) struct history *history = NULL;
	struct judge_entry entry = {.kind = JUDGE_START, .at_ms = shell_now(c)};
	struct judge_policy policy;
	uint64_t window_ms;
	int r = judge_policy_make(&ro->spec, &policy, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		ids[i] = machine->nodes[i].id;
		canaries[i] = machine->nodes[i].stage == 0;
	}
	history = history_new(&policy, count);
	r = judging_history(c, ro->head.deployment, &ro->head.from, ids, count, history,
	                    &entry.seen, &window_ms, err);
	if (r == 0) {
		history_settle(history, canaries, &policy, nodes, &entry.start.thresholds);
		set_strata(c, ro, nodes);
		write_members(&policy, nodes, count, &entry.start);
		entry.start.period_ms =
		    c->observe_period_ms ? c->observe_period_ms : OBSERVE_PERIOD_MS;
		r = write_baseline(c, ro, &entry.start, err);
	}
	if (r < 0)
		codec_free(&codec_judge_entry, &entry);
	else
		*ret_entry = entry;
	return r;
}
