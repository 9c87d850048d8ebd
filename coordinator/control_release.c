/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs about objects and releases: push, look, fetch, remove. */
#include "coordinator/control.h"
#include "coordinator/fleet_has.h"
#include "coordinator/rollouts.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum { MISSING_MAX = 65536 };

/* ---- objects ---- */

int verb_object_missing(struct control_call *call)
{
	struct coordinator *c = call->c;
	json_t *digests = json_object_get(call->args, "digests"), *missing = json_array(), *item;
	size_t i;

	if (!json_is_array(digests) || json_array_size(digests) > MISSING_MAX) {
		json_decref(missing);
		return err_set(&call->err, -EINVAL, "`digests` is an array of at most %d digests",
			       MISSING_MAX);
	}
	json_array_foreach(digests, i, item) {
		const char *text = json_string_value(item);
		struct digest digest;

		if (!text || digest_parse(text, &digest) < 0) {
			json_decref(missing);
			return err_set(&call->err, -EINVAL, "entry %zu of `digests` is no digest",
				       i);
		}
		if (!c->world.object_has(c->world.user, &digest))
			json_array_append(missing, item);
	}
	call->answer = json_pack("{so}", "missing", missing);
	return 0;
}

static int need_digest(struct control_call *call, struct digest *ret_digest)
{
	const char *text = NULL;
	int r = control_need(call, "digest", &text);

	if (r == 0 && digest_parse(text, ret_digest) < 0)
		r = err_set(&call->err, -EINVAL, "%.100s is no digest", text);
	return r;
}

int verb_object_put(struct control_call *call)
{
	struct coordinator *c = call->c;
	struct digest wanted, digest;
	int r = need_digest(call, &wanted);

	if (r < 0)
		return r;
	if (call->blob.size == 0 || call->blob.size > LIMIT_OBJECT)
		return err_set(&call->err, -EINVAL, "an object has 1 to %d bytes", LIMIT_OBJECT);
	digest_of(&digest, call->blob.data, call->blob.size);
	if (!digest_equal(&digest, &wanted))
		return err_set(&call->err, -EBADMSG,
			       "the object's bytes do not have the digest that was named");
	return c->world.object_put(c->world.user, &digest, call->blob.data, call->blob.size,
				   &call->err);
}

int verb_object_get(struct control_call *call)
{
	struct coordinator *c = call->c;
	struct digest digest;
	int r = need_digest(call, &digest);

	if (r < 0)
		return r;
	r = c->world.object_get(c->world.user, &digest, &call->answer_blob, &call->err);
	return r == -ENOENT ? err_set(&call->err, r, "there is no object with this digest") : r;
}

/* ---- releases ---- */

static json_t *show_fleet(struct coordinator *c, const struct digest *release)
{
	struct fleet_has has;

	fleet_has_count(c, release, &has);
	return json_pack("{so so so so so}", "nodes", json_u64(has.nodes), "bytes",
			 json_u64(has.bytes), "chunks", json_u64(has.chunks), "release_bytes",
			 json_u64(has.release_bytes), "release_chunks",
			 json_u64(has.release_chunks));
}

int verb_release_put(struct control_call *call)
{
	struct digest digest;
	char name[SHELL_TEXT_RELEASE];
	bool created = false;
	int r = artifacts_put(call, &digest, &created, &call->err);

	if (r < 0)
		return r;
	artifacts_name(call->c, &digest, name);
	call->answer = json_pack("{ss so sb so}", "release", name, "digest", json_digest(&digest),
				 "created", created, "fleet", show_fleet(call->c, &digest));
	return 0;
}

int verb_release_get(struct control_call *call)
{
	const struct store_release *release = NULL;
	int r = control_release(call, &release);

	if (r == 0)
		r = artifacts_manifest(call->c, &release->digest, &call->answer_blob, &call->err);
	if (r == 0)
		call->answer = json_pack("{so so}", "release",
					 json_sprintf("%s@%s", release->model, release->version),
					 "digest", json_digest(&release->digest));
	return r;
}

static json_t *show_head(const struct coordinator *c, const struct store_release *release)
{
	return json_pack("{so ss ss so so ss so sb}", "release",
			 json_sprintf("%s@%s", release->model, release->version), "model",
			 release->model, "version", release->version, "digest",
			 json_digest(&release->digest), "size", json_u64(release->size), "arch",
			 release->arch, "pushed_at", json_time(release->pushed_ms), "in_use",
			 artifacts_in_use(c, &release->digest, NULL) < 0);
}

static int newest_first(const void *a, const void *b)
{
	const struct store_release *x = *(const struct store_release *const *)a;
	const struct store_release *y = *(const struct store_release *const *)b;
	int order = strcmp(x->model, y->model);

	if (order)
		return order;
	if (x->pushed_ms != y->pushed_ms)
		return x->pushed_ms > y->pushed_ms ? -1 : 1;
	return strcmp(x->version, y->version);
}

