/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the parts of an image lie: a folder, or a .tar that is searched for each member (headers
 * are skipped by seeking). A member comes as an open file without a name.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

#include <jansson.h>

enum { IMAGE_JSON_MAX = 4 << 20 };

struct image_source {
	const char *name; /* for sentences; borrowed */
	int folder;       /* -1: an archive */
	int archive;      /* -1: a folder */
};

struct image_blob { /* a descriptor */
	uint8_t sha256[DIGEST_SIZE];
	uint64_t size;
	bool sized; /* size is known */
};

/* path: a folder or a .tar, also compressed as a whole. */
int image_source_open(struct image_source *source, const char *path,
                      struct err *err) COVEY_MUST_CHECK;
void image_source_close(struct image_source *source);
/* A member by its clean relative name. -ENOENT. */
int image_source_member(struct image_source *source, const char *name, int *ret_fd,
                        struct err *err) COVEY_MUST_CHECK;
/* A member as JSON. -ENOENT. */
int image_source_json(struct image_source *source, const char *name, json_t **ret_json,
                      struct err *err) COVEY_MUST_CHECK;
/* blobs/sha256/..., verified against size and digest. */
int image_source_blob(struct image_source *source, const struct image_blob *blob, int *ret_fd,
                      struct err *err) COVEY_MUST_CHECK;
int image_source_blob_json(struct image_source *source, const struct image_blob *blob,
                           json_t **ret_json, struct err *err) COVEY_MUST_CHECK;
/* {"digest": "sha256:...", "size": n} */
int image_blob_parse(const json_t *descriptor, struct image_blob *ret_blob,
                     struct err *err) COVEY_MUST_CHECK;
/* "sha256:<hex>" */
int image_sha256_parse(const char *text, uint8_t ret_sha256[DIGEST_SIZE]) COVEY_MUST_CHECK;

/* What image_oci.c and image_archive.c find: config and layers, not yet verified inside. */
struct image_parts {
	json_t *config;
	int *layers; /* open, as stored: maybe compressed */
	size_t layers_count;
};

void image_parts_free(struct image_parts *parts);
/* index.json, manifests, platforms. */
int image_oci_parts(struct image_source *source, const char *arch, struct image_parts *ret_parts,
                    struct err *err) COVEY_MUST_CHECK;
/* manifest.json of a docker archive. */
int image_docker_parts(struct image_source *source, struct image_parts *ret_parts,
                       struct err *err) COVEY_MUST_CHECK;
