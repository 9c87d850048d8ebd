/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a server's datagram to a committed record: the shell with a real journal, a coordinator that
 * counts as the real one does, and everything that may come in between: no link, lost answers, a
 * crash of the agent or of the server, an order that changes.
 */
#include "agent/observe/observation.h"
#include "agent/outbox.h"
#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"
#include "evidence/record.h"
#include "evidence/sketch.h"
#include "fleetless.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MINUTE_MS = 60000, SLACK_MS = 6000 };

static struct node node;
static struct digest release;

static void serve(struct observe_order order)
{
	struct assignment a = node_assignment(&release, NULL, GOAL_NONE);
	static uint64_t generation;
	struct digest reached;

	a.observe = order;
	node_desire(&node, ++generation, &a, 1);
	node_run(&node, 30000);
	reached = node_reached(&node);
	assert_true(digest_equal(&reached, &release));
}

static int setup(void **state)
{
	node_create(&node);
	release = node_release(&node, "1.0.0", 1, 2, 1000);
	node_start(&node);
	serve((struct observe_order){0});
	node_run(&node, MINUTE_MS); /* smoke tests of the start are told */
	codec_free(&codec_observation_record, &node.observed);
	return 0;
}

static int teardown(void **state)
{
	node_destroy(&node);
	return 0;
}

static void observe(const char *text)
{
	node_observe(&node, &release, text);
}

static const struct observed_counts *sum(void)
{
	return &node.observed.counts;
}

static void restart_agent(void)
{
	node_restart_agent(&node);
	node_start(&node);
	node_run(&node, 5000);
}

/* ---- counting ---- */

static void test_a_period_becomes_a_record(void **state)
{
	size_t before = node.observations;

	observe("latency_us=1000 status=200 class=7 score=0.9\n"
		"latency_us=5000 status=500\nlatency_ms=20 status=504");
	observe("score=nan latency_us=100\nlabel=wrong n=2\nlabel=right\n");
	assert_int_equal(node.observations, before);
	node_run(&node, MINUTE_MS + SLACK_MS);
	assert_int_equal(node.observations, before + 1);
	assert_int_equal(sum()->attempted, 4);
	assert_int_equal(sum()->ok, 1);
	assert_int_equal(sum()->errors, 1);
	assert_int_equal(sum()->timeouts, 1);
	assert_int_equal(sum()->invalid, 1);
	assert_int_equal(sum()->labels_wrong, 2);
	assert_int_equal(sum()->labels_right, 1);
	assert_int_equal(sum()->incidents, 1);
	assert_int_equal(sum()->minutes, 1);
	assert_int_equal(sum()->latencies, 4);
	assert_int_equal(sum()->latency_sum_us, 26100);
	assert_int_equal(node.newest.buckets_count, 4);
	assert_true(fabs(sketch_quantile(node.newest.buckets, 4, 0.75) / 5000 - 1) < 0.01);
	assert_true(node.newest.serving);
	assert_false(node.newest.urgent);
	assert_true(digest_equal(&node.newest.release, &release));
	assert_string_equal(node.newest.deployment, "ocr");
	assert_true(node.newest.length_ms > 0 && node.newest.length_ms <= MINUTE_MS);
	assert_int_equal((node.newest.start_unix_ms + node.newest.length_ms) % MINUTE_MS, 0);
}

static void test_silence_costs_nothing(void **state)
{
	size_t messages = node.observed_messages;
	uint64_t commits = journal_commits(node.journal);

	node_run(&node, 60 * MINUTE_MS);
	assert_int_equal(node.observed_messages, messages);
	assert_int_equal(journal_commits(node.journal), commits);
}

static void test_well_linked_nothing_goes_to_the_disk(void **state)
{
	uint64_t commits = journal_commits(node.journal);

	for (int i = 0; i < 10; i++) {
		observe("status=200");
		node_run(&node, MINUTE_MS);
	}
	assert_int_equal(sum()->attempted, 10);
	assert_int_equal(journal_commits(node.journal), commits);
}

static void test_order_is_obeyed_and_echoed(void **state)
{
	struct observe_order order = {.rollout = {{7}},
				      .period_ms = 10000,
				      .thresholds = {{2000}, {0}, {100000}}};

	observe("latency_us=3000 status=200");
	serve(order); /* closes the record under way: it knew no thresholds */
	observe("latency_us=2000 status=200\nlatency_us=2001 status=200 n=3\nlatency_s=1 status=200");
	node_run(&node, 13000);
	assert_int_equal(sum()->attempted, 6);
	assert_int_equal(node.newest.counts.attempted, 5);
	assert_int_equal(node.newest.exceedances[0].threshold_us, 2000);
	assert_int_equal(node.newest.exceedances[0].exceeded, 4);
	assert_int_equal(node.newest.exceedances[2].exceeded, 1);
	assert_int_equal(node.newest.rollout.bytes[0], 7);
	assert_true(node.newest.length_ms <= 10000);
}

