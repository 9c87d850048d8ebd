/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container images as input of a release: an OCI layout folder, the same as a .tar, a docker
 * archive, or docker://... fetched by skopeo. Whatever the form, the result is one image for one
 * platform, with every digest verified, every layer uncompressed, and no entry that could leave the
 * root.
 */
#pragma once

#include "base/err.h"
#include "covey/release.h"

struct image_layer {
	int fd; /* the uncompressed tar; owned */
	uint64_t size;
	uint8_t diff_id[DIGEST_SIZE]; /* SHA-256, verified */
};

struct image {
	char os[LIMIT_SHORT_TEXT + 1];
	char arch[LIMIT_SHORT_TEXT + 1]; /* OCI name, without variant */
	struct image_layer *layers;      /* bottom to top */
	size_t layers_count;
	struct text_item *argv; /* entrypoint, then command */
	size_t argv_count;
	struct env_var *env;
	size_t env_count;
	char *user;
	char *workdir;
};

/* arch: as --arch ("arm64", "arm/v7"), NULL: this machine's. Every failure is the input's fault and
 * has a sentence. */
int image_read(const char *source, const char *arch, struct image *ret_image,
               struct err *err) COVEY_MUST_CHECK;
void image_free(struct image *image);
/* OCI's name of this machine's architecture. */
const char *image_host_arch(void);
