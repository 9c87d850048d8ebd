/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit is named by what it changes. The two files of the database are copied while the daemon
 * stands still before its fdatasync: SQLite then recovers from the copy exactly what a restart
 * would find if the machine stopped after that call, and the daemon's own codecs read it.
 */
#include "tests/integration/strike/strike.h"

#include "agent/journal.h"
#include "agent/record_codec.h"
#include "base/mem.h"
#include "coordinator/rollouts.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum { FACTS_MAX = 2048 };

struct fact { /* one line of what is known: a step is a fact that was not there before */
	char key[160], value[160], step[64];
};

struct facts {
	struct fact items[FACTS_MAX];
	size_t count;
};

struct names {
	char path[400], copy[64];
	bool agent;
	struct facts known;
};

static void add_fact(struct facts *facts, const char *step, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void add_fact(struct facts *facts, const char *step, const char *key, const char *format, ...)
{
	struct fact *fact = &facts->items[facts->count];
	va_list args;

	if (facts->count == FACTS_MAX)
		return;
	facts->count++;
	STR_CUT(fact->key, key);
	STR_CUT(fact->step, step);
	va_start(args, format);
	vsnprintf(fact->value, sizeof(fact->value), format, args);
	va_end(args);
}

/* ---- the agent's journal ---- */

static int one_record(void *context, const char *deployment, const void *data, size_t size,
		      struct err *err)
{
	AUTO_FREE struct deploy_record *record = mem_alloc(sizeof(*record));
	int r = codec_decode(&codec_deploy_record, data, size, record, err);

	if (r < 0)
		return r;
	add_fact(context, deploy_phases[record->phase].text, deployment, "%d", record->phase);
	if (record->vetoes_count > 0) {
		char key[160];

		snprintf(key, sizeof(key), "%s vetoes", deployment);
		add_fact(context, "veto", key, "%u", (unsigned)record->vetoes_count);
	}
	return 0;
}

static int one_outcome(void *context, const char *deployment, const void *data, size_t size,
		       struct err *err)
{
	static const char *const kinds[OUTCOME_COUNT] = {
		"", "outcome:completed", "outcome:rolled_back", "outcome:aborted",
		"outcome:failed", "outcome:unreachable"};
	struct outcome outcome;
	char key[160];
	int r = codec_decode(&codec_outcome, data, size, &outcome, err);

	if (r < 0)
		return r;
	snprintf(key, sizeof(key), "%s at %" PRIu64, deployment, outcome.at_unix_ms);
	add_fact(context, kinds[outcome.kind], key, "%d", outcome.kind);
	codec_free(&codec_outcome, &outcome);
	return 0;
}

static int read_agent(const char *path, struct facts *facts, struct err *err)
{
	COVEY_CLEANUP(journal_close_p) struct journal *journal = NULL;
	struct journal_node node;
	int r = journal_open(path, &journal, err);

	if (r == 0)
		r = journal_load_node(journal, &node, err);
	if (r < 0)
		return r;
	add_fact(facts, "boot", "boot", "%" PRIu64, node.boot_epoch);
	add_fact(facts, "desired", "desired", "%" PRIu64 ".%" PRIu64, node.epoch, node.generation);
	r = journal_each_record(journal, one_record, facts, err);
	if (r == 0)
		r = journal_each_history(journal, one_outcome, facts, err);
	return r;
}

/* ---- the coordinator's store ---- */

struct reading {
	struct coordinator *coordinator;
	struct facts *facts;
	uint64_t audit; /* number of its last entry */
	struct err *err;
};

static int one_rollout(void *arg, const struct store_rollout *record)
{
	COVEY_CLEANUP(rollouts_unload_p) struct shell_rollout *rollout = NULL;
	const struct reading *reading = arg;
	char key[160], id[ROLLOUT_ID_TEXT_MAX];
	int r = rollouts_read(reading->coordinator, &record->id, &rollout, reading->err);

	if (r < 0)
		return r;
	rollout_id_text(id, &record->id);
	add_fact(reading->facts, "plan", id, "stored");
	snprintf(key, sizeof(key), "%s state", id);
	add_fact(reading->facts, rollout_state_name(rollout->machine->state), key, "%d",
		 rollout->machine->state);
	if (record->ended) {
		snprintf(key, sizeof(key), "%s end", id);
		add_fact(reading->facts, "ended", key, "%s", record->state);
	}
	return 0;
}

static int one_report(void *arg, const struct store_report *report)
{
	const struct reading *reading = arg;
	char id[NODE_ID_TEXT_MAX], key[160];

	node_id_text(id, &report->node);
	snprintf(key, sizeof(key), "%s report", id);
	add_fact(reading->facts, "report", key, "%" PRIu64 ".%" PRIu64, report->boot_epoch,
		 report->sequence);
	return 0;
}

static int one_desired(void *arg, const struct store_desired *desired)
{
	const struct reading *reading = arg;
	char id[NODE_ID_TEXT_MAX], key[160];

	node_id_text(id, &desired->node);
	snprintf(key, sizeof(key), "%s desired", id);
	add_fact(reading->facts, "desired", key, "%" PRIu64 ".%" PRIu64, desired->epoch,
		 desired->generation);
	return 0;
}

static int one_release(void *arg, const struct store_release *release)
{
	const struct reading *reading = arg;

	add_fact(reading->facts, "release", release->version, "%s", release->model);
	return 0;
}

static int one_audit(void *arg, const struct store_audit *audit)
{
	struct reading *reading = arg;

	reading->audit = audit->sequence;
	return 0;
}

static int read_coordinator(const char *path, struct facts *facts, struct err *err)
{
	AUTO_FREE struct coordinator *c = mem_alloc(sizeof(*c));
	COVEY_CLEANUP(store_close_p) struct store *store = NULL;
	struct reading reading = {.coordinator = c, .facts = facts, .err = err};
	int r = store_sqlite_open(path, &store, err);

	c->store = store;
	if (r == 0)
		r = store->ops->rollout_each(store, NULL, one_rollout, &reading, err);
	if (r == 0)
		r = store->ops->report_each(store, one_report, &reading, err);
	if (r == 0)
		r = store->ops->desired_each(store, one_desired, &reading, err);
	if (r == 0)
		r = store->ops->release_each(store, one_release, &reading, err);
	if (r == 0)
		r = store->ops->audit_each(store, 0, one_audit, &reading, err);
	add_fact(facts, "audit", "audit", "%" PRIu64, reading.audit);
	return r;
}

/* ---- copies ---- */

static int copy_file(const char *from, const char *to, bool may_lack, struct err *err)
{
	AUTO_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (in < 0 && may_lack)
		return 0;
	if (in < 0 || out < 0)
		return err_errno(err, -errno, "copy %s", from);
	do
		n = sendfile(out, in, NULL, 1 << 20);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? err_errno(err, -errno, "copy %s", from) : 0;
}

static int read_copy(const struct names *names, struct facts *facts, struct err *err)
{
	static const char *const tails[] = {"", "-wal", "-shm"};
	char from[512], to[128];
	int r = 0;

	for (size_t i = 0; r == 0 && i < 2; i++) {
		snprintf(from, sizeof(from), "%s%s", names->path, tails[i]);
		snprintf(to, sizeof(to), "%s/db%s", names->copy, tails[i]);
		r = copy_file(from, to, i > 0, err); /* there may be no log yet */
	}
	snprintf(to, sizeof(to), "%s/db", names->copy);
	if (r == 0)
		r = names->agent ? read_agent(to, facts, err) : read_coordinator(to, facts, err);
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		snprintf(to, sizeof(to), "%s/db%s", names->copy, tails[i]);
		unlink(to);
	}
	return r;
}

