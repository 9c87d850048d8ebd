/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator in its made-up world. Its store is real; a crash is coordinator_free() on a store
 * that stays, between any two statements when `statement_left` says so.
 */
#include "sim.h"

#include "base/mem.h"
#include "coordinator/object_files.h"
#include "protocol/digest.h"
#include "protocol/message.h"

#include <assert.h>

uint64_t sim_coordinator_now(const struct sim *sim)
{
	return (uint64_t)((int64_t)sim->now_ms + sim->coordinator_skew_ms);
}

static uint64_t world_now(void *user)
{
	return sim_coordinator_now(user);
}

static void world_random(void *user, void *data, size_t size)
{
	struct sim *sim = user;
	uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)rng_next(&sim->rng);
}

/* ---- links ---- */

/* What the watch sees is what the coordinator says, before anything is lost on the way. */
static void show_desired(struct sim *sim, struct sim_node *node, struct bytes *data)
{
	struct message message;

	if (data->size < 2 || data->data[1] != MESSAGE_DESIRED)
		return;
	if (message_decode(data->data, data->size, CHANNEL_AGENTS, FROM_COORDINATOR, &message,
			   NULL) < 0) {
		sim_break(sim, "a desired state does not decode");
		return;
	}
	planted_early(sim, node, message.body);
	watch_desired(sim, node, message.body);
	if (planted_late(sim, message.body)) {
		free(data->data);
		(void)!message_encode(MESSAGE_DESIRED, message.body, data, NULL);
	}
	message_free(&message);
}

static void world_send(void *user, const struct node_id *id, const void *data, size_t size)
{
	struct sim *sim = user;
	struct sim_node *node = sim_node_of(sim, id);
	struct sim_event event = {.kind = SIM_TO_NODE, .data = {mem_copy(data, size), size}};
	bool doubled = sim_chance(sim, sim->weather.doubled);

	if (point_passed(&sim->doom, sim->storage)) {
		free(event.data.data);
		return;
	}
	if (node) {
		show_desired(sim, node, &event.data);
		acked_message(node, &event.data);
	}
	if (!node || !node->link_up || sim->now_ms < node->cut_to_ms ||
	    sim_chance(sim, sim->weather.lost)) {
		free(event.data.data);
		return;
	}
	event.node = node->index;
	event.life = node->life;
	sim_push(sim, sim_delay(sim), &event);
	if (!doubled)
		return;
	event.data.data = mem_copy(event.data.data, event.data.size);
	sim_push(sim, sim_delay(sim), &event);
}

/* Nodes here exchange nothing: nobody asks for chunks by number. */
static int world_send_data(void *user, const struct node_id *node, void *data, size_t size)
{
	return -EHOSTUNREACH;
}

static void world_reply(void *user, uint64_t client, const void *data, size_t size)
{
	struct sim *sim = user;
	struct message message;

	if (point_passed(&sim->doom, sim->storage))
		return;
	if (message_decode(data, size, CHANNEL_OPERATORS, FROM_COORDINATOR, &message, NULL) < 0) {
		sim_break(sim, "an answer to the operator does not decode");
		return;
	}
	assert(message.type == MESSAGE_CONTROL_REPLY);
	free(sim->reply.body);
	free(sim->reply.blob.data);
	memcpy(&sim->reply, message.body, sizeof(sim->reply));
	memset(message.body, 0, sizeof(sim->reply));
	message_free(&message);
}

static void world_arm(void *user, uint64_t at_ms)
{
	struct sim *sim = user;
	struct sim_event event = {.kind = SIM_COORDINATOR_TICK, .life = sim->coordinator_life,
				  .id = at_ms};
	uint64_t now = sim_coordinator_now(sim);

	if (at_ms == sim->coordinator_armed_ms)
		return;
	sim->coordinator_armed_ms = at_ms;
	if (at_ms != UINT64_MAX)
		sim_push(sim, at_ms > now ? at_ms - now : 0, &event);
}

static int world_sign(void *user, struct envelope *envelope, struct err *err)
{
	envelope_sign(envelope, SIGNED_IDENTITY, &((struct sim *)user)->online_key);
	return 0;
}

static struct sim_object *object_find(struct sim *sim, const struct digest *digest)
{
	for (size_t i = 0; i < sim->objects_count; i++)
		if (digest_equal(&sim->objects[i].digest, digest))
			return &sim->objects[i];
	return NULL;
}

static bool world_has(void *user, const struct digest *digest)
{
	if (((struct sim *)user)->storage)
		return object_files_has(storage_objects(user), digest);
	return object_find(user, digest) != NULL;
}

static int world_put(void *user, const struct digest *digest, const void *data, size_t size,
		     struct err *err)
{
	struct sim *sim = user;

	if (sim->storage)
		return object_files_put(storage_objects(sim), digest, data, size, err);
	if (object_find(sim, digest))
		return 0;
	MEM_GROW(sim->objects, &sim->objects_cap, sim->objects_count);
	sim->objects[sim->objects_count++] =
		(struct sim_object){*digest, {mem_copy(data, size), size}};
	return 0;
}

