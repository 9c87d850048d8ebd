/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence through the whole coordinator: nodes' records in, verdicts, quarantine, pauses, drift
 * and the hook out; and nothing of it lost or counted twice by a crash in between.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "fixture.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NODES = 6, PERIOD_MS = 1000, REQUESTS = 40 };

static struct fixture *f;
static struct rng rng;
static struct digest old_release, new_release, baseline;
static uint64_t sequence;
static double rates[NODES], canary_factor; /* of errors; of those on the new release */
static bool light[NODES];                  /* whose input has moved */
static uint64_t slow; /* of a canary's requests, those that take longer than any bound */

static int setup(void **state)
{
	struct deployment_spec spec;
	char name[] = "n0";

	f = fixture_new(NULL);
	f->config.observe_period_ms = PERIOD_MS;
	f->config.drift = (struct lookout_policy){10000, 50, 3600000};
	fixture_crash(f);
	fixture_start(f);
	rng.state = 4;
	sequence = 0;
	canary_factor = 1;
	slow = 0;
	memset(light, 0, sizeof(light));
	baseline = (struct digest){0};
	old_release = fixture_push(f, "ocr", "1");
	new_release = fixture_push(f, "ocr", "2");
	for (size_t i = 0; i < NODES; i++) {
		rates[i] = 0.02;
		name[1] = (char)('0' + i);
		fixture_join(f, name, NULL);
	}
	fixture_spec(&spec, "ocr", "ocr", "1");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	deployment_spec_free(&spec);
	fixture_pass(f, 60000);
	return 0;
}

static int teardown(void **state)
{
	fixture_free(f);
	return 0;
}

/* ---- nodes that observe ---- */

/* At the thresholds that the node was told. */
static void count_slow(const struct fake_node *node, bool canary, struct observation_record *record)
{
	record->counts.latencies = REQUESTS;
	for (size_t i = 0; node->desired.assignments_count && i < LIMIT_THRESHOLDS; i++) {
		uint64_t us = node->desired.assignments[0].observe.thresholds[i].us;

		record->exceedances[i] =
		    (struct latency_exceedance){us, us && canary ? slow : 0};
	}
}

static void observe(size_t i, const struct digest *release)
{
	bool canary = digest_equal(release, &new_release);
	uint64_t bins[7] = {light[i] ? 40 : 13, 13, 14};
	struct feature_counts feature = {bins, 7};
	struct observation_record record = {
	    .boot_epoch = 1,
	    .sequence = ++sequence,
	    .release = *release,
	    .baseline = baseline,
	    .start_unix_ms = f->now_ms - PERIOD_MS,
	    .length_ms = PERIOD_MS,
	    .age_ms = 3600000,
	    .serving = true,
	    .periods = 1,
	    .counts = {.attempted = REQUESTS, .labels_right = 1},
	    .features = &feature,
	    .features_count = digest_is_zero(&baseline) ? 0 : 1,
	};
	struct msg_observed message = {&record, 1, NULL, 0};

	STR_CUT(record.deployment, "ocr");
	for (size_t k = 0; k < REQUESTS; k++)
		record.counts.errors += rng_unit(&rng) < rates[i] * (canary ? canary_factor : 1);
	record.counts.ok = REQUESTS - record.counts.errors;
	count_slow(&f->nodes[i], canary, &record);
	fixture_send(f, &f->nodes[i], MESSAGE_OBSERVED, &message);
}

/* A second passes, then nodes from `first` to before `end` tell what it brought. */
static void observe_some(size_t first, size_t end, uint64_t ms)
{
	fixture_pass(f, ms);
	for (size_t i = first; i < end; i++)
		if (f->nodes[i].status.deployments_count)
			observe(i, &f->nodes[i].status.deployments[0].release);
	fixture_deliver(f);
}

static void observe_for(uint64_t seconds)
{
	for (uint64_t s = 0; s < seconds; s++)
		observe_some(0, NODES, 1000);
}

static void roll_out(uint32_t canaries, struct gate_spec *gates, size_t gates_count)
{
	struct deployment_spec spec;

	fixture_spec(&spec, "ocr", "ocr", "2");
	spec.stages[0].nodes = (struct share){.value = canaries};
	spec.stages[0].bake_ms = 60000;
	if (gates_count)
		spec.gates = mem_copy(gates, gates_count * sizeof(*gates));
	spec.gates_count = gates_count;
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	deployment_spec_free(&spec);
}