/* ---- crashes ---- */

static void test_a_crash_keeps_its_denominator(void **state)
{
	observe("begin\nbegin\nbegin\nend status=200");
	node_exit_slot(&node, &release);
	node_run(&node, 100); /* at once */
	assert_int_equal(sum()->attempted, 3);
	assert_int_equal(sum()->ok, 1);
	assert_int_equal(sum()->crashes, 2);
	assert_int_equal(sum()->incidents, 1);
	assert_true(node.newest.urgent);
	node_run(&node, 10000);
	node_exit_slot(&node, &release); /* before its first request */
	node_run(&node, 100);
	assert_int_equal(sum()->attempted, 4);
	assert_int_equal(sum()->crashes, 3);
}

static void test_the_agent_ends_with_a_word(void **state)
{
	observe("status=200");
	node_link(&node, false);
	agent_stop(node.agent);
	restart_agent();
	node_run(&node, SLACK_MS);
	assert_int_equal(sum()->attempted, 1);
}

/* ---- the link ---- */

static void test_lost_answers_count_once(void **state)
{
	node.no_observed_acks = true;
	observe("status=200");
	node_run(&node, MINUTE_MS);
	observe("status=200");
	node_run(&node, 10 * MINUTE_MS);
	assert_true(node.observed_messages > 4);
	restart_agent(); /* kill -9: from the journal, and still the same names */
	node_run(&node, 10 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 2);
	node.no_observed_acks = false;
	node_run(&node, 2 * MINUTE_MS);
	restart_agent();
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 2);
}

static void test_away_for_long(void **state)
{
	size_t before = node.observations;
	uint64_t ok = 0;

	node_link(&node, false);
	for (int i = 0; i < 1000; i++) {
		observe("status=200 latency_us=1000\nlatency_us=3000 status=200");
		ok += 2;
		node_run(&node, MINUTE_MS);
		if (i == 500) {
			node_restart_agent(&node);
			agent_start(node.agent);
			node_helper(&node, true);
			node_run(&node, 1000);
		}
	}
	node_link(&node, true);
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->ok, ok);
	assert_int_equal(node.observed.periods, 1000);
	assert_true(node.observations - before <= OUTBOX_MAX);
	assert_true(node.observations - before > OUTBOX_MAX / 2);
	assert_int_equal(node.observed.lost, 0);
	assert_int_equal(node.observed.buckets_count, 2);
	assert_int_equal(node.observed.buckets[0].count, 1000);
}

static void test_what_was_sent_is_never_changed(void **state)
{
	size_t before;

	node.no_observed_acks = true; /* the coordinator has them, the node does not know */
	for (int i = 0; i < 20; i++) {
		observe("status=200");
		node_run(&node, MINUTE_MS);
	}
	before = node.observations;
	node_link(&node, false);
	for (int i = 0; i < 500; i++) {
		observe("status=200");
		node_run(&node, MINUTE_MS);
	}
	restart_agent();
	node.no_observed_acks = false;
	node_run(&node, 5 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 520);
	assert_true(node.observations > before);
}

static void test_when_nothing_can_be_added_up_the_oldest_goes(void **state)
{
	struct observe_order order = {.period_ms = 10000};

	node_link(&node, false);
	for (unsigned i = 0; i < OUTBOX_MAX + 44; i++) { /* each has an order of its own */
		struct assignment a = node_assignment(&release, NULL, GOAL_NONE);

		order.rollout.bytes[0] = (uint8_t)i;
		order.rollout.bytes[1] = (uint8_t)(i >> 8);
		a.observe = order;
		node_desire(&node, 1000 + i, &a, 1);
		observe("status=200");
		node_run(&node, 11000);
	}
	node_link(&node, true);
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, OUTBOX_MAX);
	assert_int_equal(node.observed.lost, 44);
}

static void test_a_journal_that_was_lost(void **state)
{
	const uint64_t known = UINT64_C(1) << 50; /* the clock was right once, and now is not */

	node.mark_boot_epoch = known;
	node.mark_sequence = 5;
	observe("status=200");
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 1);
	assert_int_equal(node.mark_boot_epoch, known + 1);
	restart_agent();
	observe("status=200");
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 2);
}

/* ---- what a server may do ---- */

