/* SPDX-License-Identifier: Apache-2.0 */
/* Written from the format descriptions, with libarchive for tars, apart from the code under test.
 */
#include "images.h"
#include "fake.h"

#include <archive.h>
#include <archive_entry.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>

enum { TAR_MAX = 4 << 20 };

void sha256_hex(const struct bytes *data, char hex[65])
{
	uint8_t digest[32];

	SHA256(data->data, data->size, digest);
	str_hex(hex, digest, sizeof(digest));
}

static mode_t type_of(char type)
{
	switch (type) {
	case 'd':
		return AE_IFDIR;
	case 's':
		return AE_IFLNK;
	case 'c':
		return AE_IFCHR;
	case 'p':
		return AE_IFIFO;
	default:
		return AE_IFREG;
	}
}

static void add_entry(struct archive *archive, const char *name, char type, const void *data,
                      size_t size)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, type_of(type));
	archive_entry_set_perm(entry, type == 'd' ? 0755 : 0644);
	if (type == 'f')
		archive_entry_set_size(entry, (la_int64_t)size);
	if (type == 's')
		archive_entry_set_symlink(entry, data);
	if (type == 'h')
		archive_entry_set_hardlink(entry, data);
	assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
	if (type == 'f')
		assert_int_equal(archive_write_data(archive, data, size), size);
	archive_entry_free(entry);
}

struct bytes make_tar(const struct tar_entry *entries)
{
	struct archive *archive = archive_write_new();
	struct bytes tar = {mem_alloc(TAR_MAX), 0};

	archive_write_set_format_ustar(archive);
	archive_write_add_filter_none(archive);
	archive_write_set_bytes_in_last_block(archive, 512);
	assert_int_equal(archive_write_open_memory(archive, tar.data, TAR_MAX, &tar.size),
	                 ARCHIVE_OK);
	for (; entries->name; entries++)
		add_entry(archive, entries->name, entries->type, entries->data,
		          entries->data ? strlen(entries->data) : 0);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
	return tar;
}

static struct bytes compress_with(const struct bytes *data, int (*filter)(struct archive *))
{
	struct archive *archive = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	struct bytes packed = {mem_alloc(TAR_MAX), 0};

	assert_int_equal(archive_write_set_format_raw(archive), ARCHIVE_OK);
	assert_int_equal(filter(archive), ARCHIVE_OK);
	archive_write_set_bytes_in_last_block(archive, 1);
	archive_write_open_memory(archive, packed.data, TAR_MAX, &packed.size);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_write_header(archive, entry);
	archive_write_data(archive, data->data, data->size);
	archive_write_close(archive);
	archive_write_free(archive);
	archive_entry_free(entry);
	return packed;
}

struct bytes compress_gzip(const struct bytes *data)
{
	return compress_with(data, archive_write_add_filter_gzip);
}

struct bytes compress_zstd(const struct bytes *data)
{
	return compress_with(data, archive_write_add_filter_zstd);
}

/* ---- images ---- */

static struct bytes dump(json_t *json)
{
	struct bytes text = {(uint8_t *)json_dumps(json, JSON_COMPACT), 0};

	text.size = strlen((char *)text.data);
	json_decref(json);
	return text;
}

static json_t *make_config(const struct image_plan *plan, const char *arch, json_t *diff_ids)
{
	json_t *process = json_pack("{sss[s]s[s]sss[s]}", "User", "1000", "Env", "PATH=/bin",
	                            "Entrypoint", "/server", "WorkingDir", "/srv", "Cmd", "--port");

	if (plan->no_config_argv) {
		json_object_del(process, "Entrypoint");
		json_object_del(process, "Cmd");
	}
	return json_pack("{sssssos{ssso}}", "architecture", arch, "os", "linux", "config", process,
	                 "rootfs", "type", "layers", "diff_ids", diff_ids);
}

static void add_diff_id(const struct image_plan *plan, const struct bytes *tar, json_t *diff_ids)
{
	char hex[65];

	sha256_hex(tar, hex);
	if (plan->wrong_diff_id)
		hex[0] = hex[0] == '0' ? '1' : '0';
	json_array_append_new(diff_ids, json_sprintf("sha256:%s", hex));
}

/* The layer's tar as it is stored. */
static struct bytes make_layer(const struct image_plan *plan, size_t index, json_t *diff_ids)
{
	struct bytes tar = make_tar(plan->layers[index]), stored;

	if (plan->truncated_layer)
		tar.size = 700; /* a header and a part of its content */
	add_diff_id(plan, &tar, diff_ids);
	if (!plan->compression)
		return tar;
	stored = plan->compression == 'g' ? compress_gzip(&tar) : compress_zstd(&tar);
	free(tar.data);
	return stored;
}

static json_t *store_blob(const char *folder, const struct image_plan *plan, struct bytes data,
                          const char *type, bool damage)
{
	char hex[65];
	AUTO_FREE char *path = NULL;
	json_t *descriptor;

	sha256_hex(&data, hex);
	path = mem_format("%s/blobs/sha256/%s", folder, hex);
	descriptor = json_pack("{ssss+sI}", "mediaType", type, "digest", "sha256:", hex, "size",
	                       (json_int_t)(data.size + (damage && plan->wrong_size)));
	if (damage && plan->wrong_digest)
		data.data[data.size / 2] ^= 1;
	if (!(damage && plan->missing_blob))
		write_file(path, data.data, data.size);
	free(data.data);
	return descriptor;
}

