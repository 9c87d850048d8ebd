/* SPDX-License-Identifier: Apache-2.0 */
/* Releases of the made-up origin: signed, cut into chunks, each object kept by its digest. */
#include "fleetless.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#include <assert.h>
#include <stdio.h>

static struct digest put_object(struct node *node, const void *data, size_t size)
{
	struct node_object *object;
	struct digest digest;

	digest_of(&digest, data, size);
	for (size_t i = 0; i < node->objects_count; i++)
		if (digest_equal(&node->objects[i].digest, &digest))
			return digest;
	assert(node->objects_count < NODE_OBJECTS);
	object = &node->objects[node->objects_count++];
	object->digest = digest;
	object->data = (struct bytes){mem_copy(data, size), size};
	return digest;
}

static void make_blob(struct node *node, unsigned seed, size_t chunk_size, size_t chunks,
		      struct release_blob *blob)
{
	size_t promised = blob->kind == BLOB_FILE ? node->promised : 0;
	struct chunk_index index = {.chunks = mem_array(chunks + promised,
							sizeof(struct chunk_ref)),
				    .chunks_count = chunks + promised};
	AUTO_FREE uint8_t *content = mem_alloc(chunk_size * chunks);
	struct bytes bytes = {0};
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < chunk_size * chunks; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		content[i] = (uint8_t)x;
	}
	for (size_t i = 0; i < chunks; i++)
		index.chunks[i] = (struct chunk_ref){
			put_object(node, content + i * chunk_size, chunk_size), chunk_size};
	for (size_t i = chunks; i < chunks + promised; i++) {
		digest_of(&index.chunks[i].digest, &i, sizeof(i));
		index.chunks[i].size = LIMIT_CHUNK;
	}
	digest_of(&blob->content, content, chunk_size * chunks);
	blob->size = chunk_size * chunks + promised * LIMIT_CHUNK;
	assert(codec_encode(&codec_chunk_index, &index, LIMIT_OBJECT, &bytes, NULL) == 0);
	blob->index = put_object(node, bytes.data, bytes.size);
	blob->index_size = bytes.size;
	free(bytes.data);
	free(index.chunks);
}

struct digest node_release(struct node *node, const char *version, unsigned seed,
			   size_t blobs_count, size_t chunk_size)
{
	struct release release = {.model = "ocr", .os = "linux", .arch = "amd64"};
	struct envelope envelope = {0};
	struct bytes bytes = {0};
	struct digest digest;
	struct err err = {0};

	STR_CUT(release.version, version);
	release.serve = (struct release_serve){.port = 8080, .container_port = 8000};
	release.health = (struct release_health){.kind = HEALTH_HTTP,
						 .http_path = mem_str("/healthz"),
						 .interval_ms = 2000,
						 .timeout_ms = 1000,
						 .failures = 3,
						 .start_period_ms = 3000};
	if (node->by_command) {
		release.health.kind = HEALTH_COMMAND;
		release.health.command = mem_array(1, sizeof(struct text_item));
		release.health.command[0].text = mem_str("/check");
		release.health.command_count = 1;
		free(release.health.http_path);
		release.health.http_path = NULL;
	}
	release.argv = mem_array(1, sizeof(*release.argv));
	release.argv[0].text = mem_str("/server");
	release.argv_count = 1;
	release.user = mem_str("");
	release.workdir = mem_str("/");
	release.smokes = mem_array(1, sizeof(*release.smokes));
	release.smokes_count = 1;
	release.smokes[0] = (struct release_smoke){
		.name = mem_str("seven"), .method = mem_str("GET"), .path = mem_str("/")};
	release.blobs = mem_array(blobs_count, sizeof(*release.blobs));
	release.blobs_count = blobs_count;
	if (node->with_metrics)
		release.observe = (struct release_observe){
			.metrics = mem_str("/metrics"),
			.requests = mem_str("requests_total"),
			.errors = mem_str("requests_total{code=\"5*\"}"),
			.latency = mem_str("seconds"),
		};
	if (node->baseline.size > 0)
		release.baseline = (struct bytes){mem_copy(node->baseline.data, node->baseline.size),
						  node->baseline.size};
	for (size_t i = 0; i < blobs_count; i++) {
		release.blobs[i].kind = i == 0 ? BLOB_LAYER : BLOB_FILE;
		if (i > 0) {
			release.blobs[i].path = mem_format("file-%03zu", i);
			release.blobs[i].mode = 0644;
		}
		make_blob(node, seed + (unsigned)i, chunk_size, 1 + i % 5, &release.blobs[i]);
	}
	memset(release.blobs[0].diff_id, 7, DIGEST_SIZE);
	if (release_encode(&release, &envelope.payload, &digest, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	envelope_sign(&envelope, SIGNED_RELEASE, &node->key);
	assert(codec_encode(&codec_envelope, &envelope, LIMIT_MANIFEST, &bytes, NULL) == 0);
	assert(node->objects_count < NODE_OBJECTS);
	node->objects[node->objects_count++] = (struct node_object){digest, bytes, false};
	codec_free(&codec_envelope, &envelope);
	release_free(&release);
	return digest;
}