static void test_rubbish_and_floods_are_counted(void **state)
{
	AUTO_FREE char *large = mem_alloc(OBSERVE_DATAGRAM_MAX + 2);

	memset(large, 'x', OBSERVE_DATAGRAM_MAX + 1);
	observe(large);
	observe("no such thing\nlatency_us=-3 status=999 frobnicate=1\n=\n\x01\xff");
	observe("status=200 lost=17");
	node_run(&node, MINUTE_MS + SLACK_MS);
	assert_int_equal(sum()->attempted, 1);
	assert_int_equal(sum()->ok, 1);
	assert_int_equal(sum()->rubbish, 1 + 3 + 3 + 1 + 1);
	assert_int_equal(sum()->dropped, 17);
}

static void flood(struct node_socket *s, uint64_t *ret_pause_ms)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->waiting); i++)
		s->waiting[s->count++] = (struct bytes){mem_copy("status=200", 10), 10};
	while (s->count > 0 && *ret_pause_ms == 0)
		*ret_pause_ms = agent_on_observed(node.agent, s->handle);
}

static void test_a_flood_is_shut_out_for_a_while(void **state)
{
	uint64_t pause = 0;
	size_t sent = 0;

	for (; pause == 0 && sent < 10000000; sent += ARRAY_SIZE(node.sockets[0].waiting))
		flood(&node.sockets[0], &pause);
	assert_true(pause > 0);
	assert_true(sent > 50000);
	node_run(&node, MINUTE_MS + SLACK_MS);
	assert_true(sum()->dropped > 0);
	assert_int_equal(sum()->ok + sum()->dropped + node.sockets[0].count, sent);
}

/* ---- baselines ---- */

static struct bytes make_baseline(const char *name, double from, struct digest *ret_id)
{
	double values[100];
	struct baseline_feature feature;
	struct baseline baseline = {100, NULL, 1};
	struct bytes bytes;
	struct err err;

	for (int i = 0; i < 100; i++)
		values[i] = from + i;
	assert_int_equal(build_numeric(name, values, 100, BUILD_BINS, &feature, &err), 0);
	baseline.features = mem_copy(&feature, sizeof(feature));
	assert_int_equal(baseline_encode(&baseline, &bytes, &err), 0);
	baseline_id(bytes.data, bytes.size, ret_id);
	build_free(&baseline);
	return bytes;
}

static void test_features_are_counted_against_the_releases_own(void **state)
{
	struct digest id, old = release;
	struct assignment a;

	node.baseline = make_baseline("ink", 0, &id);
	release = node_release(&node, "2.0.0", 9, 2, 1000);
	a = node_assignment(&old, &release, GOAL_SERVE);
	node_desire(&node, 2000, &a, 1);
	node_run(&node, 60000);
	observe("status=200 x.ink=5.5\nstatus=200 x.ink=95 x.other=3\nstatus=200 x.ink=-1");
	observe("status=200 x.ink=1000\nstatus=200 x.ink=nan\nstatus=200 x.ink=dark n=2");
	node_run(&node, MINUTE_MS + SLACK_MS);
	assert_true(digest_equal(&node.newest.baseline, &id));
	assert_int_equal(node.newest.features_count, 1);
	assert_int_equal(node.newest.features[0].bins_count, BUILD_BINS + BINS_OUTER);
	assert_int_equal(node.newest.features[0].bins[0], 1);
	assert_int_equal(node.newest.features[0].bins[9], 1);
	assert_int_equal(node.newest.features[0].bins[10 + BIN_UNDER], 1);
	assert_int_equal(node.newest.features[0].bins[10 + BIN_OVER], 1);
	assert_int_equal(node.newest.features[0].bins[10 + BIN_NAN], 3);
	assert_int_equal(node.newest.counts.unknown, 1);
	free(node.baseline.data);
}

static void test_an_ordered_baseline_is_asked_for_and_kept(void **state)
{
	struct observe_order order = {0};
	struct msg_baseline message = {.deployment = "ocr"};

	message.baseline = make_baseline("ink", 50, &order.baseline);
	serve(order);
	observe("status=200 x.ink=60");
	node_run(&node, MINUTE_MS + SLACK_MS);
	assert_true(digest_is_zero(&node.newest.baseline)); /* which says that it lacks it */
	node_send(&node, MESSAGE_BASELINE, &message);
	message.baseline.data[3] ^= 1; /* another one, that nobody ordered */
	node_send(&node, MESSAGE_BASELINE, &message);
	restart_agent();
	observe("status=200 x.ink=60");
	node_run(&node, MINUTE_MS + SLACK_MS);
	assert_true(digest_equal(&node.newest.baseline, &order.baseline));
	assert_int_equal(node.newest.features[0].bins[1], 1);
	free(message.baseline.data);
}

