/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Releases and their objects. A release is accepted when its signatures satisfy the root document
 * and everything that it names is here; from then on its objects stay. A node gets an object only
 * if it belongs to a release that is assigned to it. What no release refers to is swept once it
 * has lain for a day, so that a push in progress loses nothing.
 */
#include "coordinator/control.h"
#include "coordinator/rollouts.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum { SWEEP_AGE_MS = 24 * 3600 * 1000 };

/* ---- the list ---- */

static void insert(struct coordinator *c, const struct store_release *release)
{
	MEM_GROW(c->releases, &c->releases_cap, c->releases_count);
	c->releases[c->releases_count] = *release;
	c->releases[c->releases_count++].manifest = (struct bytes){0};
}

static int load(void *arg, const struct store_release *release)
{
	insert(arg, release);
	return 0;
}

int artifacts_load(struct coordinator *c, struct err *err)
{
	return c->store->ops->release_each(c->store, load, c, err);
}

void artifacts_free_all(struct coordinator *c)
{
	free(c->releases);
}

const struct store_release *artifacts_find(const struct coordinator *c,
					   const struct digest *digest)
{
	for (size_t i = 0; i < c->releases_count; i++) {
		if (digest_equal(&c->releases[i].digest, digest))
			return &c->releases[i];
	}
	return NULL;
}

const struct store_release *artifacts_named(const struct coordinator *c, const char *model,
					    const char *version)
{
	for (size_t i = 0; i < c->releases_count; i++) {
		if (str_equal(c->releases[i].model, model) &&
		    str_equal(c->releases[i].version, version))
			return &c->releases[i];
	}
	return NULL;
}

void artifacts_name(const struct coordinator *c, const struct digest *digest,
		    char dst[SHELL_TEXT_RELEASE])
{
	const struct store_release *release = artifacts_find(c, digest);
	char text[DIGEST_TEXT_MAX];

	digest_text(text, digest);
	if (release)
		snprintf(dst, SHELL_TEXT_RELEASE, "%s@%s", release->model, release->version);
	else
		str_cut(dst, SHELL_TEXT_RELEASE, digest_is_zero(digest) ? "nothing" : text);
}

int artifacts_in_use(const struct coordinator *c, const struct digest *digest, struct err *err)
{
	char name[SHELL_TEXT_RELEASE], id[ROLLOUT_ID_TEXT_MAX];

	artifacts_name(c, digest, name);
	for (size_t i = 0; i < c->deployments_count; i++) {
		const struct store_deployment *record = &c->deployments[i]->record;

		if (digest_equal(&record->base, digest))
			return err_set(err, -EBUSY, "%s is what deployment %s serves", name,
				       record->name);
	}
	for (size_t i = 0; i < c->rollouts_count; i++) {
		const struct shell_rollout *ro = c->rollouts[i];

		if (!rollouts_under_way(ro) || (!digest_equal(&ro->machine->from, digest) &&
						!digest_equal(&ro->machine->to, digest)))
			continue;
		rollout_id_text(id, &ro->head.id);
		return err_set(err, -EBUSY, "rollout %s of %s needs %s", id, ro->head.deployment,
			       name);
	}
	for (size_t i = 0; i < c->nodes_count; i++) {
		if (desired_has_release(c->nodes[i], digest))
			return err_set(err, -EBUSY, "%s is assigned to node %s", name,
				       c->nodes[i]->record.name);
	}
	return 0;
}

/* ---- reading ---- */

static int take_manifest(void *arg, const struct store_release *release)
{
	struct bytes *data = arg;

	data->size = release->manifest.size;
	data->data = mem_copy(release->manifest.data, release->manifest.size);
	return 0;
}

int artifacts_manifest(struct coordinator *c, const struct digest *digest, struct bytes *ret_data,
		       struct err *err)
{
	*ret_data = (struct bytes){0};
	return c->store->ops->release_get(c->store, digest, take_manifest, ret_data, err);
}

int artifacts_open(struct coordinator *c, const struct digest *digest, struct release *ret_release,
		   struct envelope *ret_envelope, struct err *err)
{
	struct bytes data;
	int r = artifacts_manifest(c, digest, &data, err);

	if (r < 0)
		return r;
	r = codec_decode(&codec_envelope, data.data, data.size, ret_envelope, err);
	free(data.data);
	if (r < 0)
		return r;
	r = codec_decode(&codec_release, ret_envelope->payload.data, ret_envelope->payload.size,
			 ret_release, err);
	if (r < 0)
		codec_free(&codec_envelope, ret_envelope);
	return r;
}

