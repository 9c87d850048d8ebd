/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Observations on their way into the store: committed once whatever comes twice, acknowledged after
 * the commit, in spite of crashes and full disks; baselines that are fixed once and handed out.
 */
#include "base/mem.h"
#include "base/str.h"
#include "fixture.h"
#include "protocol/baseline.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"
#include "protocol/spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct fixture *f;
static struct digest release;
static struct fake_node *node;

static void serve(const char *database)
{
	struct deployment_spec spec;

	f = fixture_new(database);
	release = fixture_push(f, "ocr", "1");
	node = fixture_join(f, "n1", NULL);
	fixture_join(f, "n2", NULL);
	fixture_spec(&spec, "ocr", "ocr", "1");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	deployment_spec_free(&spec);
	fixture_pass(f, 60000);
	assert_true(digest_equal(&node->desired.assignments[0].base, &release));
}

static int setup(void **state)
{
	serve(NULL);
	return 0;
}

static int teardown(void **state)
{
	fixture_free(f);
	return 0;
}

static struct observation_record record_of(uint64_t boot_epoch, uint64_t sequence)
{
	struct observation_record record = {.boot_epoch = boot_epoch,
					    .sequence = sequence,
					    .release = release,
					    .periods = 1,
					    .counts = {.attempted = 10 + sequence, .ok = 10}};

	STR_CUT(record.deployment, "ocr");
	return record;
}

static void observe(struct fake_node *from, struct observation_record *records, size_t count,
		    struct baseline_proposal *proposal)
{
	struct msg_observed message = {records, count, proposal, proposal ? 1 : 0};

	fixture_send(f, from, MESSAGE_OBSERVED, &message);
}

static void observe_one(struct fake_node *from, uint64_t boot_epoch, uint64_t sequence)
{
	struct observation_record record = record_of(boot_epoch, sequence);

	observe(from, &record, 1, NULL);
}

struct sums {
	uint64_t rows, attempted;
};

static int add(void *arg, const struct store_observation *row)
{
	struct observation_record record;
	struct sums *sums = arg;

	assert_int_equal(codec_decode(&codec_observation_record, row->record.data,
				      row->record.size, &record, NULL),
			 0);
	assert_int_equal(record.sequence, row->sequence);
	assert_true(row->received_ms > 0);
	sums->rows++;
	sums->attempted += record.counts.attempted;
	codec_free(&codec_observation_record, &record);
	return 0;
}

static struct sums stored(void)
{
	struct sums sums = {0};

	assert_int_equal(f->store->ops->observation_each(f->store, "ocr", 0, 1000, add, &sums,
							 NULL),
			 0);
	return sums;
}

static void test_committed_once_and_acknowledged(void **state)
{
	struct observation_record both[2] = {record_of(4, 1), record_of(4, 2)};

	observe(node, both, 1, NULL);
	fixture_deliver(f);
	assert_int_equal(node->observed.boot_epoch, 4);
	assert_int_equal(node->observed.sequence, 1);
	observe(node, both, 2, NULL); /* the acknowledgement was lost */
	observe(node, both, 2, NULL);
	fixture_deliver(f);
	assert_int_equal(node->observed.sequence, 2);
	assert_int_equal(stored().rows, 2);
	assert_int_equal(stored().attempted, 11 + 12);
	observe_one(node, 3, 99); /* of an older start: was passed already */
	observe_one(&f->nodes[1], 1, 1); /* another node's names are its own */
	observe_one(node, 5, 1);
	fixture_deliver(f);
	assert_int_equal(node->observed.boot_epoch, 5);
	assert_int_equal(stored().rows, 4);
}

static void test_of_what_is_not_known_here(void **state)
{
	struct observation_record record = record_of(1, 1);

	STR_CUT(record.deployment, "nobody");
	observe(node, &record, 1, NULL);
	record = record_of(1, 2);
	record.release.bytes[3] ^= 1;
	observe(node, &record, 1, NULL);
	fixture_deliver(f);
	assert_int_equal(node->observed.sequence, 2); /* the node is to forget them */
	assert_int_equal(stored().rows, 0);
}

static int refuse_to_write(void *arg, const char *statement)
{
	return str_equal(statement, arg) ? -ENOSPC : 0;
}

