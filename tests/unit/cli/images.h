/* SPDX-License-Identifier: Apache-2.0 */
/* Small images for tests, in every form, and with one thing wrong where a test asks for it. */
#pragma once

#include "base/str.h"
#include "covey/ids.h"

#include <jansson.h>

struct tar_entry {
	const char *name;
	char
	    type; /* 'f' file, 'd' folder, 's' symbolic link, 'h' hard link, 'c' device, 'p' pipe */
	const char *data; /* content, or the link's target */
};

/* A tar of these entries; ends with name == NULL. Owned by the caller. */
struct bytes make_tar(const struct tar_entry *entries);
struct bytes compress_gzip(const struct bytes *data);
struct bytes compress_zstd(const struct bytes *data);
void sha256_hex(const struct bytes *data, char hex[65]);

struct image_plan {
	const struct tar_entry *layers[4]; /* ends with NULL */
	const char *arch;                  /* of the config; NULL: amd64 */
	const char *platform;              /* of the index; NULL: as arch */
	const char *second_arch;           /* a second image of this architecture in the index */
	char compression;                  /* 0, 'g', 'z' */
	bool wrong_diff_id, wrong_digest, wrong_size, missing_blob, truncated_layer, no_config_argv;
	bool nested; /* index in an index, with an attestation beside it */
};

/* folder must not be there. */
void make_oci_layout(const char *folder, const struct image_plan *plan);
/* Packs a layout folder as .tar. */
void make_oci_archive(const char *folder, const char *tar);
/* link: a second layer that is a symbolic link to the first, as old docker wrote it. */
void make_docker_archive(const char *tar, const struct image_plan *plan, bool link);
