/* SPDX-License-Identifier: Apache-2.0 */
/* What every store must do with observations, marks and baselines; and the way here from version 1. */
#define SQL_TABLES
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/store/store.h"
#include "sql_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>

static int setup(void **state)
{
	struct store *s = NULL;

	assert_int_equal(store_sqlite_open(":memory:", &s, NULL), 0);
	assert_int_equal(s->ops->begin(s, NULL), 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	store_close(*state);
	return 0;
}

static struct store_observation make(uint8_t node, uint64_t sequence, const char *deployment)
{
	static uint8_t bytes[] = {0x80, 1, 2};
	struct store_observation row = {.boot_epoch = 3,
					.sequence = sequence,
					.received_ms = 1000 + sequence,
					.record = {bytes, sizeof(bytes)}};

	memset(row.node.bytes, node, NODE_ID_SIZE);
	memset(row.release.bytes, 9, DIGEST_SIZE);
	memset(row.rollout.bytes, 8, ROLLOUT_ID_SIZE);
	STR_CUT(row.deployment, deployment);
	return row;
}

static void append(struct store *s, uint8_t node, uint64_t sequence, const char *deployment)
{
	struct store_observation row = make(node, sequence, deployment);

	assert_int_equal(s->ops->observation_append(s, &row, NULL), 0);
}

struct rows {
	struct store_observation rows[16];
	size_t count;
};

static int keep(void *arg, const struct store_observation *row)
{
	struct rows *rows = arg;

	assert_int_equal(row->record.size, 3);
	assert_int_equal(row->record.data[2], 2);
	rows->rows[rows->count++] = *row;
	return 0;
}

static struct rows read_rows(struct store *s, const char *deployment, uint64_t since,
			     uint64_t limit)
{
	struct rows rows = {0};

	assert_int_equal(s->ops->observation_each(s, deployment, since, limit, keep, &rows, NULL),
			 0);
	return rows;
}

static void test_in_the_order_of_commit(void **state)
{
	struct store *s = *state;
	struct store_observation again = make(1, 7, "ocr");
	struct rows rows;

	append(s, 2, 5, "ocr");
	append(s, 1, 7, "ocr");
	append(s, 1, 8, "other");
	append(s, 1, 9, "ocr");
	rows = read_rows(s, "ocr", 0, 100);
	assert_int_equal(rows.count, 3);
	assert_int_equal(rows.rows[0].sequence, 5);
	assert_int_equal(rows.rows[1].sequence, 7);
	again.id = rows.rows[1].id;
	again.record = rows.rows[1].record;
	assert_memory_equal(&rows.rows[1], &again, sizeof(again));
	assert_int_equal(read_rows(s, "ocr", rows.rows[0].id, 1).rows[0].sequence, 7);
	assert_int_equal(read_rows(s, "ocr", rows.rows[2].id, 9).count, 0);
	assert_int_equal(s->ops->observation_append(s, &again, NULL), -EEXIST);
}

static void test_trimmed_ids_are_not_given_again(void **state)
{
	struct store *s = *state;
	uint64_t last = 0;

	append(s, 1, 1, "ocr");
	append(s, 1, 2, "ocr");
	assert_int_equal(s->ops->observation_last(s, &last, NULL), 0);
	assert_int_equal(s->ops->observation_trim(s, last, NULL), 0);
	assert_int_equal(read_rows(s, "ocr", 0, 9).count, 0);
	append(s, 1, 3, "ocr");
	assert_true(read_rows(s, "ocr", 0, 9).rows[0].id > last);
}

static int keep_mark(void *arg, const struct store_mark *mark)
{
	*(struct store_mark *)arg = *mark;
	return 0;
}

static void test_a_mark_rises_and_goes_with_its_node(void **state)
{
	struct store *s = *state;
	struct store_node node = {.joined_ms = 1};
	struct store_mark mark = {.boot_epoch = 1, .sequence = 4}, read = {0};

	assert_int_equal(s->ops->mark_put(s, &mark, NULL), -ENOENT);
	STR_CUT(node.name, "n1");
	assert_int_equal(s->ops->node_put(s, &node, NULL), 0);
	assert_int_equal(s->ops->mark_put(s, &mark, NULL), 0);
	mark.boot_epoch = 2;
	mark.sequence = 1;
	assert_int_equal(s->ops->mark_put(s, &mark, NULL), 0);
	assert_int_equal(s->ops->mark_each(s, keep_mark, &read, NULL), 0);
	assert_memory_equal(&read, &mark, sizeof(mark));
	assert_int_equal(s->ops->node_remove(s, &node.id, NULL), 0);
	read.sequence = 77;
	assert_int_equal(s->ops->mark_each(s, keep_mark, &read, NULL), 0);
	assert_int_equal(read.sequence, 77);
}

static int count_baseline(void *arg, const struct store_baseline *baseline)
{
	assert_int_equal(baseline->body.size, 2);
	assert_int_equal(baseline->id.bytes[0], 5);
	++*(size_t *)arg;
	return 0;
}

static void test_a_baseline_is_fixed_once(void **state)
{
	struct store *s = *state;
	uint8_t body[2] = {1, 2};
	struct store_baseline baseline = {.learned_ms = 3, .body = {body, 2}};
	size_t count = 0;

	STR_CUT(baseline.deployment, "ocr");
	memset(baseline.id.bytes, 5, DIGEST_SIZE);
	assert_int_equal(s->ops->baseline_put(s, &baseline, NULL), 0);
	assert_int_equal(s->ops->baseline_put(s, &baseline, NULL), -EEXIST);
	baseline.release.bytes[0] = 1;
	assert_int_equal(s->ops->baseline_put(s, &baseline, NULL), 0);
	assert_int_equal(s->ops->baseline_each(s, count_baseline, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(s->ops->baseline_remove(s, "ocr", NULL), 0);
	assert_int_equal(s->ops->baseline_each(s, count_baseline, &count, NULL), 0);
	assert_int_equal(count, 2);
}

static int sum_entries(void *arg, const struct store_judgement *judgement)
{
	uint64_t *sum = arg;

	*sum = *sum * 100 + judgement->sequence * 10 + judgement->entry.data[0];
	return 0;
}

/* In order, each sequence once, and gone with the rollout. */
static void test_judgements_belong_to_their_rollout(void **state)
{
	struct store *s = *state;
	struct store_rollout rollout = {.id = {{1}}, .number = 1};
	uint8_t body[2] = {7, 8};
	struct store_judgement entry = {.rollout = {{1}}, .sequence = 1, .entry = {body, 1}};
	uint64_t sum = 0;

	STR_CUT(rollout.deployment, "ocr");
	assert_int_equal(s->ops->rollout_put(s, &rollout, NULL), 0);
	assert_int_equal(s->ops->judgement_append(s, &entry, NULL), 0);
	assert_int_equal(s->ops->judgement_append(s, &entry, NULL), -EEXIST);
	entry.sequence = 2;
	entry.entry = (struct bytes){body + 1, 1};
	assert_int_equal(s->ops->judgement_append(s, &entry, NULL), 0);
	assert_int_equal(s->ops->judgement_each(s, &rollout.id, sum_entries, &sum, NULL), 0);
	assert_int_equal(sum, 1728);
	assert_int_equal(s->ops->rollout_remove(s, &rollout.id, NULL), 0);
	assert_int_equal(s->ops->judgement_each(s, &rollout.id, sum_entries, &sum, NULL), 0);
	assert_int_equal(sum, 1728);
}

static int take_seen(void *arg, const struct store_watch *watch)
{
	*(uint64_t *)arg += watch->seen;
	return 0;
}

static void test_a_watch_is_replaced_whole(void **state)
{
	struct store *s = *state;
	uint8_t body[1] = {1};
	struct store_watch watch = {.seen = 5, .body = {body, 1}};
	uint64_t seen = 0;

	STR_CUT(watch.deployment, "ocr");
	assert_int_equal(s->ops->watch_put(s, &watch, NULL), 0);
	watch.seen = 7;
	assert_int_equal(s->ops->watch_put(s, &watch, NULL), 0);
	assert_int_equal(s->ops->watch_each(s, take_seen, &seen, NULL), 0);
	assert_int_equal(seen, 7);
	assert_int_equal(s->ops->watch_remove(s, "ocr", NULL), 0);
	assert_int_equal(s->ops->watch_each(s, take_seen, &seen, NULL), 0);
	assert_int_equal(seen, 7);
}

static void make_version_1(const char *path)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	for (size_t i = 0; i < ARRAY_SIZE(sql_migrations); i++)
		if (sql_migrations[i].version == 1)
			assert_int_equal(sqlite3_exec(db, sql_migrations[i].text, NULL, NULL, NULL),
					 SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "INSERT INTO meta VALUES ('kept', 42);"
				      "PRAGMA application_id = 1129732401; PRAGMA user_version = 1",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
}

static void test_from_version_1(void **state)
{
	char dir[] = "/tmp/covey-store-XXXXXX";
	AUTO_FREE char *path = NULL, *remove = NULL;
	struct store *s = NULL;
	struct err err = {0};
	uint64_t value = 0;

	assert_non_null(mkdtemp(dir));
	path = mem_format("%s/db", dir);
	remove = mem_format("rm -rf %s", dir);
	make_version_1(path);
	for (uint64_t time = 1; time <= 2; time++) { /* the second finds it done */
		if (store_sqlite_open(path, &s, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(s->ops->meta_get(s, "kept", &value, NULL), 0);
		assert_int_equal(value, 42);
		assert_int_equal(s->ops->begin(s, NULL), 0);
		append(s, 1, time, "ocr");
		assert_int_equal(s->ops->commit(s, NULL), 0);
		assert_int_equal(read_rows(s, "ocr", 0, 9).count, time);
		store_close(s);
	}
	assert_int_equal(system(remove), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_in_the_order_of_commit),
		T(test_trimmed_ids_are_not_given_again),
		T(test_a_mark_rises_and_goes_with_its_node),
		T(test_a_baseline_is_fixed_once),
		T(test_judgements_belong_to_their_rollout),
		T(test_a_watch_is_replaced_whole),
		cmocka_unit_test(test_from_version_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