int artifacts_index(struct coordinator *c, const struct digest *digest,
		    struct chunk_index *ret_index, struct err *err)
{
	struct bytes data = {0};
	int r = c->world.object_get(c->world.user, digest, &data, err);

	if (r == 0)
		r = codec_decode(&codec_chunk_index, data.data, data.size, ret_index, err);
	free(data.data);
	return r;
}

/* ---- putting ---- */

/* Everything that a blob consists of is here, and adds up; each digest goes to the store. */
static int store_blob(struct coordinator *c, const struct digest *release,
		      const struct release_blob *blob, struct err *err)
{
	struct chunk_index index = {0};
	char text[DIGEST_TEXT_MAX];
	uint64_t size = 0;
	int r = artifacts_index(c, &blob->index, &index, err);

	if (r < 0) {
		digest_text(text, &blob->index);
		return err_prefix(err, r, "chunk index %s of %s", text,
				  blob->path ? blob->path : "a layer");
	}
	r = c->store->ops->release_object(c->store, release, &blob->index, err);
	for (size_t i = 0; r == 0 && i < index.chunks_count; i++) {
		const struct chunk_ref *chunk = &index.chunks[i];

		size += chunk->size;
		digest_text(text, &chunk->digest);
		if (!c->world.object_has(c->world.user, &chunk->digest))
			r = err_set(err, -ENOENT, "chunk %s of %s was not pushed", text,
				    blob->path ? blob->path : "a layer");
		else
			r = c->store->ops->release_object(c->store, release, &chunk->digest, err);
	}
	codec_free(&codec_chunk_index, &index);
	if (r == 0 && size != blob->size)
		r = err_set(err, -EBADMSG, "the chunks of %s have %llu bytes, the manifest says "
			    "%llu", blob->path ? blob->path : "a layer", (unsigned long long)size,
			    (unsigned long long)blob->size);
	return r;
}

static int store_release(struct control_call *call, const struct store_release *record,
			 const struct release *release)
{
	struct coordinator *c = call->c;
	int r = c->store->ops->release_put(c->store, record, &call->err);

	for (size_t i = 0; r == 0 && i < release->blobs_count; i++)
		r = store_blob(c, &record->digest, &release->blobs[i], &call->err);
	return r;
}

static int payload_digest(const struct bytes *envelope, struct digest *ret_digest,
			  struct err *err)
{
	struct envelope opened;
	int r = codec_decode(&codec_envelope, envelope->data, envelope->size, &opened, err);

	if (r < 0)
		return r;
	digest_of(ret_digest, opened.payload.data, opened.payload.size);
	codec_free(&codec_envelope, &opened);
	return 0;
}

static int put_opened(struct control_call *call, const struct release *release,
		      const struct digest *digest, bool *ret_created)
{
	struct coordinator *c = call->c;
	const struct store_release *known = artifacts_named(c, release->model, release->version);
	struct store_release record = {.digest = *digest,
				       .size = release_size(release),
				       .pushed_ms = known ? known->pushed_ms : shell_now(c),
				       .manifest = call->blob};
	int r;

	if (known && !digest_equal(&known->digest, digest))
		return err_set(&call->err, -EEXIST,
			       "%s@%s exists with another content: a release never changes, choose "
			       "another version", release->model, release->version);
	STR_CUT(record.model, release->model);
	STR_CUT(record.version, release->version);
	STR_CUT(record.arch, release->arch);
	r = shell_begin(c, &call->err);
	if (r == 0)
		r = control_end(call, store_release(call, &record, release));
	if (r < 0)
		return r;
	*ret_created = !known;
	if (!known) {
		insert(c, &record);
		deltas_want_for(c, &record);
		events_add(c, "release", NULL, NULL, NULL, "%s@%s pushed by %s", record.model,
			   record.version, call->who);
	}
	return 0;
}

int artifacts_put(struct control_call *call, struct digest *ret_digest, bool *ret_created,
		  struct err *err)
{
	struct release release;
	int r = payload_digest(&call->blob, ret_digest, err);

	if (r == 0)
		r = release_open(call->blob.data, call->blob.size, &call->c->root, ret_digest,
				 &release, err);
	if (r < 0)
		return r;
	r = put_opened(call, &release, ret_digest, ret_created);
	release_free(&release);
	return r;
}

