/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell itself: loading, transactions, and settle(), the loop that ends every entry point. In a
 * large fleet desired states are not made anew for each message but at most every so many ms; what
 * a node reports meanwhile is kept and judged as soon as it answers what it was told last.
 */
#include "coordinator/rollouts.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"

enum { RETRY_MS = 1000, SWEEP_EVERY_MS = 3600 * 1000, NODES_PER_SETTLE_MS = 100,
       SETTLE_ROUNDS = 64 };

/* ---- life ---- */

static int open_root(struct coordinator *c, const struct bytes *root, struct err *err)
{
	int r = root_open(root->data, root->size, NULL, &c->root, err);

	if (r < 0)
		return err_prefix(err, r, "root document");
	c->root_envelope.data = mem_copy(root->data, root->size);
	c->root_envelope.size = root->size;
	return 0;
}

static int load_meta(struct coordinator *c, struct err *err)
{
	uint64_t value = 0;
	int r = c->store->ops->meta_get(c->store, "frozen", &value, err);

	if (r == -ENOENT)
		return 0;
	c->frozen = value != 0;
	return r;
}

static int load(struct coordinator *c, struct err *err)
{
	int r = load_meta(c, err);

	if (r == 0)
		r = audit_load(c, err);
	if (r == 0)
		r = events_load(c, err);
	if (r == 0)
		r = enrol_load(c, err);
	if (r == 0)
		r = artifacts_load(c, err);
	if (r == 0)
		r = agents_load(c, err);
	if (r == 0)
		r = deltas_load(c, err);
	if (r == 0)
		r = observations_load(c, err);
	if (r == 0)
		r = baselines_load(c, err);
	if (r == 0)
		r = deployments_load(c, err);
	if (r == 0)
		r = watching_load(c, err);
	if (r == 0)
		r = rollouts_load(c, err);
	return r;
}

int coordinator_new(const struct coordinator_config *config,
		    const struct coordinator_world *world, struct store *store,
		    struct coordinator **ret_coordinator, struct err *err)
{
	COVEY_CLEANUP(coordinator_free_p) struct coordinator *c = mem_alloc(sizeof(*c));
	int r;

	c->world = *world;
	c->store = store;
	c->coding = coding_create();
	c->exchange_due_ms = UINT64_MAX;
	c->observe_period_ms = config->observe_period_ms;
	c->drift = config->drift;
	if (!c->drift.window_ms)
		c->drift = (struct lookout_policy){DRIFT_WINDOW_MS, DRIFT_SITES_PERCENT,
						 DRIFT_COOLDOWN_MS};
	r = open_root(c, &config->root, err);
	if (r == 0)
		r = load(c, err);
	if (r < 0)
		return r;
	c->started_ms = shell_now(c);
	exchange_changed(c);
	c->sweep_ms = c->started_ms;
	c->seen_flush_ms = c->started_ms;
	c->dirty = c->fleet_changed = true;
	c->machines_before = SIZE_MAX;
	shell_settle(c);
	*ret_coordinator = TAKE_PTR(c);
	return 0;
}

void coordinator_free(struct coordinator *c)
{
	c->store->ops->rollback(c->store);
	control_free_all(c);
	rollouts_free_all(c);
	deployments_free_all(c);
	reports_free_all(c);
	observations_free_all(c);
	baselines_free_all(c);
	watching_free_all(c);
	exchange_free_all(c);
	agents_free_all(c);
	deltas_free_all(c);
	artifacts_free_all(c);
	enrol_free_all(c);
	coding_free(c->coding);
	free(c->pending_events);
	free(c->root_envelope.data);
	codec_free(&codec_root_document, &c->root);
	free(c);
}

void coordinator_close(struct coordinator *c)
{
	reports_take(c);
	observations_take(c);
	agents_flush_seen(c, true);
	events_flush(c);
	coordinator_free(c);
}

/* ---- time and transactions ---- */

uint64_t shell_now(const struct coordinator *c)
{
	return c->world.now_ms(c->world.user) + c->time_offset_ms;
}

int shell_begin(struct coordinator *c, struct err *err)
{
	return c->store->ops->begin(c->store, err);
}

int shell_end(struct coordinator *c, int r, struct err *err)
{
	if (r == 0)
		r = c->store->ops->commit(c->store, err);
	if (r < 0)
		c->store->ops->rollback(c->store);
	return r;
}

void shell_store_failed(struct coordinator *c, int r, const struct err *err)
{
	log_error("%s; trying again", err_text(err, r));
	c->retry_ms = shell_now(c) + RETRY_MS;
}

/* ---- settle ---- */

static bool desired_is_due(const struct coordinator *c, uint64_t now)
{
	return c->dirty && now >= c->settled_ms + c->nodes_count / NODES_PER_SETTLE_MS;
}

static bool machines_are_due(const struct coordinator *c, uint64_t now)
{
	return c->fleet_changed || c->unsettled || rollouts_deadline(c) <= now;
}

