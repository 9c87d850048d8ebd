/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCI image layout (https://github.com/opencontainers/image-spec, image-layout.md, image-index.md,
 * manifest.md): index.json leads, maybe over nested indexes, to one manifest for each platform. All
 * candidates are collected first, so that a sentence can say which architectures there are.
 */
#include "coordinator/cli/image_source.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/image.h"

#include <string.h>

enum { INDEX_DEPTH_MAX = 4, CANDIDATES_MAX = 256 };

struct candidate {
	struct image_blob manifest;
	char platform[LIMIT_SHORT_TEXT + 1]; /* "amd64", "arm/v7"; "" not said */
};

struct search {
	struct image_source *source;
	struct candidate found[CANDIDATES_MAX];
	size_t count;
	struct err *err;
};

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool is_index(const json_t *descriptor)
{
	const char *type = text_of(descriptor, "mediaType");

	return str_equal(type, "application/vnd.oci.image.index.v1+json") ||
	       str_equal(type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

/* Build tools put attestations beside images, for a platform "unknown". */
static bool is_image(const json_t *descriptor)
{
	const json_t *platform = json_object_get(descriptor, "platform");
	const char *os = text_of(platform, "os");

	return !platform || !*os || str_equal(os, "linux");
}

static void add_candidate(struct search *s, const json_t *descriptor, const struct image_blob *blob)
{
	const json_t *platform = json_object_get(descriptor, "platform");
	const char *variant = text_of(platform, "variant");
	struct candidate *found;

	for (size_t i = 0; i < s->count; i++) /* one image under two tags */
		if (memcmp(s->found[i].manifest.sha256, blob->sha256, DIGEST_SIZE) == 0)
			return;
	if (s->count == CANDIDATES_MAX)
		return;
	found = &s->found[s->count++];
	found->manifest = *blob;
	snprintf(found->platform, sizeof(found->platform), "%s%s%s",
	         text_of(platform, "architecture"), *variant ? "/" : "", variant);
}

static int collect(struct search *s, const json_t *index, unsigned depth)
{
	const json_t *manifests = json_object_get(index, "manifests");

	if (depth == INDEX_DEPTH_MAX || !json_is_array(manifests))
		return err_set(s->err, -EINVAL,
		               "%s: an index has no manifests or is nested too deeply",
		               s->source->name);
	for (size_t i = 0; i < json_array_size(manifests); i++) {
		const json_t *descriptor = json_array_get(manifests, i);
		struct image_blob blob = {0};
		json_t *inner = NULL;
		int r = image_blob_parse(descriptor, &blob, s->err);

		if (r < 0)
			return err_prefix(s->err, r, "%s", s->source->name);
		if (!is_index(descriptor)) {
			if (is_image(descriptor))
				add_candidate(s, descriptor, &blob);
			continue;
		}
		r = image_source_blob_json(s->source, &blob, &inner, s->err);
		if (r == 0)
			r = collect(s, inner, depth + 1);
		json_decref(inner);
		if (r < 0)
			return r;
	}
	return 0;
}

/* "arm64" matches arm64/v8; "arm/v7" only itself; an image that says nothing matches. */
static bool matches(const char *platform, const char *arch)
{
	size_t size = strlen(arch);

	if (!*platform || str_equal(platform, arch))
		return true;
	return strncmp(platform, arch, size) == 0 && platform[size] == '/';
}

static int choose(struct search *s, const char *arch, const struct candidate **ret_candidate)
{
	AUTO_STR struct str known = {0};
	size_t hits = 0;

	for (size_t i = 0; i < s->count; i++) {
		str_addf(&known, "%s%s", known.size ? ", " : "", s->found[i].platform);
		if (!matches(s->found[i].platform, arch))
			continue;
		*ret_candidate = &s->found[i];
		hits++;
	}
	if (!s->count)
		return err_set(s->err, -EINVAL, "%s: there is no image in it", s->source->name);
	if (!hits)
		return err_set(s->err, -EINVAL,
		               "%s: the image is for %.200s, not for %s; choose with --arch, or "
		               "build it for %s",
		               s->source->name, str_get(&known), arch, arch);
	if (hits > 1)
		return err_set(s->err, -EINVAL,
		               "%s: %zu images are for %s (%.200s); leave one in it, or name a "
		               "variant such as --arch arm/v7",
		               s->source->name, hits, arch, str_get(&known));
	return 0;
}

static int take_layers(struct search *s, const json_t *layers, struct image_parts *parts)
{
	size_t count = json_array_size(layers);

	if (!count || count > LIMIT_LAYERS)
		return err_set(s->err, -EINVAL,
		               "%s: the image has %zu layers; 1 to %d are possible",
		               s->source->name, count, LIMIT_LAYERS);
	parts->layers = mem_array(count, sizeof(*parts->layers));
	for (size_t i = 0; i < count; i++) {
		struct image_blob blob = {0};
		int fd = -1;
		int r = image_blob_parse(json_array_get(layers, i), &blob, s->err);

		if (r == 0)
			r = image_source_blob(s->source, &blob, &fd, s->err);
		if (r < 0)
			return r;
		parts->layers[parts->layers_count++] = fd;
	}
	return 0;
}

static int read_manifest(struct search *s, const struct candidate *candidate,
                         struct image_parts *ret_parts)
{
	struct image_parts parts = {0};
	struct image_blob config = {0};
	json_t *manifest = NULL;
	int r = image_source_blob_json(s->source, &candidate->manifest, &manifest, s->err);

	if (r == 0)
		r = image_blob_parse(json_object_get(manifest, "config"), &config, s->err);
	if (r == 0)
		r = image_source_blob_json(s->source, &config, &parts.config, s->err);
	if (r == 0)
		r = take_layers(s, json_object_get(manifest, "layers"), &parts);
	json_decref(manifest);
	if (r < 0)
		image_parts_free(&parts);
	else
		*ret_parts = parts;
	return r;
}

int image_oci_parts(struct image_source *source, const char *arch, struct image_parts *ret_parts,
                    struct err *err)
{
	AUTO_FREE struct search *s = mem_alloc(sizeof(*s));
	const struct candidate *candidate = NULL;
	json_t *index = NULL;
	int r = image_source_json(source, "index.json", &index, err);

	if (r < 0)
		return r;
	*s = (struct search){.source = source, .err = err};
	r = collect(s, index, 0);
	json_decref(index);
	if (r == 0)
		r = choose(s, arch, &candidate);
	if (r == 0)
		r = read_manifest(s, candidate, ret_parts);
	return r == -ENOENT ? -EINVAL
	                    : r; /* there is an index: this is the form, and it is damaged */
}