int artifacts_remove(struct control_call *call, const struct digest *digest, struct err *err)
{
	struct coordinator *c = call->c;
	int r = artifacts_in_use(c, digest, err);

	if (r == 0)
		r = shell_begin(c, err);
	if (r == 0)
		r = control_end(call, c->store->ops->release_remove(c->store, digest, err));
	if (r < 0)
		return r;
	deltas_forget(c, digest);
	for (size_t i = 0; i < c->releases_count; i++) {
		if (digest_equal(&c->releases[i].digest, digest)) {
			c->releases[i] = c->releases[--c->releases_count];
			break;
		}
	}
	artifacts_sweep(c);
	return 0;
}

/* ---- sweeping ---- */

struct sweep {
	struct coordinator *c;
	uint64_t now_ms;
	size_t removed;
	uint64_t bytes;
};

static int one_release(void *arg, const struct digest *release)
{
	return 1;
}

static int sweep_object(void *arg, const struct digest *digest, uint64_t size, uint64_t changed_ms)
{
	struct sweep *sweep = arg;
	struct coordinator *c = sweep->c;
	struct err err = {0};
	int r;

	if (changed_ms + SWEEP_AGE_MS > sweep->now_ms)
		return 0;
	r = c->store->ops->object_releases(c->store, digest, one_release, NULL, &err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = c->world.object_remove(c->world.user, digest, &err);
	if (r < 0) {
		log_warning("an object stays that nobody needs: %s", err_text(&err, r));
		return 0;
	}
	sweep->removed++;
	sweep->bytes += size;
	return 0;
}

void artifacts_sweep(struct coordinator *c)
{
	struct sweep sweep = {.c = c, .now_ms = c->world.now_ms(c->world.user)};
	struct err err = {0};
	int r = c->world.object_each(c->world.user, sweep_object, &sweep, &err);

	if (r < 0)
		log_warning("sweeping objects: %s", err_text(&err, r));
	if (sweep.removed)
		log_info("%zu objects with %llu bytes that no release refers to were removed",
			 sweep.removed, (unsigned long long)sweep.bytes);
}

/* ---- the data channel ---- */

static int assigned_release(void *arg, const struct digest *release)
{
	return desired_has_release(arg, release);
}

static bool may_have(struct coordinator *c, struct shell_node *node, const struct msg_get *get)
{
	if (node->record.revoked || node->record.pending)
		return false;
	if (get->kind == OBJECT_MANIFEST || get->kind == OBJECT_DELTAS)
		return desired_has_release(node, &get->digest);
	if (get->kind == OBJECT_SET)
		return deltas_may_have(c, node, &get->digest);
	return c->store->ops->object_releases(c->store, &get->digest, assigned_release, node,
					      NULL) > 0;
}

static void fetch(struct coordinator *c, const struct msg_get *get, struct msg_object *object)
{
	struct err err = {0};
	char text[DIGEST_TEXT_MAX];
	int r;

	if (get->kind == OBJECT_MANIFEST)
		r = artifacts_manifest(c, &get->digest, &object->data, &err);
	else
		r = c->world.object_get(c->world.user, &get->digest, &object->data, &err);
	object->missing = r < 0;
	if (r == 0 || r == -ENOENT)
		return;
	digest_text(text, &get->digest);
	log_error("object %s cannot be served: %s", text, err_text(&err, r));
}

void coordinator_on_data(struct coordinator *c, const struct node_id *id, const void *data,
			 size_t size, struct bytes *ret_reply)
{
	struct shell_node *node = agents_find(c, id);
	struct msg_object object = {.missing = true};
	struct message message;
	const struct msg_get *get;
	int r;

	*ret_reply = (struct bytes){0};
	if (!node)
		return;
	r = message_decode(data, size, CHANNEL_DATA, FROM_AGENT, &message, NULL);
	if (r < 0)
		return;
	if (message.type != MESSAGE_GET) {
		seeds_message(c, node, &message);
		message_free(&message);
		return;
	}
	get = message.body;
	object.kind = get->kind;
	object.digest = get->digest;
	if (may_have(c, node, get) && get->kind == OBJECT_DELTAS)
		deltas_answer(c, node, get, &object);
	else if (may_have(c, node, get))
		fetch(c, get, &object);
	if (get->takes_coded && get->kind == OBJECT_CHUNK && !object.missing)
		object.coded = coding_shrink(c->coding, &object.data);
	r = message_encode(MESSAGE_OBJECT, &object, ret_reply, NULL);
	if (r < 0)
		*ret_reply = (struct bytes){0};
	free(object.data.data);
	message_free(&message);
	c->world.arm_timer(c->world.user, coordinator_deadline(c)); /* deltas may be wanted now */
}