/* Feeds and decides until nothing moves any more. */
static bool settle_machines(struct coordinator *c, uint64_t now)
{
	struct err err = {0};
	bool moved = false;

	for (size_t round = 0; round < SETTLE_ROUNDS && machines_are_due(c, now); round++) {
		int r = rollouts_reconcile(c, &err);

		if (r < 0) {
			shell_store_failed(c, r, &err);
			return moved;
		}
		moved = true;
	}
	return moved;
}

int shell_catch_up(struct coordinator *c, struct err *err)
{
	reports_take(c);
	for (size_t round = 0; round < SETTLE_ROUNDS && (c->fleet_changed || c->unsettled);
	     round++) {
		int r = rollouts_reconcile(c, err);

		if (r < 0)
			return err_prefix(err, r, "the coordinator is behind its database");
	}
	if (c->dirty)
		desired_update(c);
	return 0;
}

void shell_settle(struct coordinator *c)
{
	uint64_t now = shell_now(c);

	if (c->retry_ms <= now) {
		c->retry_ms = 0;
		reports_take(c);
		observations_take(c);
		agents_check_leases(c, now);
		settle_machines(c, now);
		judging_take(c);
		watching_take(c);
		c->observations_fresh = false;
		settle_machines(c, now);
		if (c->retry_ms == 0 && desired_is_due(c, now))
			desired_update(c);
		if (c->retry_ms == 0)
			exchange_update(c, now);
		if (c->retry_ms == 0)
			agents_flush_seen(c, false);
		if (c->retry_ms == 0)
			events_flush(c);
		if (now >= c->sweep_ms) {
			c->sweep_ms = now + SWEEP_EVERY_MS;
			artifacts_sweep(c);
		}
	}
	seeds_step(c);
	control_wake(c);
	c->world.arm_timer(c->world.user, coordinator_deadline(c));
}

void coordinator_tick(struct coordinator *c)
{
	deltas_step(c);
	shell_settle(c);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t coordinator_deadline(const struct coordinator *c)
{
	uint64_t at = earlier(c->seen_flush_ms, c->sweep_ms);

	at = earlier(at, c->lease_check_ms);
	at = earlier(at, rollouts_deadline(c));
	at = earlier(at, judging_deadline(c));
	at = earlier(at, control_deadline(c));
	at = earlier(at, deltas_deadline(c));
	if (!c->dirty) /* what neighbours hear follows from the desired states */
		at = earlier(at, c->exchange_due_ms);
	at = earlier(at, seeds_deadline(c));
	if (c->inbox_count + c->observed_count > 0)
		at = 0;
	if (c->dirty)
		at = earlier(at, c->settled_ms + c->nodes_count / NODES_PER_SETTLE_MS);
	if (c->retry_ms && at < c->retry_ms)
		at = c->retry_ms;
	return at > c->time_offset_ms ? at - c->time_offset_ms : 0;
}

/* ---- self-check ---- */

static int compare_rollouts(const struct coordinator *c, const struct coordinator *fresh,
			    struct err *err)
{
	for (size_t i = 0; i < c->rollouts_count; i++) {
		const struct shell_rollout *a = c->rollouts[i];
		const struct shell_rollout *b = rollouts_find(fresh, &a->head.id);

		if (!b || a->sequence != b->sequence ||
		    rollout_hash(a->machine) != rollout_hash(b->machine))
			return err_set(err, -EUCLEAN,
				       "rollout of %s: memory and journal differ",
				       a->head.deployment);
	}
	if (c->rollouts_count != fresh->rollouts_count ||
	    c->history_count != fresh->history_count)
		return err_set(err, -EUCLEAN, "memory and store have different rollouts");
	return 0;
}

static int compare_nodes(const struct coordinator *c, const struct coordinator *fresh,
			 struct err *err)
{
	if (c->nodes_count != fresh->nodes_count ||
	    c->deployments_count != fresh->deployments_count ||
	    c->releases_count != fresh->releases_count || c->tokens_count != fresh->tokens_count)
		return err_set(err, -EUCLEAN, "memory and store have different records");
	for (size_t i = 0; i < c->nodes_count; i++) {
		const struct shell_node *a = c->nodes[i], *b = fresh->nodes[i];

		if (!node_id_equal(&a->record.id, &b->record.id) ||
		    !codec_equal(&codec_node_status, &a->status, &b->status) ||
		    (a->desired_made && (a->desired.epoch != b->desired.epoch ||
					 a->desired.generation != b->desired.generation ||
					 !digest_equal(&a->desired_digest, &b->desired_digest))))
			return err_set(err, -EUCLEAN, "node %s: memory and store differ",
				       a->record.name);
	}
	return 0;
}

int coordinator_check(struct coordinator *c, struct err *err)
{
	COVEY_CLEANUP(coordinator_free_p) struct coordinator *fresh = mem_alloc(sizeof(*fresh));
	int r;

	fresh->world = c->world;
	fresh->store = c->store;
	r = load(fresh, err);
	if (r == 0)
		r = compare_rollouts(c, fresh, err);
	if (r == 0)
		r = compare_nodes(c, fresh, err);
	return r;
}