int names_open(const char *path, struct names **ret_names, struct err *err)
{
	COVEY_CLEANUP(names_close_p) struct names *names = mem_alloc(sizeof(*names));
	const char *slash = strrchr(path, '/');
	int r = STR_SET(names->path, path);

	names->agent = str_equal(slash ? slash + 1 : path, "journal.db");
	STR_CUT(names->copy, "/dev/shm/covey-strike-XXXXXX");
	if (r < 0 || !mkdtemp(names->copy))
		return err_errno(err, r < 0 ? r : -errno, "%s", path);
	r = read_copy(names, &names->known, err);
	if (r < 0)
		return r;
	*ret_names = TAKE_PTR(names);
	return 0;
}

void names_close(struct names *names)
{
	rmdir(names->copy);
	free(names);
}

static const struct fact *find(const struct facts *facts, const char *key)
{
	for (size_t i = 0; i < facts->count; i++)
		if (str_equal(facts->items[i].key, key))
			return &facts->items[i];
	return NULL;
}

int names_next(struct names *names, struct str *ret_steps, struct err *err)
{
	AUTO_FREE struct facts *facts = mem_alloc(sizeof(*facts));
	int r = read_copy(names, facts, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < facts->count; i++) {
		const struct fact *fact = &facts->items[i], *before = find(&names->known, fact->key);

		if (!before || !str_equal(before->value, fact->value))
			str_addf(ret_steps, "%s ", fact->step);
	}
	for (size_t i = 0; i < names->known.count; i++)
		if (!find(facts, names->known.items[i].key))
			str_add(ret_steps, "dropped ");
	names->known = *facts;
	return 0;
}
