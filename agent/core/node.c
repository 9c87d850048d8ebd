/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Above the deployments. After every event the one switch is offered: when no deployment is between
 * start and bake, the one that waits longest gets GRANT. Going back is never made to wait. A
 * deployment that is gone stays as a tombstone while it has vetoes, because these hold for the
 * deployment's name, also when it comes back.
 */
#include "agent/core/node.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

struct entry {
	bool dirty;
	bool delete; /* leaves when its deletion was told */
	struct deploy deploy;
};

struct node_core {
	size_t capacity; /* of living deployments; as many tombstones fit beside them */
	size_t count;
	uint64_t epoch, generation;
	bool generation_dirty;
	char told[LIMIT_NAME + 1]; /* name of the last deletion that was told */
	struct entry *entries;
};

struct node_core *node_core_create(size_t capacity)
{
	struct node_core *core = mem_alloc(sizeof(*core));

	assert(capacity > 0 && capacity <= LIMIT_DEPLOYMENTS_PER_NODE);
	core->capacity = capacity;
	core->entries = mem_array(2 * capacity, sizeof(core->entries[0]));
	return core;
}

void node_core_free(struct node_core *core)
{
	if (!core)
		return;
	free(core->entries);
	free(core);
}

static struct entry *find(const struct node_core *core, const char *name)
{
	for (size_t i = 0; i < core->count; i++)
		if (str_equal(core->entries[i].deploy.record.name, name))
			return &core->entries[i];
	return NULL;
}

static void remove_at(struct node_core *core, size_t index)
{
	core->count--;
	if (index != core->count)
		core->entries[index] = core->entries[core->count];
	core->entries[core->count] = (struct entry){0};
}

int node_core_restore(struct node_core *core, const struct deploy_record *record)
{
	int code;

	if (core->count == 2 * core->capacity)
		return -ENOSPC;
	if (strnlen(record->name, sizeof(record->name)) <= LIMIT_NAME && find(core, record->name))
		return -EEXIST;
	code = deploy_restore(&core->entries[core->count].deploy, record);
	if (code < 0)
		return code;
	core->count++;
	return 0;
}

void node_core_restore_generation(struct node_core *core, uint64_t epoch, uint64_t generation)
{
	core->epoch = epoch;
	core->generation = generation;
}

void node_core_generation(const struct node_core *core, uint64_t *ret_epoch,
			  uint64_t *ret_generation)
{
	*ret_epoch = core->epoch;
	*ret_generation = core->generation;
}

static bool is_older(const struct node_core *core, const struct desired_state *desired)
{
	return desired->epoch < core->epoch ||
	       (desired->epoch == core->epoch && desired->generation < core->generation);
}

static void apply_one(struct entry *entry, const struct deploy_event *event)
{
	struct deploy *d = &entry->deploy;

	if (deploy_apply(d, event))
		entry->dirty = true;
}

static bool is_tombstone(const struct entry *entry)
{
	return deploy_is_gone(&entry->deploy) && !entry->deploy.record.assigned;
}

/* Tombstones without vetoes say nothing; of the others the first go when they are too many. */
static void mark_deletions(struct node_core *core)
{
	size_t left = 0;

	for (size_t i = core->count; i-- > 0;) {
		struct entry *entry = &core->entries[i];

		entry->delete = is_tombstone(entry) && (entry->deploy.record.vetoes_count == 0 ||
							++left > core->capacity);
	}
}

static void grant(struct node_core *core, const struct node_event *event)
{
	struct deploy_event grant = {.kind = DEPLOY_EVENT_GRANT,
				     .now_ms = event->event.now_ms,
				     .unix_ms = event->event.unix_ms,
				     .random = event->event.random};
	struct entry *longest = NULL;

	for (size_t i = 0; i < core->count; i++) {
		const struct deploy *d = &core->entries[i].deploy;

		if (deploy_switches(d))
			return;
		if (deploy_waits(d) &&
		    (!longest || d->waiting_since_ms < longest->deploy.waiting_since_ms))
			longest = &core->entries[i];
	}
	if (longest)
		apply_one(longest, &grant);
}

static struct entry *make_room(struct node_core *core)
{
	size_t living = 0;

	for (size_t i = 0; i < core->count; i++)
		living += !is_tombstone(&core->entries[i]);
	if (living >= core->capacity || core->count == 2 * core->capacity)
		return NULL;
	return &core->entries[core->count++];
}

