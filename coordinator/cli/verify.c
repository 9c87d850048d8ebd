/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator is not believed: the manifest must carry signatures of keys that the root
 * document here names, must be the one that was asked for, and every index, chunk and whole blob
 * must have its digest. Objects stream through; nothing is stored.
 */
#include "coordinator/cli/verify.h"
#include "base/mem.h"
#include "coordinator/cli/config.h"
#include "coordinator/cli/file.h"
#include "coordinator/cli/push.h"
#include "protocol/digest.h"
#include "protocol/manifest.h"

#include <openssl/evp.h>
#include <string.h>

struct verify {
	struct cli *cli;
	struct client *client;
	struct root_document root;
	struct release release;
	struct verify_result result;
};

static int load_root(struct verify *v)
{
	AUTO_FREE char *path = cli_home_file(v->cli, CONFIG_ROOT);
	struct bytes data = {0};
	int r = file_read(path, LIMIT_ROOT_DOCUMENT, &data, &v->cli->err);

	if (r < 0)
		return cli_fail(v->cli, EXIT_ERROR,
		                "%s cannot be read, so nothing can be verified; copy it from the "
		                "folder in which `covey init` was run",
		                path);
	r = root_open(data.data, data.size, NULL, &v->root, &v->cli->err);
	free(data.data);
	if (r == 0)
		return EXIT_DONE;
	err_prefix(&v->cli->err, r, "%s", path);
	return EXIT_ERROR;
}

/* An object with the digest that it is asked for, whatever the coordinator sends. */
static int get_object(struct verify *v, const struct digest *digest, struct bytes *ret_data)
{
	AUTO_REPLY struct reply reply = {0};
	char text[DIGEST_TEXT_MAX];
	struct digest got;
	int code;

	digest_text(text, digest);
	code = client_ask(v->cli, v->client, "object.get", json_pack("{ss}", "digest", text), NULL,
	                  &reply);
	if (code != EXIT_DONE)
		return code;
	digest_of(&got, reply.blob.data, reply.blob.size);
	if (!digest_equal(&got, digest))
		return cli_fail(v->cli, EXIT_ERROR,
		                "object %s is damaged at the coordinator; push the release again",
		                text);
	v->result.objects++;
	v->result.bytes += reply.blob.size;
	*ret_data = reply.blob;
	reply.blob = (struct bytes){0};
	return EXIT_DONE;
}

/* ---- the manifest ---- */

static bool is_asked_for(const struct release *release, const char *name)
{
	size_t model = strlen(release->model);

	return !strchr(name, '@') ||
	       (strncmp(name, release->model, model) == 0 && name[model] == '@' &&
	        str_equal(name + model + 1, release->version));
}

static int get_manifest(struct verify *v, const char *name)
{
	AUTO_REPLY struct reply reply = {0};
	struct envelope envelope = {0};
	struct digest expected;
	int code = client_ask(v->cli, v->client, "release.get", json_pack("{ss}", "release", name),
	                      NULL, &reply);
	int r;

	if (code != EXIT_DONE)
		return code;
	r = codec_decode(&codec_envelope, reply.blob.data, reply.blob.size, &envelope,
	                 &v->cli->err);
	if (r == 0) {
		digest_of(&expected, envelope.payload.data, envelope.payload.size);
		digest_text(v->result.digest, &expected);
		v->result.signatures = envelope.signatures_count;
		codec_free(&codec_envelope, &envelope);
		r = release_open(reply.blob.data, reply.blob.size, &v->root, &expected, &v->release,
		                 &v->cli->err);
	}
	if (r < 0) {
		err_prefix(&v->cli->err, r,
		           "the manifest of %s is not what this fleet's release keys signed; do "
		           "not roll it out",
		           name);
		return EXIT_ERROR;
	}
	if (!is_asked_for(&v->release, name) ||
	    (!strchr(name, '@') &&
	     !str_starts(v->result.digest + (str_starts(name, "blake2b:") ? 0 : strlen("blake2b:")),
	                 name)))
		return cli_fail(v->cli, EXIT_ERROR,
		                "the coordinator sent %s@%s for %s; do not trust it",
		                v->release.model, v->release.version, name);
	return EXIT_DONE;
}

/* ---- blobs ---- */

static int verify_chunks(struct verify *v, const struct chunk_index *index,
                         const struct release_blob *blob, EVP_MD_CTX *sha256)
{
	struct digest_state whole;
	struct digest content;
	uint64_t size = 0;

	digest_init(&whole);
	for (size_t i = 0; i < index->chunks_count; i++) {
		struct bytes data = {0};
		int code = get_object(v, &index->chunks[i].digest, &data);

		if (code == EXIT_DONE && data.size != index->chunks[i].size)
			code = cli_fail(v->cli, EXIT_ERROR,
			                "an index tells a wrong size of its chunk");
		if (code == EXIT_DONE) {
			digest_add(&whole, data.data, data.size);
			EVP_DigestUpdate(sha256, data.data, data.size);
			size += data.size;
		}
		free(data.data);
		if (code != EXIT_DONE)
			return code;
		push_progress(v->cli, "%llu objects verified",
		              (unsigned long long)v->result.objects);
	}
	digest_end(&whole, &content);
	if (size != blob->size || !digest_equal(&content, &blob->content))
		return cli_fail(v->cli, EXIT_ERROR,
		                "its chunks do not make the content that was signed");
	return EXIT_DONE;
}

static int verify_blob(struct verify *v, const struct release_blob *blob)
{
	EVP_MD_CTX *sha256 = EVP_MD_CTX_new();
	struct chunk_index index = {0};
	struct bytes data = {0};
	uint8_t diff_id[DIGEST_SIZE] = {0};
	int code = get_object(v, &blob->index, &data);

	if (!sha256 || !EVP_DigestInit_ex(sha256, EVP_sha256(), NULL))
		abort();
	if (code == EXIT_DONE &&
	    codec_decode(&codec_chunk_index, data.data, data.size, &index, &v->cli->err) < 0)
		code = EXIT_ERROR;
	free(data.data);
	if (code == EXIT_DONE)
		code = verify_chunks(v, &index, blob, sha256);
	codec_free(&codec_chunk_index, &index);
	EVP_DigestFinal_ex(sha256, diff_id, NULL);
	EVP_MD_CTX_free(sha256);
	if (code == EXIT_DONE && blob->kind == BLOB_LAYER &&
	    memcmp(diff_id, blob->diff_id, DIGEST_SIZE) != 0)
		code = cli_fail(v->cli, EXIT_ERROR, "its content does not have the signed diff_id");
	return code;
}

static int verify_all(struct verify *v, const char *name)
{
	int code = load_root(v);
	int r;

	if (code != EXIT_DONE)
		return code;
	r = client_open(v->cli, &v->client, &v->cli->err);
	if (r < 0)
		return (int)client_exit_code(r);
	code = get_manifest(v, name);
	for (size_t i = 0; code == EXIT_DONE && i < v->release.blobs_count; i++) {
		const struct release_blob *blob = &v->release.blobs[i];

		code = verify_blob(v, blob);
		if (code != EXIT_DONE)
			err_prefix(&v->cli->err, -EINVAL, "%s %s", name,
			           blob->path ? blob->path : "(image layer)");
	}
	push_progress(v->cli, "%s", "");
	return code;
}

int verify_release(struct cli *cli, const char *name, struct verify_result *ret_result)
{
	struct verify v = {.cli = cli};
	int code = verify_all(&v, name);

	*ret_result = v.result;
	client_free(v.client);
	release_free(&v.release);
	codec_free(&codec_root_document, &v.root);
	return code;
}
