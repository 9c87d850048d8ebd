/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's own archive (`docker save`): manifest.json lists one or more images with the names of
 * their config and layer files. It has no digests of its own; the config's name is the SHA-256 of
 * its content, and the layers are verified against the config's diff_ids later, as for every image.
 */
#include "coordinator/cli/image_source.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/layer.h"

#include <string.h>

/* "<64 hex>.json" or "blobs/sha256/<64 hex>": the digest that the name promises. */
static bool named_digest(const char *name, uint8_t sha256[DIGEST_SIZE])
{
	const char *slash = strrchr(name, '/');
	char hex[2 * DIGEST_SIZE + 1];

	snprintf(hex, sizeof(hex), "%s", slash ? slash + 1 : name);
	return str_unhex(sha256, DIGEST_SIZE, hex) == 0;
}

static int check_config(struct image_source *source, const char *name, struct err *err)
{
	uint8_t wanted[DIGEST_SIZE], sha256[DIGEST_SIZE];
	AUTO_CLOSE int fd = -1;
	uint64_t size = 0;
	int r;

	if (!named_digest(name, wanted))
		return err_set(err, -EINVAL, "%s: the config `%.100s` is not named by its digest",
		               source->name, name);
	r = image_source_member(source, name, &fd, err);
	if (r == 0)
		r = layer_sha256(fd, sha256, &size, err);
	if (r == 0 && memcmp(sha256, wanted, DIGEST_SIZE) != 0)
		r = err_set(err, -EINVAL, "%s: %s does not have the content that its name promises",
		            source->name, name);
	return r;
}

static int take_layers(struct image_source *source, const json_t *names, struct image_parts *parts,
                       struct err *err)
{
	size_t count = json_array_size(names);

	if (!count || count > LIMIT_LAYERS)
		return err_set(err, -EINVAL, "%s: the image has %zu layers; 1 to %d are possible",
		               source->name, count, LIMIT_LAYERS);
	parts->layers = mem_array(count, sizeof(*parts->layers));
	for (size_t i = 0; i < count; i++) {
		const char *name = json_string_value(json_array_get(names, i));
		int fd = -1;
		int r = name ? image_source_member(source, name, &fd, err)
		             : err_set(err, -EINVAL, "%s: a layer has no name", source->name);

		if (r < 0)
			return r;
		parts->layers[parts->layers_count++] = fd;
	}
	return 0;
}

int image_docker_parts(struct image_source *source, struct image_parts *ret_parts, struct err *err)
{
	json_t *manifest = NULL;
	const json_t *image;
	const char *config;
	struct image_parts parts = {0};
	int r = image_source_json(source, "manifest.json", &manifest, err);

	if (r < 0)
		return r;
	image = json_array_get(manifest, 0);
	config = json_string_value(json_object_get(image, "Config"));
	if (json_array_size(manifest) != 1 || !config)
		r = err_set(err, -EINVAL,
		            "%s: manifest.json lists %zu images; save exactly one into the archive",
		            source->name, json_array_size(manifest));
	if (r == 0)
		r = check_config(source, config, err);
	if (r == 0)
		r = image_source_json(source, config, &parts.config, err);
	if (r == 0)
		r = take_layers(source, json_object_get(image, "Layers"), &parts, err);
	json_decref(manifest);
	if (r < 0)
		image_parts_free(&parts);
	else
		*ret_parts = parts;
	return r == -ENOENT ? -EINVAL : r; /* manifest.json is there, something it names is not */
}
