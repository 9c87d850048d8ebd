/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A release made ready to be sent: the image's layers and the model's files cut into chunks, their
 * indices encoded, the manifest signed. Knows nothing of the coordinator: push.c sends what is
 * missing there.
 */
#pragma once

#include "coordinator/cli/image.h"
#include "coordinator/cli/yml_files.h"
#include "protocol/manifest.h"

struct pack_object { /* one content-addressed object */
	struct digest digest;
	uint64_t size;
	uint64_t offset; /* in the blob's file; indices: 0 */
	uint32_t blob;   /* whose file it comes from */
	bool index;      /* the blob's encoded chunk_index itself */
};

struct pack_blob {  /* where the bytes are */
	int fd;     /* a layer; borrowed from the image; -1: path */
	char *path; /* a model file, opened when needed */
	struct bytes index;
};

struct pack {
	struct release release;
	struct bytes envelope;   /* signed manifest, encoded */
	struct digest digest;    /* of the manifest: the release's identity */
	struct pack_blob *blobs; /* in the order of release.blobs */
	size_t blobs_count;
	struct pack_object *objects; /* by digest, each once */
	size_t objects_count, objects_cap;
};

/* Called now and then with the bytes that are cut so far. */
typedef void pack_progress_fn(void *arg, uint64_t bytes);

/* Takes file->release over; image stays borrowed and must outlive the pack. Failures are the
 * input's fault and name the file. */
int pack_build(struct release_file *file, const struct image *image, const struct sign_key *key,
               pack_progress_fn *progress, void *arg, struct pack *ret_pack,
               struct err *err) COVEY_MUST_CHECK;
void pack_free(struct pack *pack);
/* The bytes of one object, checked again against its digest: a file may have changed since. data
 * holds object->size bytes. */
int pack_read(const struct pack *pack, const struct pack_object *object, uint8_t *data,
              struct err *err) COVEY_MUST_CHECK;
