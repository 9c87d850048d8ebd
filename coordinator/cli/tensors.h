/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of a model file: where each lies, what its numbers are, and a key of its name, type
 * and shape, so that the same tensor is found in another version of the model. Pure: bytes in, list
 * out. Whatever makes no sense gives no list, never an error: the file is then cut in fixed steps.
 *
 * Formats: safetensors (https://huggingface.co/docs/safetensors), GGUF versions 2 and 3
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), ONNX with its weights inside or as
 * external data (https://github.com/onnx/onnx/blob/main/docs/ExternalData.md).
 */
#pragma once

#include "base/err.h"
#include "covey/release.h"

enum { TENSORS_HEADER_MAX = 100 << 20 }; /* a larger header is not looked into */

struct tensors { /* by offset; within the file */
	struct tensor_ref *items;
	size_t count, cap;
};

void tensors_free(struct tensors *tensors);

/* What to read before tensors_read() is called, from a file's first bytes (8, or all it has); 0:
 * not known before all of it was looked at, or not a format with a header in front. */
uint64_t tensors_header_size(const uint8_t *first, size_t size);

/* head: the file's first bytes. -EAGAIN: more of them are needed. Otherwise 0, with a list or none.
 */
int tensors_read(const uint8_t *head, size_t size, uint64_t file_size,
                 struct tensors *ret_tensors) COVEY_MUST_CHECK;
/* An ONNX model (all of it): the tensors that it keeps in the file `location`; NULL: in itself. */
void tensors_read_onnx(const uint8_t *model, size_t size, const char *location, uint64_t file_size,
                       struct tensors *ret_tensors);

/* ---- for the formats ---- */

struct tensor_text { /* what the key is made of */
	const char *name, *type;
	size_t name_size;
	const uint64_t *shape;
	size_t dimensions;
};
void tensors_add(struct tensors *tensors, const struct tensor_text *text, struct element element,
                 uint64_t offset, uint64_t size);
/* Sorts by offset. All or nothing: inside the file, without overlaps, not too many. */
void tensors_settle(struct tensors *tensors, uint64_t file_size);
int tensors_read_gguf(const uint8_t *head, size_t size, uint64_t file_size,
                      struct tensors *ret_tensors) COVEY_MUST_CHECK;
