/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent would have fetched: blobs, signed manifests and the root document of a fleet of
 * one key. Images are made here by hand, so that a test may ask for any damage.
 */
#include "tests/integration/helper/fixture.h"

#include "base/mem.h"
#include "protocol/digest.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>

void fixture_write(const char *path, const void *data, size_t size, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

/* ---- trust ---- */

static void sign_to(const struct fixture *fixture, const struct sign_key *key,
                    const struct bytes *payload, enum signed_purpose purpose, const char *path)
{
	struct envelope envelope = {
	    .payload = {mem_copy(payload->data, payload->size), payload->size}};
	struct bytes data = {0};

	(void)fixture;
	envelope_sign(&envelope, purpose, key);
	assert(codec_encode(&codec_envelope, &envelope, LIMIT_MANIFEST, &data, NULL) == 0);
	fixture_write(path, data.data, data.size, 0644);
	free(data.data);
	codec_free(&codec_envelope, &envelope);
}

void fixture_root(struct fixture *fixture)
{
	struct root_document root = {.version = 1,
	                             .release_threshold = 1,
	                             .release_keys = &fixture->key.public_key,
	                             .release_keys_count = 1,
	                             .root_threshold = 1,
	                             .root_keys = &fixture->key.public_key,
	                             .root_keys_count = 1,
	                             .server_key = fixture->key.public_key,
	                             .online_key = fixture->key.public_key};
	AUTO_FREE char *path = mem_format("%s/trust/root.doc", fixture->dir);
	struct bytes payload = {0};
	struct err err = {0};

	STR_CUT(root.endpoint, "tcp://127.0.0.1:7400");
	if (codec_encode(&codec_root_document, &root, LIMIT_ROOT_DOCUMENT, &payload, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	sign_to(fixture, &fixture->key, &payload, SIGNED_ROOT, path);
	free(payload.data);
}

/* ---- releases ---- */

void fixture_tar(struct str *tar, const struct fixture_entry *entry)
{
	static const char zeros[512];
	char block[512] = {0};
	uint64_t size = entry->claimed_size ? entry->claimed_size : entry->size;
	unsigned sum = 0;

	assert(strlen(entry->name) < 100);
	memcpy(block, entry->name, strlen(entry->name));
	snprintf(block + 100, 8, "%07o", entry->mode);
	snprintf(block + 108, 8, "%07o", entry->uid);
	snprintf(block + 116, 8, "%07o", entry->uid);
	snprintf(block + 124, 12, "%011llo", (unsigned long long)size);
	snprintf(block + 136, 12, "%011o", 0);
	memset(block + 148, ' ', 8);
	block[156] = entry->type;
	if (entry->link)
		memcpy(block + 157, entry->link, strlen(entry->link));
	memcpy(block + 257, "ustar\00000", 8);
	if (entry->type == '3') {
		snprintf(block + 329, 8, "%07o", 1);
		snprintf(block + 337, 8, "%07o", 3);
	}
	for (size_t i = 0; i < sizeof(block); i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	str_add_bytes(tar, block, sizeof(block));
	str_add_bytes(tar, entry->data, entry->size);
	if (entry->size % 512)
		str_add_bytes(tar, zeros, 512 - entry->size % 512);
}

void fixture_tar_end(struct str *tar)
{
	static const char zeros[1024];

	str_add_bytes(tar, zeros, sizeof(zeros));
}

static char *read_busybox(size_t *ret_size)
{
	FILE *file = fopen(FIXTURE_BUSYBOX, "re");
	struct stat st;
	char *data;

	assert(file && fstat(fileno(file), &st) == 0);
	data = mem_alloc((size_t)st.st_size);
	assert(fread(data, 1, (size_t)st.st_size, file) == (size_t)st.st_size);
	fclose(file);
	*ret_size = (size_t)st.st_size;
	return data;
}

static void base_layer(struct str *tar)
{
	static const char passwd[] = "root:x:0:0:root:/:/bin/sh\nmodel:x:1000:1000::/:/bin/sh\n";
	size_t size;
	AUTO_FREE char *program = read_busybox(&size);

	fixture_tar(tar, &(struct fixture_entry){.name = "bin/", .type = '5', .mode = 0755});
	fixture_tar(
	    tar,
	    &(struct fixture_entry){
	        .name = "bin/busybox", .type = '0', .mode = 04755, .data = program, .size = size});
	fixture_tar(tar,
	            &(struct fixture_entry){.name = "bin/sh", .type = '1', .link = "bin/busybox"});
	fixture_tar(tar, &(struct fixture_entry){.name = "etc/", .type = '5', .mode = 0755});
	fixture_tar(tar, &(struct fixture_entry){.name = "etc/passwd",
	                                         .type = '0',
	                                         .mode = 0644,
	                                         .data = passwd,
	                                         .size = sizeof(passwd) - 1});
	fixture_tar_end(tar);
}

static void text_layer(struct str *tar, const char *text)
{
	fixture_tar(tar, &(struct fixture_entry){.name = "www/", .type = '5', .mode = 0755});
	fixture_tar(tar, &(struct fixture_entry){.name = "www/index.html",
	                                         .type = '0',
	                                         .mode = 0644,
	                                         .uid = 1000,
	                                         .data = text,
	                                         .size = strlen(text)});
	fixture_tar_end(tar);
}

char *fixture_blob(struct fixture *fixture, const void *data, size_t size)
{
	struct digest digest;
	char hex[2 * DIGEST_SIZE + 1];

	digest_of(&digest, data, size);
	str_hex(hex, digest.bytes, DIGEST_SIZE);
	return mem_format("%s/agent/blobs/%s", fixture->dir, hex);
}

static void add_blob(struct fixture *fixture, struct release *release, enum blob_kind kind,
                     const void *data, size_t size)
{
	AUTO_FREE char *path = fixture_blob(fixture, data, size);
	struct release_blob *blob;
	unsigned length;

	release->blobs =
	    mem_resize(release->blobs, release->blobs_count + 1, sizeof(*release->blobs));
	blob = &release->blobs[release->blobs_count++];
	*blob = (struct release_blob){.kind = kind, .size = size, .index_size = 1};
	digest_of(&blob->content, data, size);
	blob->index = blob->content;
	if (kind == BLOB_LAYER)
		EVP_Digest(data, size, blob->diff_id, &length, EVP_sha256(), NULL);
	if (access(path, F_OK) < 0)
		fixture_write(path, data, size, 0644);
}

static void set_texts(struct text_item **items, size_t *count, const char *const *texts)
{
	for (; texts && texts[*count]; ++*count) {
		*items = mem_resize(*items, *count + 1, sizeof(**items));
		(*items)[*count].text = mem_str(texts[*count]);
	}
}

static void fill_release(struct release *release, const struct fixture_release *wanted)
{
	static const char *const server[] = {"/bin/busybox", "httpd", "-f",   "-p",
	                                     "8000",         "-h",    "/www", NULL};

	STR_CUT(release->model, "web");
	STR_CUT(release->version, "1");
	STR_CUT(release->os, "linux");
	STR_CUT(release->arch, "amd64");
	set_texts(&release->argv, &release->argv_count, wanted->command ? wanted->command : server);
	release->user = mem_str(wanted->user ? wanted->user : "1000");
	release->serve = (struct release_serve){.port = wanted->port ? wanted->port : 8080,
	                                        .container_port = 8000,
	                                        .network = wanted->network,
	                                        .egress = !wanted->no_egress};
	release->resources = (struct release_resources){.memory_bytes = wanted->memory_bytes,
	                                                .cpu_millis = wanted->cpu_millis,
	                                                .pids = wanted->pids};
	set_texts(&release->resources.devices, &release->resources.devices_count,
	          (const char *const[]){wanted->device, NULL});
	release->health =
	    (struct release_health){.kind = wanted->health ? HEALTH_COMMAND : HEALTH_HTTP,
	                            .interval_ms = 1000,
	                            .timeout_ms = 1000,
	                            .failures = 3};
	if (wanted->health)
		set_texts(&release->health.command, &release->health.command_count, wanted->health);
	else
		release->health.http_path = mem_str("/");
}

struct digest fixture_release(struct fixture *fixture, const struct fixture_release *wanted)
{
	AUTO_STR struct str base = {0}, text = {0};
	struct release release = {0};
	struct sign_key other;
	struct bytes payload = {0};
	struct digest digest;
	struct err err = {0};
	AUTO_FREE char *path = NULL;
	char hex[2 * DIGEST_SIZE + 1];

	fill_release(&release, wanted);
	base_layer(&base);
	add_blob(fixture, &release, BLOB_LAYER, base.data, base.size);
	text_layer(&text, wanted->text ? wanted->text : "hello");
	add_blob(fixture, &release, BLOB_LAYER, text.data, text.size);
	if (wanted->extra_layer)
		add_blob(fixture, &release, BLOB_LAYER, wanted->extra_layer->data,
		         wanted->extra_layer->size);
	if (wanted->model) {
		add_blob(fixture, &release, BLOB_FILE, wanted->model, strlen(wanted->model));
		release.blobs[release.blobs_count - 1].path = mem_str("sub/weights");
		release.blobs[release.blobs_count - 1].mode = 0644;
	}
	if (release_encode(&release, &payload, &digest, &err) < 0) {
		fprintf(stderr, "release: %s\n", err.text);
		abort();
	}
	str_hex(hex, digest.bytes, DIGEST_SIZE);
	path = mem_format("%s/agent/releases/%s.manifest", fixture->dir, hex);
	sign_key_generate(&other);
	sign_to(fixture, wanted->foreign_key ? &other : &fixture->key, &payload, SIGNED_RELEASE,
	        path);
	free(payload.data);
	release_free(&release);
	return digest;
}
