/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With --disk the journals, chunk stores, the coordinator's database and its objects are the real
 * ones, on files above a layer that forgets what was not synced (platter.h). When a process comes
 * back, what it finds is compared with what it had acknowledged: the records of the last call that
 * came to its end are there; each chunk that the journal names is on the disk, bit by bit; a sealed
 * release is whole; the coordinator knows each rollout that an operator was told of and each status
 * that a node was told it has.
 */
#include "sim.h"

#include "agent/chunks/store.h"
#include "agent/shell.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/object_files.h"
#include "coordinator/rollouts.h"
#include "protocol/digest.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATES = 8 };

struct storage {
	char dir[PATH_MAX];
	struct platter *platter;
	struct chunk_store *chunks;
	struct object_files *objects;
	struct digest states[STATES]; /* of the journal: one of these must be found */
	size_t states_count;
	uint64_t commits; /* of the journal, when the newest was noted */
	bool is_new;	  /* nothing was acknowledged yet */
};

static int storage_new(struct sim *sim, const char *name, uint64_t seed, struct storage **ret)
{
	struct storage *s = mem_alloc(sizeof(*s));

	*ret = s;
	s->is_new = true;
	if (snprintf(s->dir, sizeof(s->dir), "%s/%s", sim->options.dir, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (mkdir(s->dir, 0700) < 0)
		return -errno;
	s->platter = platter_new(s->dir, seed);
	if (planted(sim, "never synced"))
		platter_never_sync(s->platter);
	return 0;
}

int storage_of_node(struct sim_node *node)
{
	return storage_new(node->sim, node->name, node->sim->options.seed * 1000 + node->index,
			   &node->storage);
}

int storage_of_coordinator(struct sim *sim)
{
	return storage_new(sim, "coordinator", sim->options.seed * 1000 + 999, &sim->storage);
}

void storage_free(struct storage *s)
{
	if (!s)
		return;
	platter_free(s->platter);
	free(s);
}

struct platter *storage_platter(struct storage *s)
{
	return s->platter;
}

/* ---- a node's journal ---- */

static int add_record(void *context, const char *deployment, const void *data, size_t size,
		      struct err *err)
{
	struct digest_state *state = context;

	digest_add(state, deployment, strlen(deployment) + 1);
	digest_add(state, data, size);
	return 0;
}

static int state_of(struct journal *journal, struct digest *ret_digest)
{
	struct digest_state state;
	struct journal_node row;
	int r = journal_load_node(journal, &row, NULL);

	if (r < 0)
		return r;
	digest_init(&state);
	digest_add(&state, &row.epoch, sizeof(row.epoch));
	digest_add(&state, &row.generation, sizeof(row.generation));
	r = journal_each_record(journal, add_record, &state, NULL);
	digest_end(&state, ret_digest);
	return r;
}

static void add_state(struct sim_node *node)
{
	struct storage *s = node->storage;
	struct digest digest;

	if (state_of(node->journal, &digest) < 0 || s->states_count == STATES) {
		sim_break(node->sim, "%s: its journal cannot be read", node->name);
		return;
	}
	s->states[s->states_count++] = digest;
	s->commits = journal_commits(node->journal);
}

void storage_seen(struct sim_node *node)
{
	struct storage *s = node->storage;

	if (!s || !node->agent || node->doom.now || platter_is_dark(s->platter) ||
	    (!s->is_new && s->commits == journal_commits(node->journal)))
		return;
	s->is_new = false;
	s->states_count = 0;
	add_state(node);
}

/* The call that is under way: it may have got as far as this, or not. Several commits in one call
 * are several states in between. */
static void add_last(struct sim_node *node)
{
	struct storage *s = node->storage;

	if (journal_commits(node->journal) > s->commits + 1)
		s->is_new = true;
	else if (journal_commits(node->journal) == s->commits + 1)
		add_state(node);
}

static void check_journal(struct sim_node *node)
{
	struct storage *s = node->storage;
	struct digest digest;
	bool known = s->is_new;

	if (state_of(node->journal, &digest) < 0) {
		sim_break(node->sim, "%s: its journal cannot be read", node->name);
		return;
	}
	for (size_t i = 0; i < s->states_count; i++)
		known |= digest_equal(&s->states[i], &digest);
	if (!known)
		sim_break(node->sim, "%s: its journal has lost what was acknowledged", node->name);
}

/* ---- a node's chunks ---- */

struct blob_check {
	struct sim_node *node;
	const struct sim_version *version;
	FILE *file; /* NULL: there is none */
};

static int check_extent(void *context, const struct journal_extent *extent)
{
	struct blob_check *check = context;
	uint8_t data[SIM_CHUNK_SIZE_ON_DISK];
	struct digest digest;

	if (!check->file || extent->size > sizeof(data) ||
	    fseek(check->file, (long)extent->offset, SEEK_SET) < 0 ||
	    fread(data, 1, extent->size, check->file) != extent->size) {
		sim_break(check->node->sim, "%s: a chunk of %s that was kept is not there",
			  check->node->name, check->version->name);
		return 1;
	}
	digest_of(&digest, data, extent->size);
	if (digest_equal(&digest, &extent->chunk))
		return 0;
	sim_break(check->node->sim, "%s: a chunk of %s that was kept is damaged",
		  check->node->name, check->version->name);
	return 1;
}

static FILE *open_blob(const struct storage *s, const char *folder, const struct digest *content,
		       const char *suffix)
{
	char path[PATH_MAX + 128], hex[2 * DIGEST_SIZE + 1];

	str_hex(hex, content->bytes, DIGEST_SIZE);
	snprintf(path, sizeof(path), "%s/store/%s/%s%s", s->dir, folder, hex, suffix);
	return fopen(path, "re");
}

static bool is_whole(FILE *file, const struct release_blob *blob)
{
	uint8_t data[SIM_CHUNKS * SIM_CHUNK_SIZE_ON_DISK];
	struct digest digest;

	if (!file || blob->size > sizeof(data) || fseek(file, 0, SEEK_SET) < 0 ||
	    fread(data, 1, blob->size, file) != blob->size)
		return false;
	digest_of(&digest, data, blob->size);
	return digest_equal(&digest, &blob->content);
}

static void check_version(struct sim_node *node, const struct sim_version *version)
{
	const struct release_blob *blob = version->release.blobs;
	struct blob_check check = {node, version, NULL};
	FILE *done = open_blob(node->storage, "blobs", &blob->content, "");
	FILE *part = open_blob(node->storage, "parts", &blob->content, ".part");
	struct chunk_store_ops ops = chunk_store_ops(node->storage->chunks);

	check.file = done ? done : part;
	if (journal_each_extent(node->journal, &blob->content, check_extent, &check, NULL) < 0)
		sim_break(node->sim, "%s: its journal cannot be read", node->name);
	if (ops.sealed(ops.context, &version->digest) && !is_whole(done, blob))
		sim_break(node->sim, "%s: %s is sealed and not whole", node->name, version->name);
	if (done)
		fclose(done);
	if (part)
		fclose(part);
}

static uint64_t no_time(void)
{
	return SIM_EPOCH_MS;
}

int storage_open_node(struct sim_node *node, struct err *err)
{
	struct storage *s = node->storage;
	char journal[PATH_MAX + 16], store[PATH_MAX + 16];
	struct chunk_store_config config = {.dir = store,
					    .root = &node->sim->root_document,
					    .unix_ms = no_time};
	int r;

	snprintf(journal, sizeof(journal), "%s/journal.db", s->dir);
	snprintf(store, sizeof(store), "%s/store", s->dir);
	r = journal_open(journal, &node->journal, err);
	config.journal = node->journal;
	if (r == 0)
		r = chunk_store_open(&config, &s->chunks, err);
	if (r < 0)
		return r;
	check_journal(node);
	for (int v = 0; v < SIM_VERSIONS; v++)
		check_version(node, &node->sim->versions[v]);
	s->states_count = 0;
	s->is_new = true;
	s->commits = 0;
	return 0;
}

void storage_close_node(struct sim_node *node, enum platter_cut cut)
{
	struct storage *s = node->storage;

	if (!node->journal)
		return;
	if (node->agent && !s->is_new)
		add_last(node);
	platter_cut(s->platter, cut);
	if (node->agent)
		agent_free(node->agent);
	node->agent = NULL;
	if (s->chunks)
		chunk_store_close(s->chunks);
	s->chunks = NULL;
	journal_close(node->journal);
	node->journal = NULL;
	if (platter_restore(s->platter) < 0)
		sim_break(node->sim, "%s: its files cannot be restored", node->name);
}

/* ---- the chunk store's table, between the agent and the real one ---- */

static int real_missing(void *context, const struct digest *release,
			struct wanted_object *ret_items, size_t max, size_t *ret_count,
			struct stage_progress *ret_progress, struct err *err)
{
	struct chunk_store_ops ops = chunk_store_ops(((struct sim_node *)context)->storage->chunks);

	return ops.missing(ops.context, release, ret_items, max, ret_count, ret_progress, err);
}

static int real_put(void *context, const struct digest *release, enum object_kind kind,
		    const struct digest *digest, const void *data, size_t size, struct err *err)
{
	struct sim_node *node = context;
	struct chunk_store_ops ops = chunk_store_ops(node->storage->chunks);

	if (sim_chance(node->sim, node->sim->weather.put_fails))
		return err_set(err, -EIO, "the disk does not write");
	return ops.put(ops.context, release, kind, digest, data, size, err);
}

static int real_seal(void *context, const struct digest *release, struct err *err)
{
	struct sim_node *node = context;
	struct chunk_store_ops ops = chunk_store_ops(node->storage->chunks);
	int v = sim_version_of(node->sim, release), r = ops.seal(ops.context, release, err);

	if (r == 0 && v >= 0 && !platter_is_dark(node->storage->platter)) {
		check_version(node, &node->sim->versions[v]);
		node->held[v].sealed = true;
	}
	return r;
}

static int real_release(void *context, const struct digest *release, struct release *ret_release,
			struct err *err)
{
	struct chunk_store_ops ops = chunk_store_ops(((struct sim_node *)context)->storage->chunks);

	return ops.release(ops.context, release, ret_release, err);
}

static bool real_sealed(void *context, const struct digest *release)
{
	struct chunk_store_ops ops = chunk_store_ops(((struct sim_node *)context)->storage->chunks);

	return ops.sealed(ops.context, release);
}

static void real_suspect(void *context, const struct digest *release)
{
	struct chunk_store_ops ops = chunk_store_ops(((struct sim_node *)context)->storage->chunks);

	ops.suspect(ops.context, release);
}

static int real_prune(void *context, const struct digest_item *keep, size_t keep_count,
		      bool *ret_dropped, struct err *err)
{
	struct chunk_store_ops ops = chunk_store_ops(((struct sim_node *)context)->storage->chunks);

	return ops.prune(ops.context, keep, keep_count, ret_dropped, err);
}

static void real_idle(void *context)
{
	struct chunk_store_ops ops = chunk_store_ops(((struct sim_node *)context)->storage->chunks);

	ops.idle(ops.context);
}

struct chunk_store_ops storage_ops(struct sim_node *node)
{
	return (struct chunk_store_ops){.context = node,
					.missing = real_missing,
					.put = real_put,
					.seal = real_seal,
					.release = real_release,
					.sealed = real_sealed,
					.suspect = real_suspect,
					.prune = real_prune,
					.idle = real_idle};
}

/* ---- the coordinator ---- */

struct object_files *storage_objects(struct sim *sim)
{
	return sim->storage->objects;
}

int storage_open_coordinator(struct sim *sim, struct err *err)
{
	struct storage *s = sim->storage;
	char path[PATH_MAX + 16];
	int r;

	snprintf(path, sizeof(path), "%s/covey.db", s->dir);
	r = store_sqlite_open(path, &sim->store, err);
	snprintf(path, sizeof(path), "%s/objects", s->dir);
	return r < 0 ? r : object_files_open(path, &s->objects, err);
}

void storage_close_coordinator(struct sim *sim, enum platter_cut cut)
{
	struct storage *s = sim->storage;

	platter_cut(s->platter, cut);
	if (sim->coordinator)
		coordinator_free(sim->coordinator);
	sim->coordinator = NULL;
	if (s->objects)
		object_files_close(s->objects);
	s->objects = NULL;
	if (sim->store)
		store_close(sim->store);
	sim->store = NULL;
	if (platter_restore(s->platter) < 0)
		sim_break(sim, "the coordinator's files cannot be restored");
}