static json_t *show(void)
{
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "rollout.ls", NULL, NULL), 0);
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "rollout.show",
	                             json_pack("{sO}", "rollout",
	                                       json_object_get(json_array_get(f->body, 0), "id")),
	                             NULL),
	                 0);
	return f->body;
}

static const char *state_of(void)
{
	return fixture_text(show(), "state");
}

static json_t *gate(const char *metric)
{
	json_t *gates = json_object_get(show(), "gates");

	for (size_t i = 0; i < json_array_size(gates); i++)
		if (str_equal(fixture_text(json_array_get(gates, i), "metric"), metric))
			return json_array_get(gates, i);
	fail_msg("there is no gate %s", metric);
	return NULL;
}

static double number(const char *metric, const char *member)
{
	return json_number_value(json_object_get(gate(metric), member));
}

/* ---- verdicts ---- */

static void test_harm_is_taken_back(void **state)
{
	observe_for(60);
	canary_factor = 6;
	roll_out(2, NULL, 0);
	observe_for(50);
	assert_string_equal(state_of(), "rolled_back");
	assert_string_equal(fixture_text(show(), "reason.check"), "error_rate");
	assert_string_equal(fixture_text(gate("error_rate"), "verdict"), "fail");
	assert_string_equal(fixture_text(show(), "judgement.decision"), "halt");
	assert_true(number("error_rate", "ln_e") >= number("error_rate", "ln_e_fail"));
	assert_true(number("error_rate", "ratio_lo") > 1);
	assert_true(json_array_size(json_object_get(gate("error_rate"), "periods")) > 1);
}

static void test_the_same_release_passes(void **state)
{
	observe_for(60);
	roll_out(2, NULL, 0);
	observe_for(100);
	assert_string_equal(state_of(), "completed");
	assert_string_equal(fixture_text(show(), "evidence"), "counts");
	assert_string_equal(fixture_text(gate("error_rate"), "verdict"), "pass");
	assert_string_equal(fixture_text(gate("error_rate"), "test"), "hierarchical");
	assert_string_equal(fixture_text(gate("timeouts"), "test"), "unequal");
}

static void test_no_traffic_is_no_evidence(void **state)
{
	roll_out(1, NULL, 0);
	fixture_pass(f, 100000);
	assert_string_equal(state_of(), "completed");
	assert_string_equal(fixture_text(show(), "evidence"), "none");
	assert_string_equal(fixture_text(gate("latency"), "verdict"), "none");
}

static void test_required_evidence_holds(void **state)
{
	struct gate_spec gates = {
	    .metric = "error_rate", .require = GATE_EVIDENCE, .deadline_ms = 20000};

	roll_out(1, &gates, 1);
	fixture_pass(f, 100000);
	assert_string_equal(state_of(), "paused");
	assert_string_equal(fixture_text(show(), "reason.check"), "evidence");
}

/* A bound on latency: nodes are told to count what is above it, and no control is asked. */
static void test_bound(void **state)
{
	struct gate_spec gates = {
	    .metric = "latency", .absolute = true, .bound_ms = 200, .slo = 0.01};

	observe_for(10);
	roll_out(2, &gates, 1);
	observe_for(100);
	assert_string_equal(state_of(), "completed");
	assert_string_equal(fixture_text(gate("latency"), "test"), "absolute");
	assert_string_equal(fixture_text(gate("latency"), "verdict"), "pass");
	assert_true(number("latency", "bound_ms") == 200);
}

static void test_bound_is_broken(void **state)
{
	struct gate_spec gates = {
	    .metric = "latency", .absolute = true, .bound_ms = 200, .slo = 0.01};

	slow = 4; /* of 40 */
	observe_for(10);
	roll_out(2, &gates, 1);
	observe_for(50);
	assert_string_equal(state_of(), "rolled_back");
	assert_string_equal(fixture_text(show(), "reason.check"), "latency");
	assert_string_equal(fixture_text(show(), "judgement.decision"), "roll_back");
	assert_non_null(strstr(fixture_text(show(), "judgement.text"), "latency above 200 ms: "));
	assert_true(json_array_size(json_object_get(gate("latency"), "periods")) > 0);
}