static const struct assignment *assignment_of(const struct desired_state *desired,
					      const char *name)
{
	for (size_t i = 0; i < desired->assignments_count; i++)
		if (str_equal(desired->assignments[i].deployment, name))
			return &desired->assignments[i];
	return NULL;
}

static int appear(struct node_core *core, const struct node_event *event)
{
	const struct desired_state *desired = event->desired;
	struct deploy_event one = event->event;
	struct entry *entry;
	int code = 0;

	one.kind = DEPLOY_EVENT_DESIRED;
	for (size_t i = 0; i < desired->assignments_count; i++) {
		one.assignment = &desired->assignments[i];
		if (find(core, one.assignment->deployment))
			continue;
		entry = make_room(core);
		if (!entry) {
			code = -ENOSPC;
			continue;
		}
		*entry = (struct entry){0};
		deploy_init(&entry->deploy, one.assignment->deployment);
		apply_one(entry, &one);
	}
	return code;
}

static int apply_desired(struct node_core *core, const struct node_event *event)
{
	const struct desired_state *desired = event->desired;
	struct deploy_event one = event->event;

	if (is_older(core, desired))
		return -ESTALE;
	core->generation_dirty |= desired->epoch != core->epoch ||
				  desired->generation != core->generation;
	core->epoch = desired->epoch;
	core->generation = desired->generation;
	one.kind = DEPLOY_EVENT_DESIRED;
	for (size_t i = 0; i < core->count; i++) {
		one.assignment = assignment_of(desired, core->entries[i].deploy.record.name);
		apply_one(&core->entries[i], &one);
	}
	return appear(core, event);
}

bool node_core_admits(const struct node_core *core, const struct node_event *event)
{
	const struct entry *entry;

	switch (event->kind) {
	case NODE_DESIRED:
		return !is_older(core, event->desired);
	case NODE_DEPLOYMENT:
		entry = find(core, event->deployment);
		return entry && deploy_admits(&entry->deploy, &event->event);
	case NODE_ALL:
		return true;
	case NODE_EVENT_COUNT:
		break;
	}
	return false;
}

int node_core_apply(struct node_core *core, const struct node_event *event)
{
	struct entry *entry;
	int code = 0;

	switch (event->kind) {
	case NODE_DESIRED:
		code = apply_desired(core, event);
		break;
	case NODE_DEPLOYMENT:
		entry = find(core, event->deployment);
		if (!entry)
			return -ENOENT;
		apply_one(entry, &event->event);
		break;
	case NODE_ALL:
		for (size_t i = 0; i < core->count; i++)
			apply_one(&core->entries[i], &event->event);
		break;
	case NODE_EVENT_COUNT:
		return -EINVAL;
	}
	grant(core, event);
	mark_deletions(core);
	return code;
}

bool node_core_next_dirty(struct node_core *core, const char **ret_name,
			  const struct deploy_record **ret_record)
{
	for (size_t i = 0; i < core->count; i++) {
		struct entry *entry = &core->entries[i];

		if (entry->delete) {
			STR_CUT(core->told, entry->deploy.record.name);
			remove_at(core, i);
			*ret_name = core->told;
			*ret_record = NULL;
			return true;
		}
		if (entry->dirty) {
			entry->dirty = false;
			*ret_name = entry->deploy.record.name;
			*ret_record = &entry->deploy.record;
			return true;
		}
	}
	return false;
}

bool node_core_take_generation_dirty(struct node_core *core)
{
	bool dirty = core->generation_dirty;

	core->generation_dirty = false;
	return dirty;
}

size_t node_core_count(const struct node_core *core)
{
	return core->count;
}

const struct deploy *node_core_at(const struct node_core *core, size_t index)
{
	assert(index < core->count);
	return &core->entries[index].deploy;
}

const struct deploy *node_core_find(const struct node_core *core, const char *name)
{
	const struct entry *entry = find(core, name);

	return entry ? &entry->deploy : NULL;
}

bool node_core_keeps(const struct node_core *core, const struct digest *release)
{
	struct deploy_effects effects;

	for (size_t i = 0; i < core->count; i++) {
		deploy_decide(&core->entries[i].deploy, 0, &effects);
		for (size_t k = 0; k < effects.keep_count; k++)
			if (digest_equal(&effects.keep[k], release))
				return true;
	}
	return false;
}

uint64_t node_core_deadline(const struct node_core *core)
{
	uint64_t when = DEPLOY_NEVER;

	for (size_t i = 0; i < core->count; i++) {
		uint64_t one = deploy_deadline(&core->entries[i].deploy);

		when = one < when ? one : when;
	}
	return when;
}