static void test_full_disk_then_again(void **state)
{
	store_sqlite_on_statement(f->store, refuse_to_write, (char *)"observation_mark_put");
	observe_one(node, 1, 1);
	fixture_deliver(f);
	assert_int_equal(node->observed.sequence, 0);
	store_sqlite_on_statement(f->store, NULL, NULL);
	fixture_pass(f, 2000);
	observe_one(node, 1, 1);
	fixture_pass(f, 2000);
	assert_int_equal(node->observed.sequence, 1);
	assert_int_equal(stored().rows, 1);
}

static void test_marks_survive_a_crash(void **state)
{
	observe_one(node, 1, 1);
	fixture_deliver(f);
	fixture_crash(f);
	fixture_start(f);
	observe_one(node, 1, 1);
	observe_one(node, 1, 2);
	fixture_deliver(f);
	assert_int_equal(node->observed.sequence, 2);
	assert_int_equal(stored().rows, 2);
}

/* ---- baselines ---- */

static struct bytes baseline_with(double edge, struct digest *ret_id)
{
	struct baseline_edge edges[2] = {{0}, {edge}};
	uint64_t counts[1 + BINS_OUTER] = {100};
	struct baseline_feature feature = {.name = "ink",
					   .edges = edges,
					   .edges_count = 2,
					   .counts = counts,
					   .counts_count = 1 + BINS_OUTER};
	struct baseline baseline = {100, &feature, 1};
	struct bytes bytes;
	struct err err;

	if (baseline_encode(&baseline, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	baseline_id(bytes.data, bytes.size, ret_id);
	return bytes;
}

static void propose(struct fake_node *from, struct bytes bytes)
{
	struct baseline_proposal proposal = {.release = release, .baseline = bytes};

	STR_CUT(proposal.deployment, "ocr");
	observe(from, NULL, 0, &proposal);
	free(bytes.data);
	fixture_deliver(f);
	fixture_pass(f, 2000);
}

static const struct digest *ordered(const struct fake_node *of)
{
	return &of->desired.assignments[0].observe.baseline;
}

static void test_the_first_proposal_is_fixed_for_all(void **state)
{
	struct digest first, second;
	struct bytes other;

	assert_true(digest_is_zero(ordered(node)));
	propose(node, baseline_with(1, &first));
	assert_true(digest_equal(ordered(node), &first));
	assert_true(digest_equal(ordered(&f->nodes[1]), &first));
	other = baseline_with(2, &second);
	propose(&f->nodes[1], other);
	assert_true(digest_equal(ordered(node), &first));
	fixture_crash(f);
	fixture_start(f);
	fixture_pass(f, 2000);
	propose(&f->nodes[1], baseline_with(2, &second));
	assert_true(digest_equal(ordered(node), &first));
}

static void test_who_lacks_it_gets_it(void **state)
{
	struct observation_record record = record_of(1, 1);
	struct digest id, sent;

	propose(&f->nodes[1], baseline_with(1, &id));
	assert_int_equal(node->baseline.size, 0);
	observe(node, &record, 1, NULL);
	fixture_deliver(f);
	digest_of(&sent, node->baseline.data, node->baseline.size);
	assert_true(digest_equal(&sent, &id));
	free(node->baseline.data);
	node->baseline = (struct bytes){0};
	record = record_of(1, 2);
	record.baseline = id;
	observe(node, &record, 1, NULL);
	fixture_deliver(f);
	assert_int_equal(node->baseline.size, 0);
}

static void test_rubbish_is_not_fixed(void **state)
{
	struct digest id;
	struct bytes bytes = baseline_with(1, &id);

	bytes.data[bytes.size - 1] ^= 0xff;
	propose(node, bytes);
	assert_true(digest_is_zero(ordered(node)));
}

static void test_the_deployment_takes_it_along(void **state)
{
	struct deployment_spec spec;
	struct digest id;

	propose(node, baseline_with(1, &id));
	assert_int_equal(fixture_admin(f, "deployment.rm", json_pack("{s:s}", "deployment", "ocr")),
			 0);
	fixture_pass(f, 5000);
	fixture_spec(&spec, "ocr", "ocr", "1");
	assert_int_equal(fixture_apply(f, &spec, false, false), 0);
	deployment_spec_free(&spec);
	fixture_pass(f, 60000);
	assert_true(digest_is_zero(ordered(node)));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_committed_once_and_acknowledged),
		T(test_of_what_is_not_known_here),
		T(test_full_disk_then_again),
		T(test_marks_survive_a_crash),
		T(test_the_first_proposal_is_fixed_for_all),
		T(test_who_lacks_it_gets_it),
		T(test_rubbish_is_not_fixed),
		T(test_the_deployment_takes_it_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