/* A promise that is kept is enough where the policy says so. */
static void test_promised(void **state)
{
	struct gate_spec gates = {.metric = "error_rate",
	                          .require = GATE_EVIDENCE,
	                          .deadline_ms = 20000,
	                          .slo = 0.1,
	                          .has_policy = true,
	                          .policy = INCONCLUSIVE_PROMISED,
	                          .margin = 1.05};

	observe_for(10);
	roll_out(1, &gates, 1);
	observe_for(40);
	assert_string_not_equal(state_of(), "completed"); /* the bake is not over */
	observe_for(60);
	assert_string_equal(state_of(), "completed");
	assert_string_equal(fixture_text(gate("error_rate"), "verdict"), "inconclusive");
}

/* What a crash in the middle forgets is read again, and the evidence is the same. */
static void test_crash(void **state)
{
	AUTO_FREE char *before = NULL, *after = NULL;
	json_t *gates, *gates_then;

	observe_for(60);
	roll_out(2, NULL, 0);
	observe_for(25);
	before = json_dumps(json_object_get(show(), "gates"), JSON_SORT_KEYS);
	fixture_crash(f);
	fixture_start(f);
	gates = json_object_get(show(), "gates");
	after = json_dumps(gates, JSON_SORT_KEYS);
	gates_then = json_incref(gates);
	assert_string_equal(after, before);
	assert_true(number("error_rate", "observations") > 10 * NODES * REQUESTS);
	observe_some(0, 3, 1000); /* of this period the coordinator heard half when it fell */
	fixture_crash(f);
	fixture_start(f);
	observe_some(3, NODES, 0);
	observe_for(2);
	assert_int_equal(
	    (uint64_t)number("error_rate", "observations"),
	    json_integer_value(json_object_get(json_array_get(gates_then, 0), "observations")) +
	        3 * NODES * REQUESTS);
	canary_factor = 6;
	observe_for(40);
	assert_string_equal(state_of(), "rolled_back");
	json_decref(gates_then);
}

/* One of three canaries is bad: it goes back, the release goes on. */
static void test_quarantine(void **state)
{
	const char *bad = NULL;
	json_t *nodes;

	observe_for(60);
	roll_out(3, NULL, 0);
	fixture_pass(f, 5000);
	for (size_t i = 0; i < NODES && !bad; i++) {
		if (!digest_equal(&f->nodes[i].status.deployments[0].release, &new_release))
			continue;
		rates[i] = 0.3;
		bad = f->nodes[i].name;
	}
	assert_non_null(bad);
	observe_for(120);
	assert_string_equal(state_of(), "completed");
	nodes = json_object_get(show(), "nodes");
	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);
		bool is_bad = str_equal(fixture_text(node, "node"), bad);

		assert_string_equal(fixture_text(node, "state"),
		                    is_bad ? "rolled_back" : "serving");
		if (is_bad)
			assert_string_equal(fixture_text(node, "reason.check"), "quarantine");
	}
}

/* ---- inputs ---- */

static void learn_baseline(void)
{
	struct baseline_edge edges[] = {{0}, {1}, {2}, {3}};
	uint64_t counts[7] = {1000, 1000, 1000};
	struct baseline_feature feature = {
	    .name = "light", .edges = edges, .edges_count = 4, .counts = counts, .counts_count = 7};
	struct baseline learned = {3000, &feature, 1};
	struct baseline_proposal proposal = {.release = old_release};
	struct msg_observed message = {NULL, 0, &proposal, 1};

	STR_CUT(proposal.deployment, "ocr");
	assert_int_equal(baseline_encode(&learned, &proposal.baseline, NULL), 0);
	baseline_id(proposal.baseline.data, proposal.baseline.size, &baseline);
	fixture_send(f, &f->nodes[0], MESSAGE_OBSERVED, &message);
	fixture_deliver(f);
	fixture_pass(f, 2000);
	free(proposal.baseline.data);
}

static void test_other_input_pauses(void **state)
{
	learn_baseline();
	observe_for(30);
	canary_factor = 1.5;
	roll_out(2, NULL, 0);
	fixture_pass(f, 5000);
	for (size_t i = 0; i < NODES; i++)
		light[i] = digest_equal(&f->nodes[i].status.deployments[0].release, &new_release);
	observe_for(40);
	assert_string_equal(state_of(), "paused");
	assert_string_equal(fixture_text(show(), "reason.check"), "input");
	assert_non_null(strstr(fixture_text(show(), "reason.text"), "light differs"));
}

