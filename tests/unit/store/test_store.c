/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every store must do, whatever is behind it. The suite knows a store only by store.h; a second
 * implementation gets a second opener. Tests of SQLite's file come last.
 */
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/store/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place { /* where a store lives between two openings */
	char dir[64];
	char path[96];
	struct store *s;
};

static void open_place(struct place *place)
{
	struct err err = {0};

	if (store_sqlite_open(place->path, &place->s, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct place *place = mem_alloc(sizeof(*place));

	STR_CUT(place->dir, "/tmp/covey-store-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	snprintf(place->path, sizeof(place->path), "%s/db", place->dir);
	open_place(place);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *command = mem_format("rm -rf %s", place->dir);

	if (place->s)
		store_close(place->s);
	assert_int_equal(system(command), 0);
	free(place);
	return 0;
}

static void reopen(struct place *place)
{
	store_close(place->s);
	place->s = NULL;
	open_place(place);
}

#define DO(s, call)                                                                                \
	do {                                                                                       \
		struct err do_err = {0};                                                           \
		int do_r = (s)->ops->begin((s), &do_err);                                          \
		if (do_r == 0)                                                                     \
			do_r = (call);                                                             \
		if (do_r == 0)                                                                     \
			do_r = (s)->ops->commit((s), &do_err);                                     \
		if (do_r < 0)                                                                      \
			fail_msg("%s: %d", #call, do_r);                                           \
	} while (0)

static void fill(void *data, size_t size, uint8_t with)
{
	memset(data, with, size);
}

static int count_any(void *arg)
{
	++*(size_t *)arg;
	return 0;
}

/* ---- meta, transactions ---- */

static void test_meta(void **state)
{
	struct place *place = *state;
	struct store *s = place->s;
	uint64_t value = 7;

	assert_int_equal(s->ops->meta_get(s, "epoch", &value, NULL), -ENOENT);
	assert_int_equal(value, 7);
	DO(s, s->ops->meta_put(s, "epoch", UINT64_MAX, NULL));
	reopen(place);
	s = place->s;
	assert_int_equal(s->ops->meta_get(s, "epoch", &value, NULL), 0);
	assert_true(value == UINT64_MAX);
	DO(s, s->ops->meta_put(s, "epoch", 3, NULL));
	assert_int_equal(s->ops->meta_get(s, "epoch", &value, NULL), 0);
	assert_int_equal(value, 3);
}

static void test_rollback_and_crash(void **state)
{
	struct place *place = *state;
	struct store *s = place->s;
	uint64_t value;

	s->ops->rollback(s); /* harmless without a transaction */
	assert_int_equal(s->ops->begin(s, NULL), 0);
	assert_int_equal(s->ops->meta_put(s, "a", 1, NULL), 0);
	s->ops->rollback(s);
	assert_int_equal(s->ops->meta_get(s, "a", &value, NULL), -ENOENT);
	DO(s, s->ops->meta_put(s, "b", 2, NULL));
	assert_int_equal(s->ops->begin(s, NULL), 0);
	assert_int_equal(s->ops->meta_put(s, "c", 3, NULL), 0);
	reopen(place); /* in the middle of a transaction */
	s = place->s;
	assert_int_equal(s->ops->meta_get(s, "b", &value, NULL), 0);
	assert_int_equal(s->ops->meta_get(s, "c", &value, NULL), -ENOENT);
}

/* ---- nodes ---- */

static struct store_node make_node(uint8_t n, struct label *labels, size_t count)
{
	struct store_node node = {.pending = n & 1,
				  .cordoned = n & 2,
				  .revoked = n & 4,
				  .joined_ms = 1000u + n,
				  .last_seen_ms = 2000u + n,
				  .labels = labels,
				  .labels_count = count};

	fill(node.id.bytes, NODE_ID_SIZE, n);
	fill(node.link_key.bytes, KEY_SIZE, n);
	fill(node.sign_key.bytes, KEY_SIZE, (uint8_t)~n);
	snprintf(node.name, sizeof(node.name), "edge-%u", n);
	STR_CUT(node.agent_version, "0.1.0");
	return node;
}

struct nodes {
	struct store_node node[8];
	struct label labels[8][4];
	char inventory[8][16];
	size_t count;
};

static int take_node(void *arg, const struct store_node *node)
{
	struct nodes *all = arg;

	all->node[all->count] = *node;
	for (size_t i = 0; i < node->labels_count; i++)
		all->labels[all->count][i] = node->labels[i];
	if (node->inventory.size)
		memcpy(all->inventory[all->count], node->inventory.data, node->inventory.size);
	all->count++;
	return 0;
}

static void test_nodes(void **state)
{
	struct place *place = *state;
	struct store *s = place->s;
	struct label labels[] = {{"hw", "old"}, {"site", "lyon"}};
	struct store_node one = make_node(1, labels, 2), two = make_node(6, NULL, 0);
	struct nodes all = {0};

	one.inventory = (struct bytes){(uint8_t *)"\0inv", 4};
	DO(s, s->ops->node_put(s, &two, NULL));
	DO(s, s->ops->node_put(s, &one, NULL));
	reopen(place);
	s = place->s;
	assert_int_equal(s->ops->node_each(s, take_node, &all, NULL), 0);
	assert_int_equal(all.count, 2);
	assert_string_equal(all.node[0].name, "edge-1"); /* by id */
	assert_memory_equal(all.node[0].sign_key.bytes, one.sign_key.bytes, KEY_SIZE);
	assert_true(all.node[0].pending && !all.node[0].cordoned && !all.node[0].revoked);
	assert_true(!all.node[1].pending && all.node[1].cordoned && all.node[1].revoked);
	assert_int_equal(all.node[0].labels_count, 2);
	assert_string_equal(all.labels[0][0].key, "hw");
	assert_string_equal(all.labels[0][1].value, "lyon");
	assert_int_equal(all.node[0].inventory.size, 4);
	assert_memory_equal(all.inventory[0], "\0inv", 4);
	assert_int_equal(all.node[1].labels_count, 0);
	/* Replaced as a whole, labels too. */
	STR_CUT(labels[0].key, "ring");
	one.labels_count = 1;
	one.cordoned = true;
	DO(s, s->ops->node_put(s, &one, NULL));
	DO(s, s->ops->node_seen(s, &one.id, 9999, NULL));
	memset(&all, 0, sizeof(all));
	assert_int_equal(s->ops->node_each(s, take_node, &all, NULL), 0);
	assert_int_equal(all.node[0].labels_count, 1);
	assert_string_equal(all.labels[0][0].key, "ring");
	assert_true(all.node[0].cordoned);
	assert_int_equal(all.node[0].last_seen_ms, 9999);
}

static int fail_put(struct store *s, const struct store_node *node)
{
	int r = s->ops->begin(s, NULL);

	assert_int_equal(r, 0);
	r = s->ops->node_put(s, node, NULL);
	s->ops->rollback(s);
	return r;
}

static void test_node_names_and_keys_are_unique(void **state)
{
	struct store *s = ((struct place *)*state)->s;
	struct store_node one = make_node(1, NULL, 0), two = make_node(2, NULL, 0);

	DO(s, s->ops->node_put(s, &one, NULL));
	STR_CUT(two.name, one.name);
	assert_int_equal(fail_put(s, &two), -EEXIST);
	two = make_node(2, NULL, 0);
	two.link_key = one.link_key;
	assert_int_equal(fail_put(s, &two), -EEXIST);
}

static int take_report(void *arg, const struct store_report *report)
{
	*(struct store_report *)arg = *report;
	return 0;
}

static int take_desired(void *arg, const struct store_desired *desired)
{
	*(struct store_desired *)arg = *desired;
	return 0;
}

static void test_reports_and_desired_go_with_the_node(void **state)
{
	struct store *s = ((struct place *)*state)->s;
	struct store_node one = make_node(1, NULL, 0);
	struct store_report report = {.node = one.id,
				      .boot_epoch = 3,
				      .sequence = 9,
				      .status = {(uint8_t *)"st", 2}};
	struct store_desired desired = {.node = one.id, .epoch = 1, .generation = 5};
	struct store_report got = {0};
	struct store_desired got_desired = {0};

	fill(desired.digest.bytes, DIGEST_SIZE, 5);
	assert_int_equal(s->ops->begin(s, NULL), 0);
	assert_int_equal(s->ops->report_put(s, &report, NULL), -ENOENT); /* of nobody */
	s->ops->rollback(s);
	DO(s, s->ops->node_put(s, &one, NULL));
	DO(s, s->ops->report_put(s, &report, NULL));
	DO(s, s->ops->desired_put(s, &desired, NULL));
	report.sequence = 10;
	desired.generation = 6;
	DO(s, s->ops->report_put(s, &report, NULL));
	DO(s, s->ops->desired_put(s, &desired, NULL));
	assert_int_equal(s->ops->report_each(s, take_report, &got, NULL), 0);
	assert_int_equal(got.sequence, 10);
	assert_int_equal(got.boot_epoch, 3);
	assert_int_equal(s->ops->desired_each(s, take_desired, &got_desired, NULL), 0);
	assert_int_equal(got_desired.generation, 6);
	assert_memory_equal(got_desired.digest.bytes, desired.digest.bytes, DIGEST_SIZE);
	/* A changed record keeps them; a removed one does not. */
	one.cordoned = true;
	DO(s, s->ops->node_put(s, &one, NULL));
	memset(&got, 0, sizeof(got));
	assert_int_equal(s->ops->report_each(s, take_report, &got, NULL), 0);
	assert_int_equal(got.sequence, 10);
	DO(s, s->ops->node_remove(s, &one.id, NULL));
	DO(s, s->ops->node_remove(s, &one.id, NULL));
	memset(&got, 0, sizeof(got));
	memset(&got_desired, 0, sizeof(got_desired));
	assert_int_equal(s->ops->report_each(s, take_report, &got, NULL), 0);
	assert_int_equal(s->ops->desired_each(s, take_desired, &got_desired, NULL), 0);
	assert_int_equal(got.sequence, 0);
	assert_int_equal(got_desired.generation, 0);
}

/* ---- tokens ---- */

static int take_token(void *arg, const struct store_token *token)
{
	struct store_token *got = arg;

	*got = *token;
	assert_int_equal(token->secret.size, 3);
	assert_memory_equal(token->secret.data, "abc", 3);
	return 0;
}

static void test_tokens(void **state)
{
	struct store *s = ((struct place *)*state)->s;
	struct store_token token = {.id = "00ff",
				    .secret = {(uint8_t *)"abc", 3},
				    .uses_left = 2,
				    .approval = true,
				    .created_ms = 1,
				    .expires_ms = 99,
				    .labels = {(uint8_t *)"{}", 2}};
	struct store_token got = {0};

	DO(s, s->ops->token_put(s, &token, NULL));
	token.uses_left = 1;
	DO(s, s->ops->token_put(s, &token, NULL));
	assert_int_equal(s->ops->token_each(s, take_token, &got, NULL), 0);
	assert_string_equal(got.id, "00ff");
	assert_int_equal(got.uses_left, 1);
	assert_true(got.approval);
	assert_int_equal(got.expires_ms, 99);
	DO(s, s->ops->token_remove(s, "00ff", NULL));
	memset(&got, 0, sizeof(got));
	assert_int_equal(s->ops->token_each(s, take_token, &got, NULL), 0);
	assert_string_equal(got.id, "");
}

/* ---- releases ---- */

static struct store_release make_release(uint8_t n, const char *version)
{
	struct store_release release = {.model = "ocr",
					.arch = "amd64",
					.size = n,
					.pushed_ms = 5,
					.manifest = {(uint8_t *)"mani", 4}};

	STR_CUT(release.version, version);
	fill(release.digest.bytes, DIGEST_SIZE, n);
	return release;
}

static int count_digest(void *arg, const struct digest *digest)
{
	return count_any(arg);
}

static int count_release(void *arg, const struct store_release *release)
{
	assert_int_equal(release->manifest.size, 4);
	return count_any(arg);
}

static size_t holders(struct store *s, uint8_t object)
{
	struct digest digest;
	size_t count = 0;

	fill(digest.bytes, DIGEST_SIZE, object);
	assert_int_equal(s->ops->object_releases(s, &digest, count_digest, &count, NULL), 0);
	return count;
}

static void add_object(struct store *s, const struct store_release *release, uint8_t object)
{
	struct digest digest;

	fill(digest.bytes, DIGEST_SIZE, object);
	DO(s, s->ops->release_object(s, &release->digest, &digest, NULL));
}

static void test_releases_and_their_objects(void **state)
{
	struct store *s = ((struct place *)*state)->s;
	struct store_release one = make_release(1, "1.0.0"), two = make_release(2, "2.0.0");
	struct store_release clash = make_release(3, "1.0.0");
	size_t count = 0;

	DO(s, s->ops->release_put(s, &one, NULL));
	DO(s, s->ops->release_put(s, &one, NULL)); /* the same again */
	DO(s, s->ops->release_put(s, &two, NULL));
	assert_int_equal(s->ops->begin(s, NULL), 0);
	assert_int_equal(s->ops->release_put(s, &clash, NULL), -EEXIST);
	s->ops->rollback(s);
	add_object(s, &one, 10);
	add_object(s, &one, 10);
	add_object(s, &one, 11);
	add_object(s, &two, 10);
	assert_int_equal(holders(s, 10), 2);
	assert_int_equal(holders(s, 11), 1);
	assert_int_equal(holders(s, 12), 0);
	assert_int_equal(s->ops->release_get(s, &clash.digest, count_release, &count, NULL),
			 -ENOENT);
	assert_int_equal(s->ops->release_get(s, &one.digest, count_release, &count, NULL), 0);
	assert_int_equal(count, 1);
	DO(s, s->ops->release_remove(s, &one.digest, NULL));
	assert_int_equal(holders(s, 10), 1);
	assert_int_equal(holders(s, 11), 0);
	count = 0;
	assert_int_equal(s->ops->release_each(s, count_release, &count, NULL), 0);
	assert_int_equal(count, 1);
}

/* ---- deployments, rollouts ---- */

static int take_deployment(void *arg, const struct store_deployment *deployment)
{
	*(struct store_deployment *)arg = *deployment;
	return 1; /* the walk ends, and says so */
}

static void test_deployments(void **state)
{
	struct store *s = ((struct place *)*state)->s;
	struct store_deployment a = {.name = "a", .spec = {(uint8_t *)"s", 1}, .created_ms = 4};
	struct store_deployment b = {.name = "b"};
	struct store_deployment got = {0};

	DO(s, s->ops->deployment_put(s, &b, NULL));
	DO(s, s->ops->deployment_put(s, &a, NULL));
	fill(a.base.bytes, DIGEST_SIZE, 8);
	DO(s, s->ops->deployment_put(s, &a, NULL));
	assert_int_equal(s->ops->deployment_each(s, take_deployment, &got, NULL), 1);
	assert_string_equal(got.name, "a");
	assert_memory_equal(got.base.bytes, a.base.bytes, DIGEST_SIZE);
	DO(s, s->ops->deployment_remove(s, "a", NULL));
	assert_int_equal(s->ops->deployment_each(s, take_deployment, &got, NULL), 1);
	assert_string_equal(got.name, "b");
	assert_true(digest_is_zero(&got.base));
}

struct walk {
	uint64_t numbers[8], sequences[8];
	size_t count;
	struct store_rollout last;
};

static int take_rollout(void *arg, const struct store_rollout *rollout)
{
	struct walk *walk = arg;

	walk->last = *rollout;
	walk->numbers[walk->count++] = rollout->number;
	return 0;
}

static int take_journal(void *arg, const struct store_journal *journal)
{
	struct walk *walk = arg;

	assert_int_equal(journal->event.size, 1);
	walk->sequences[walk->count++] = journal->sequence;
	return 0;
}

static void put_rollout(struct store *s, uint8_t n, const char *deployment)
{
	struct store_rollout rollout = {.number = n,
					.state = "planned",
					.spec = {(uint8_t *)"spec", 4},
					.created_ms = 7};

	fill(rollout.id.bytes, ROLLOUT_ID_SIZE, (uint8_t)(100 - n));
	STR_CUT(rollout.deployment, deployment);
	DO(s, s->ops->rollout_put(s, &rollout, NULL));
}

static void test_rollouts_and_journal(void **state)
{
	struct place *place = *state;
	struct store *s = place->s;
	struct store_journal entry = {.sequence = 1, .event = {(uint8_t *)"e", 1}};
	struct walk walk = {0};

	put_rollout(s, 1, "ocr");
	put_rollout(s, 2, "asr");
	put_rollout(s, 3, "ocr");
	assert_int_equal(s->ops->rollout_each(s, NULL, take_rollout, &walk, NULL), 0);
	assert_int_equal(walk.count, 3);
	assert_int_equal(walk.numbers[0], 1); /* by number, whatever the ids are */
	assert_int_equal(walk.numbers[2], 3);
	walk.count = 0;
	assert_int_equal(s->ops->rollout_each(s, "ocr", take_rollout, &walk, NULL), 0);
	assert_int_equal(walk.count, 2);
	entry.rollout = walk.last.id;
	DO(s, s->ops->journal_append(s, &entry, NULL));
	entry.sequence = 2;
	DO(s, s->ops->journal_append(s, &entry, NULL));
	assert_int_equal(s->ops->begin(s, NULL), 0);
	assert_int_equal(s->ops->journal_append(s, &entry, NULL), -EEXIST);
	s->ops->rollback(s);
	reopen(place);
	s = place->s;
	walk.count = 0;
	assert_int_equal(s->ops->journal_each(s, &entry.rollout, take_journal, &walk, NULL), 0);
	assert_int_equal(walk.count, 2);
	assert_int_equal(walk.sequences[1], 2);
	DO(s, s->ops->rollout_end(s, &entry.rollout, "completed", 88, NULL));
	assert_int_equal(s->ops->rollout_get(s, &entry.rollout, take_rollout, &walk, NULL), 0);
	assert_true(walk.last.ended);
	assert_string_equal(walk.last.state, "completed");
	assert_int_equal(walk.last.ended_ms, 88);
	assert_int_equal(walk.last.spec.size, 4);
	DO(s, s->ops->rollout_remove(s, &entry.rollout, NULL));
	walk.count = 0;
	assert_int_equal(s->ops->journal_each(s, &entry.rollout, take_journal, &walk, NULL), 0);
	assert_int_equal(walk.count, 0);
	assert_int_equal(s->ops->rollout_get(s, &entry.rollout, take_rollout, &walk, NULL),
			 -ENOENT);
}

/* ---- events, audit ---- */

static int take_event(void *arg, const struct store_event *event)
{
	struct walk *walk = arg;

	assert_string_equal(event->kind, "rollout");
	walk->sequences[walk->count++] = event->sequence;
	return 0;
}

static void test_events(void **state)
{
	struct place *place = *state;
	struct store *s = place->s;
	struct store_event event = {.at_ms = 3, .kind = "rollout", .text = "started"};
	struct walk walk = {0};
	uint64_t sequence = 99;

	assert_int_equal(s->ops->event_last(s, &sequence, NULL), 0);
	assert_int_equal(sequence, 0);
	for (uint64_t i = 1; i <= 5; i++) {
		DO(s, s->ops->event_append(s, &event, &sequence, NULL));
		assert_int_equal(sequence, i);
	}
	assert_int_equal(s->ops->event_each(s, 1, 3, take_event, &walk, NULL), 0);
	assert_int_equal(walk.count, 3);
	assert_int_equal(walk.sequences[0], 2);
	DO(s, s->ops->event_trim(s, 6, NULL));
	reopen(place);
	s = place->s;
	/* A sequence is never used twice, not even when the log is empty. */
	DO(s, s->ops->event_append(s, &event, &sequence, NULL));
	assert_int_equal(sequence, 6);
	assert_int_equal(s->ops->event_last(s, &sequence, NULL), 0);
	assert_int_equal(sequence, 6);
}

static int take_audit(void *arg, const struct store_audit *audit)
{
	*(struct store_audit *)arg = *audit;
	return 0;
}

static void test_audit(void **state)
{
	struct store *s = ((struct place *)*state)->s;
	struct store_audit entry = {.sequence = 1,
				    .at_ms = 2,
				    .who = "alice",
				    .from = "socket",
				    .verb = "apply",
				    .what = "{}",
				    .outcome = "done"};
	struct store_audit got = {0};

	fill(entry.hash.bytes, DIGEST_SIZE, 3);
	DO(s, s->ops->audit_append(s, &entry, NULL));
	assert_int_equal(s->ops->begin(s, NULL), 0);
	assert_int_equal(s->ops->audit_append(s, &entry, NULL), -EEXIST);
	s->ops->rollback(s);
	assert_int_equal(s->ops->audit_each(s, 0, take_audit, &got, NULL), 0);
	assert_string_equal(got.who, "alice");
	assert_string_equal(got.from, "socket");
	assert_memory_equal(got.hash.bytes, entry.hash.bytes, DIGEST_SIZE);
	memset(&got, 0, sizeof(got));
	assert_int_equal(s->ops->audit_each(s, 1, take_audit, &got, NULL), 0);
	assert_int_equal(got.sequence, 0);
}

/* ---- faults between statements ---- */

static int fail_at(void *arg, const char *statement)
{
	int *left = arg;

	return --*left == 0 ? -EIO : 0;
}

/* Whichever statement of a transaction fails: all of it is there, or nothing. */
static void test_all_or_nothing(void **state)
{
	struct place *place = *state;
	struct label labels[] = {{"a", "1"}, {"b", "2"}};
	struct store_node one = make_node(1, labels, 2);
	bool committed = false;

	for (int at = 1; !committed; at++) {
		struct store *s = place->s;
		struct nodes all = {0};
		uint64_t value;
		int left = at, r;

		store_sqlite_on_statement(s, fail_at, &left);
		r = s->ops->begin(s, NULL);
		if (r == 0)
			r = s->ops->meta_put(s, "k", 1, NULL);
		if (r == 0)
			r = s->ops->node_put(s, &one, NULL);
		if (r == 0)
			r = s->ops->commit(s, NULL);
		committed = r == 0;
		assert_true(committed || r == -EIO);
		assert_true(at < 20);
		reopen(place);
		assert_int_equal(place->s->ops->node_each(place->s, take_node, &all, NULL), 0);
		assert_int_equal(all.count, committed);
		assert_int_equal(place->s->ops->meta_get(place->s, "k", &value, NULL),
				 committed ? 0 : -ENOENT);
	}
}

/* ---- SQLite's file ---- */

static int open_error(const char *path, struct err *err)
{
	struct store *s = NULL;
	int r = store_sqlite_open(path, &s, err);

	assert_null(s);
	return r;
}

static void test_one_process_at_a_time(void **state)
{
	struct place *place = *state;
	struct err err = {0};

	assert_int_equal(open_error(place->path, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another process"));
}

static void overwrite(const char *path, off_t at, const void *data, size_t size)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, at), (ssize_t)size);
}

static void test_damage_is_refused(void **state)
{
	struct place *place = *state;
	struct err err = {0};
	char garbage[4096];

	store_close(place->s);
	place->s = NULL;
	fill(garbage, sizeof(garbage), 0x5a);
	overwrite(place->path, 3 * 4096, garbage, sizeof(garbage));
	assert_int_equal(open_error(place->path, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, place->path));
	overwrite(place->path, 0, garbage, 100);
	assert_int_equal(open_error(place->path, &err), -EUCLEAN);
}

/* The version of the schema and the owner are at fixed places of an SQLite file's header. */
static void test_newer_and_foreign_are_refused(void **state)
{
	struct place *place = *state;
	struct err err = {0};

	store_close(place->s);
	place->s = NULL;
	overwrite(place->path, 60, "\0\0\0\x63", 4); /* user_version 99 */
	assert_int_equal(open_error(place->path, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "99"));
	overwrite(place->path, 60, "\0\0\0\x01", 4);
	overwrite(place->path, 68, "\0\0\0\x07", 4); /* application_id 7 */
	assert_int_equal(open_error(place->path, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "another program"));
}

static void test_place_that_is_not_there(void **state)
{
	struct err err = {0};

	assert_true(open_error("/nonexistent/folder/db", &err) < 0);
	assert_non_null(strstr(err.text, "/nonexistent/folder/db"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_meta),
		T(test_rollback_and_crash),
		T(test_nodes),
		T(test_node_names_and_keys_are_unique),
		T(test_reports_and_desired_go_with_the_node),
		T(test_tokens),
		T(test_releases_and_their_objects),
		T(test_deployments),
		T(test_rollouts_and_journal),
		T(test_events),
		T(test_audit),
		T(test_all_or_nothing),
		T(test_one_process_at_a_time),
		T(test_damage_is_refused),
		T(test_newer_and_foreign_are_refused),
		T(test_place_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