int verb_release_ls(struct control_call *call)
{
	const struct coordinator *c = call->c;
	const char *model = control_str(call, "model");
	AUTO_FREE const struct store_release **list =
		mem_array(c->releases_count + 1, sizeof(*list));

	for (size_t i = 0; i < c->releases_count; i++)
		list[i] = &c->releases[i];
	qsort(list, c->releases_count, sizeof(*list), newest_first);
	call->answer = json_array();
	for (size_t i = 0; i < c->releases_count; i++) {
		if (!model || !*model || str_equal(list[i]->model, model))
			json_array_append_new(call->answer, show_head(c, list[i]));
	}
	return 0;
}

/* ---- one release in full ---- */

static json_t *show_serve(const struct release_serve *serve)
{
	static const char *const protocols[SERVE_PROTOCOL_COUNT] = {"http", "tcp", "grpc"};
	static const char *const networks[SERVE_NETWORK_COUNT] = {"slot", "host"};

	return json_pack("{so so ss ss sb sb}", "port", json_u64(serve->port), "container_port",
			 json_u64(serve->container_port), "protocol", protocols[serve->protocol],
			 "network", networks[serve->network], "privileged_port",
			 serve->privileged_port, "egress", serve->egress);
}

static json_t *show_health(const struct release_health *health)
{
	static const char *const kinds[HEALTH_KIND_COUNT] = {"http", "tcp", "command"};

	return json_pack("{ss so so so so so}", "kind", kinds[health->kind], "http",
			 json_text_or_null(health->http_path), "interval_ms",
			 json_u64(health->interval_ms), "timeout_ms",
			 json_u64(health->timeout_ms), "failures", json_u64(health->failures),
			 "start_period_ms", json_u64(health->start_period_ms));
}

static json_t *show_smokes(const struct release *release)
{
	json_t *smokes = json_array();

	for (size_t i = 0; i < release->smokes_count; i++)
		json_array_append_new(
			smokes, json_pack("{so so so}", "name", json_text(release->smokes[i].name),
					  "method", json_text(release->smokes[i].method), "path",
					  json_text(release->smokes[i].path)));
	return smokes;
}

static json_t *show_blobs(const struct release *release, enum blob_kind kind)
{
	json_t *blobs = json_array();

	for (size_t i = 0; i < release->blobs_count; i++) {
		const struct release_blob *blob = &release->blobs[i];

		if (blob->kind == kind)
			json_array_append_new(blobs, json_pack("{so so so}", "path",
							       json_text(blob->path), "size",
							       json_u64(blob->size), "digest",
							       json_digest(&blob->content)));
	}
	return blobs;
}

static json_t *show_lineage(const struct release *release)
{
	json_t *metrics = json_object();

	for (size_t i = 0; i < release->lineage_metrics_count; i++)
		json_object_set_new(metrics, release->lineage_metrics[i].name,
				    json_real(release->lineage_metrics[i].value));
	return json_pack("{so so so}", "code", json_text_or_null(release->lineage_code), "data",
			 json_text_or_null(release->lineage_data), "metrics", metrics);
}

static json_t *show_signatures(const struct envelope *envelope)
{
	json_t *signatures = json_array();

	for (size_t i = 0; i < envelope->signatures_count; i++)
		json_array_append_new(signatures, json_digest(&envelope->signatures[i].key_id));
	return signatures;
}

static json_t *show_argv(const struct release *release)
{
	json_t *argv = json_array();

	for (size_t i = 0; i < release->argv_count; i++)
		json_array_append_new(argv, json_text(release->argv[i].text));
	return argv;
}

int verb_release_show(struct control_call *call)
{
	const struct store_release *head = NULL;
	struct envelope envelope;
	struct release release;
	int r = control_release(call, &head);

	if (r == 0)
		r = artifacts_open(call->c, &head->digest, &release, &envelope, &call->err);
	if (r < 0)
		return r;
	call->answer = show_head(call->c, head);
	json_object_set_new(call->answer, "command", show_argv(&release));
	json_object_set_new(call->answer, "serve", show_serve(&release.serve));
	json_object_set_new(call->answer, "health", show_health(&release.health));
	json_object_set_new(call->answer, "resources",
			    json_pack("{so so so}", "memory_bytes",
				      json_u64(release.resources.memory_bytes), "cpu_millis",
				      json_u64(release.resources.cpu_millis), "pids",
				      json_u64(release.resources.pids)));
	json_object_set_new(call->answer, "smoke", show_smokes(&release));
	json_object_set_new(call->answer, "lineage", show_lineage(&release));
	json_object_set_new(call->answer, "layers", show_blobs(&release, BLOB_LAYER));
	json_object_set_new(call->answer, "files", show_blobs(&release, BLOB_FILE));
	json_object_set_new(call->answer, "signatures", show_signatures(&envelope));
	release_free(&release);
	codec_free(&codec_envelope, &envelope);
	return 0;
}

int verb_release_rm(struct control_call *call)
{
	const struct store_release *release = NULL;
	int r = control_release(call, &release);

	if (r < 0)
		return r;
	struct digest digest = release->digest;

	return artifacts_remove(call, &digest, &call->err);
}