static void test_a_baseline_is_learned(void **state)
{
	struct observe_order order = {0};
	struct baseline baseline;
	char text[128];

	for (int i = 0; i < 1100; i++) {
		snprintf(text, sizeof(text), "status=%d x.ink=%d class=%c", i % 11 ? 200 : 500,
			 i % 100, "abc"[i % 3]);
		observe(text);
		if (i % 100 == 0)
			node_run(&node, MINUTE_MS);
	}
	assert_int_equal(node.proposal.size, 0); /* failures teach nothing */
	for (int i = 0; i < 10; i++)
		observe("status=200 x.ink=10 class=a");
	node_run(&node, MINUTE_MS);
	assert_true(node.proposal.size > 0);
	assert_int_equal(baseline_decode(node.proposal.data, node.proposal.size, &baseline, NULL),
			 0);
	assert_int_equal(baseline.observations, 1000);
	assert_int_equal(baseline.features_count, 2);
	assert_string_equal(baseline.features[0].name, "class");
	assert_int_equal(baseline.features[0].values_count, 3);
	assert_int_equal(baseline.features[1].edges_count, BUILD_BINS + 1);
	build_free(&baseline);
	baseline_id(node.proposal.data, node.proposal.size, &order.baseline);
	free(TAKE_PTR(node.proposal.data));
	node.proposal.size = 0;
	serve(order); /* fixed: there is nothing to propose any more */
	observe("status=200 x.ink=10");
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(node.proposal.size, 0);
}

/* ---- /metrics ---- */

static void test_metrics_are_read_and_resets_survived(void **state)
{
	struct digest old = release;
	struct assignment a;

	node.with_metrics = true;
	node.metrics = "# TYPE requests_total counter\n"
		       "requests_total{code=\"200\",path=\"/a\"} 10\n"
		       "requests_total{path=\"/b\", code=\"503\"} 2 1700000000\n"
		       "seconds_bucket{le=\"0.01\"} 9\nseconds_bucket{le=\"0.1\"} 11\n"
		       "seconds_bucket{le=\"+Inf\"} 12\nseconds_count 12\n";
	release = node_release(&node, "3.0.0", 5, 2, 1000);
	a = node_assignment(&old, &release, GOAL_SERVE);
	node_desire(&node, 3000, &a, 1);
	node_run(&node, 3 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 12); /* the server began under our eyes */
	assert_int_equal(sum()->errors, 2);
	assert_int_equal(sum()->ok, 10);
	assert_int_equal(sum()->latencies, 12);
	assert_int_equal(sum()->latency_sum_us, 9 * 5000 + 2 * 55000 + 200000);
	node.metrics = "requests_total{code=\"200\"} 15\nrequests_total{code=\"503\"} 2\n"
		       "seconds_bucket{le=\"0.01\"} 12\nseconds_bucket{le=\"+Inf\"} 17\n";
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 17);
	assert_int_equal(sum()->errors, 2);
	node.metrics = "requests_total{code=\"200\"} 3\n"; /* began anew, within itself */
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 20);
	node.metrics = NULL; /* no answer costs nothing */
	node_run(&node, 2 * MINUTE_MS);
	node.metrics = "requests_total{code=\"200\"} 4\n";
	restart_agent(); /* and counts nothing again */
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 20);
	node.metrics = "requests_total{code=\"200\"} 6\n";
	node_run(&node, 2 * MINUTE_MS);
	assert_int_equal(sum()->attempted, 22);
	assert_true(node.scrapes < 100);
}

static void test_no_metrics_no_scrapes(void **state)
{
	node_run(&node, 10 * MINUTE_MS);
	assert_int_equal(node.scrapes, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_period_becomes_a_record),
		T(test_silence_costs_nothing),
		T(test_well_linked_nothing_goes_to_the_disk),
		T(test_order_is_obeyed_and_echoed),
		T(test_a_crash_keeps_its_denominator),
		T(test_the_agent_ends_with_a_word),
		T(test_lost_answers_count_once),
		T(test_away_for_long),
		T(test_what_was_sent_is_never_changed),
		T(test_when_nothing_can_be_added_up_the_oldest_goes),
		T(test_a_journal_that_was_lost),
		T(test_rubbish_and_floods_are_counted),
		T(test_a_flood_is_shut_out_for_a_while),
		T(test_features_are_counted_against_the_releases_own),
		T(test_an_ordered_baseline_is_asked_for_and_kept),
		T(test_a_baseline_is_learned),
		T(test_metrics_are_read_and_resets_survived),
		T(test_no_metrics_no_scrapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