#define OCI "application/vnd.oci.image."

static json_t *store_image(const char *folder, const struct image_plan *plan, const char *arch,
                           const char *platform)
{
	json_t *layers = json_array(), *diff_ids = json_array(), *config, *manifest, *descriptor;

	for (size_t i = 0; plan->layers[i]; i++) {
		struct bytes layer = make_layer(plan, i, diff_ids);

		json_array_append_new(layers,
		                      store_blob(folder, plan, layer, OCI "layer.v1.tar", i == 0));
	}
	config = store_blob(folder, plan, dump(make_config(plan, arch, diff_ids)),
	                    OCI "config.v1+json", false);
	manifest = json_pack("{sisssoso}", "schemaVersion", 2, "mediaType", OCI "manifest.v1+json",
	                     "config", config, "layers", layers);
	descriptor = store_blob(folder, plan, dump(manifest), OCI "manifest.v1+json", false);
	json_object_set_new(descriptor, "platform",
	                    json_pack("{ssss}", "os", "linux", "architecture", platform));
	return descriptor;
}

static json_t *make_index(json_t *manifests)
{
	return json_pack("{sisssO}", "schemaVersion", 2, "mediaType", OCI "index.v1+json",
	                 "manifests", manifests);
}

static json_t *nest(const char *folder, const struct image_plan *plan, json_t *manifests)
{
	json_t *attestation = json_deep_copy(json_array_get(manifests, 0)), *inner, *outer;

	json_object_set_new(attestation, "platform",
	                    json_pack("{ssss}", "os", "unknown", "architecture", "unknown"));
	json_array_append_new(manifests, attestation);
	inner = store_blob(folder, plan, dump(make_index(manifests)), OCI "index.v1+json", false);
	outer = json_pack("[o]", inner);
	json_decref(manifests);
	return outer;
}

void make_oci_layout(const char *folder, const struct image_plan *plan)
{
	const char *arch = plan->arch ? plan->arch : "amd64";
	AUTO_FREE char *blobs = mem_format("%s/blobs", folder);
	AUTO_FREE char *sha256 = mem_format("%s/blobs/sha256", folder);
	AUTO_FREE char *index_path = mem_format("%s/index.json", folder);
	AUTO_FREE char *layout_path = mem_format("%s/oci-layout", folder);
	json_t *manifests = json_array();
	struct bytes index;

	assert_int_equal(mkdir(folder, 0755) | mkdir(blobs, 0755) | mkdir(sha256, 0755), 0);
	json_array_append_new(
	    manifests, store_image(folder, plan, arch, plan->platform ? plan->platform : arch));
	if (plan->second_arch)
		json_array_append_new(
		    manifests, store_image(folder, plan, plan->second_arch, plan->second_arch));
	if (plan->nested)
		manifests = nest(folder, plan, manifests);
	index = dump(make_index(manifests));
	json_decref(manifests);
	write_file(index_path, index.data, index.size);
	free(index.data);
	write_textf(layout_path, "{\"imageLayoutVersion\": \"1.0.0\"}");
}

void make_oci_archive(const char *folder, const char *tar)
{
	AUTO_FREE char *command = mem_format("tar -C %s -cf %s .", folder, tar);

	assert_int_equal(system(command), 0);
}

void make_docker_archive(const char *tar, const struct image_plan *plan, bool link)
{
	struct archive *archive = archive_write_new();
	json_t *diff_ids = json_array(), *names = json_array();
	struct bytes config, manifest;
	char hex[65], name[128];

	archive_write_set_format_ustar(archive);
	assert_int_equal(archive_write_open_filename(archive, tar), ARCHIVE_OK);
	for (size_t i = 0; plan->layers[i]; i++) {
		struct bytes layer = make_layer(plan, i, diff_ids);

		snprintf(name, sizeof(name), "layer%zu/layer.tar", i);
		json_array_append_new(names, json_string(name));
		if (link && i > 0)
			add_entry(archive, name, 's', "../layer0/layer.tar", 0);
		else
			add_entry(archive, name, 'f', layer.data, layer.size);
		free(layer.data);
	}
	config = dump(make_config(plan, plan->arch ? plan->arch : "amd64", diff_ids));
	sha256_hex(&config, hex);
	if (plan->wrong_digest)
		hex[0] = hex[0] == '0' ? '1' : '0';
	snprintf(name, sizeof(name), "%s.json", hex);
	add_entry(archive, name, 'f', config.data, config.size);
	manifest = dump(
	    json_pack("[{sss[s]so}]", "Config", name, "RepoTags", "x:latest", "Layers", names));
	add_entry(archive, "manifest.json", 'f', manifest.data, manifest.size);
	free(config.data);
	free(manifest.data);
	assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
	archive_write_free(archive);
}