static int world_get(void *user, const struct digest *digest, struct bytes *ret_data,
		     struct err *err)
{
	struct sim_object *object;

	if (((struct sim *)user)->storage)
		return object_files_get(storage_objects(user), digest, ret_data, err);
	object = object_find(user, digest);
	if (!object)
		return -ENOENT;
	*ret_data = (struct bytes){mem_copy(object->data.data, object->data.size),
				   object->data.size};
	return 0;
}

static int world_peek(void *user, const struct digest *digest, void *buffer, size_t size)
{
	const struct sim_object *object;

	if (((struct sim *)user)->storage)
		return object_files_peek(storage_objects(user), digest, buffer, size);
	object = object_find(user, digest);
	if (!object || object->data.size != size)
		return -ENOENT;
	memcpy(buffer, object->data.data, size);
	return 0;
}

static int world_remove(void *user, const struct digest *digest, struct err *err)
{
	struct sim *sim = user;
	struct sim_object *object;

	if (sim->storage)
		return object_files_remove(storage_objects(sim), digest, err);
	object = object_find(sim, digest);
	if (!object)
		return 0;
	free(object->data.data);
	*object = sim->objects[--sim->objects_count];
	return 0;
}

static int world_each(void *user, world_object_fn *fn, void *arg, struct err *err)
{
	struct sim *sim = user;

	if (sim->storage)
		return object_files_each(storage_objects(sim), fn, arg, err);
	for (size_t i = sim->objects_count; i-- > 0;) {
		int r = fn(arg, &sim->objects[i].digest, sim->objects[i].data.size, sim->now_ms);

		if (r)
			return r;
	}
	return 0;
}

/* ---- life ---- */

static int on_statement(void *arg, const char *statement)
{
	struct sim *sim = arg;

	if (sim->crash_wanted)
		return -EIO;
	if (sim->now_ms < sim->store_full_ms) {
		watch_lost(sim);
		return -ENOSPC;
	}
	if (sim->statement_left == 0 || --sim->statement_left > 0)
		return 0;
	sim_trace(sim, "coordinator crashes before statement %s", statement);
	sim->crash_wanted = true;
	watch_lost(sim);
	return -EIO;
}

static int world_hook(void *user, const char *json, struct err *err)
{
	return 0;
}

void sim_coordinator_start(struct sim *sim)
{
	struct coordinator_config config = {.root = sim->root};
	struct coordinator_world world = {
		.user = sim,
		.now_ms = world_now,
		.random = world_random,
		.send_to_agent = world_send,
		.send_data = world_send_data,
		.control_reply = world_reply,
		.arm_timer = world_arm,
		.hook = world_hook,
		.sign_identity = world_sign,
		.object_has = world_has,
		.object_put = world_put,
		.object_get = world_get,
		.object_peek = world_peek,
		.object_remove = world_remove,
		.object_each = world_each,
	};
	struct err err = {0};
	int r;

	if (sim->coordinator)
		return;
	sim->coordinator_life++;
	sim->coordinator_armed_ms = UINT64_MAX;
	r = sim->storage ? storage_open_coordinator(sim, &err) : 0;
	if (r < 0) {
		sim_break(sim, "the coordinator does not start: %s", err_text(&err, r));
		return;
	}
	store_sqlite_on_statement(sim->store, on_statement, sim);
	r = coordinator_new(&config, &world, sim->store, &sim->coordinator, &err);
	if (sim->storage && point_passed(&sim->doom, sim->storage)) { /* the power goes again */
		sim_coordinator_crash(sim);
		return;
	}
	if (r < 0) {
		sim_break(sim, "the coordinator does not start: %s", err_text(&err, r));
		return;
	}
	sim_trace(sim, "coordinator starts");
	if (sim->storage)
		acked_check(sim);
	if (!sim->coordinator)
		return;
	watch_coordinator(sim);
	world_arm(sim, coordinator_deadline(sim->coordinator));
}

void sim_coordinator_crash(struct sim *sim)
{
	struct sim_event event = {.kind = SIM_COORDINATOR_START};

	if (!sim->coordinator && !(sim->storage && sim->store))
		return;
	sim_trace(sim, "coordinator is gone");
	watch_lost(sim);
	if (sim->storage)
		storage_close_coordinator(sim, sim->doom.cut);
	else
		coordinator_free(sim->coordinator);
	sim->coordinator = NULL;
	sim->doom = (struct sim_doom){.cut = PLATTER_KILL};
	sim->crash_wanted = false;
	sim->statement_left = 0;
	for (uint32_t i = 0; i < sim->nodes_count; i++)
		sim_node_link_down(&sim->nodes[i]);
	sim_push(sim, sim_between(sim, 500, 20000), &event);
}

bool sim_coordinator_settle(struct sim *sim)
{
	bool dark = sim->storage && platter_is_dark(storage_platter(sim->storage));

	if (sim->crash_wanted || sim->doom.now || dark) {
		if (dark && !sim->doom.now) {
			sim->power_cuts++;
			sim->doom.cut = PLATTER_POWER;
		}
		sim_coordinator_crash(sim);
		return true;
	}
	if (sim->coordinator)
		watch_coordinator(sim);
	return false;
}