static void test_drift_calls_the_hook_once(void **state)
{
	json_t *body, *feature;

	learn_baseline();
	observe_for(30);
	assert_int_equal(f->hooks, 0);
	for (size_t i = 0; i < NODES; i++)
		light[i] = true;
	observe_for(60);
	assert_int_equal(f->hooks, 1);
	body = json_loads(f->hooked, 0, NULL);
	assert_string_equal(fixture_text(body, "why"), "drift");
	assert_true(json_is_true(json_object_get(body, "drifting")));
	json_decref(body);
	fixture_crash(f);
	fixture_start(f);
	observe_for(30);
	assert_int_equal(f->hooks, 1); /* the cool-down outlives a restart */
	assert_int_equal(
	    fixture_ask(f, ROLE_VIEWER, "drift.show", json_pack("{ss}", "model", "ocr"), NULL), 0);
	feature = json_array_get(json_object_get(json_array_get(f->body, 0), "features"), 0);
	assert_string_equal(fixture_text(feature, "name"), "light");
	assert_true(json_is_true(json_object_get(feature, "drifting")));
	assert_int_equal(json_array_size(json_object_get(feature, "nodes")), NODES);
	assert_int_equal(json_integer_value(json_object_get(
	                     json_object_get(json_array_get(f->body, 0), "labels"), "right")),
	                 sequence); /* each record once, in spite of the crash */
	assert_true(json_number_value(json_object_get(feature, "ln_e")) > 10);
	assert_int_not_equal(
	    fixture_ask(f, ROLE_VIEWER, "drift.show", json_pack("{ss}", "model", "nobody"), NULL),
	    0);
	roll_out(2, NULL, 0); /* the same on both sides: no fault of the release */
	observe_for(90);
	assert_string_equal(state_of(), "completed");
}

static void test_plan_knows_how_long(void **state)
{
	struct gate_spec gate_spec = {
	    .metric = "error_rate", .require = GATE_EVIDENCE, .deadline_ms = 5000};
	struct deployment_spec spec;
	struct bytes blob;
	json_t *evidence;

	observe_for(60);
	fixture_spec(&spec, "ocr", "ocr", "2");
	spec.gates = mem_copy(&gate_spec, sizeof(gate_spec));
	spec.gates_count = 1;
	assert_int_equal(codec_encode(&codec_deployment_spec, &spec, LIMIT_MANIFEST, &blob, NULL),
	                 0);
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "plan", NULL, &blob), 0);
	evidence = json_array_get(json_object_get(f->body, "evidence"), 0);
	assert_string_equal(fixture_text(evidence, "metric"), "error_rate");
	assert_true(json_number_value(json_object_get(evidence, "expected_ms")) > 5000);
	assert_true(json_is_true(json_object_get(evidence, "too_late")));
	free(blob.data);
	spec.gates[0].deadline_ms = 3000; /* no record of it could count by then */
	assert_int_equal(codec_encode(&codec_deployment_spec, &spec, LIMIT_MANIFEST, &blob, NULL),
	                 0);
	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "plan", NULL, &blob), 2);
	free(blob.data);
	deployment_spec_free(&spec);
}

static size_t events_about(const char *text)
{
	size_t count = 0, i;
	json_t *event;

	assert_int_equal(fixture_ask(f, ROLE_VIEWER, "events", NULL, NULL), 0);
	json_array_foreach(f->body, i, event)
		count += strstr(fixture_text(event, "text"), text) != NULL;
	return count;
}

/* Evidence does not wait for the end of a cool-down because nobody listened at first. */
static void test_a_hook_that_nobody_takes_is_called_again(void **state)
{
	learn_baseline();
	observe_for(30);
	f->hook_is_deaf = true;
	for (size_t i = 0; i < NODES; i++)
		light[i] = true;
	observe_for(60);
	assert_int_equal(events_about("the hook could not be called"), 1);
	f->hook_is_deaf = false;
	observe_for(2);
	assert_int_equal(f->hooks, 1);
	observe_for(60);
	assert_int_equal(f->hooks, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_harm_is_taken_back),
	    T(test_the_same_release_passes),
	    T(test_no_traffic_is_no_evidence),
	    T(test_required_evidence_holds),
	    T(test_promised),
	    T(test_bound),
	    T(test_bound_is_broken),
	    T(test_crash),
	    T(test_quarantine),
	    T(test_other_input_pauses),
	    T(test_drift_calls_the_hook_once),
	    T(test_a_hook_that_nobody_takes_is_called_again),
	    T(test_plan_knows_how_long),
	};

	return cmocka_run_group_tests_name("coordinator: judging", tests, NULL, NULL);
}
