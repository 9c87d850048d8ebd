/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Safetensors, and what all formats share. A list is taken whole or not at all: a tensor that lies
 * outside of the file says that the header is not what it seems.
 */
#include "coordinator/cli/tensors.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

#include <jansson.h>

enum { DIMENSIONS_MAX = 16 };

void tensors_free(struct tensors *tensors)
{
	free(tensors->items);
	*tensors = (struct tensors){0};
}

void tensors_add(struct tensors *tensors, const struct tensor_text *text, struct element element,
                 uint64_t offset, uint64_t size)
{
	struct digest_state state;
	struct digest digest;
	struct tensor_ref ref = {.element = element, .offset = offset, .size = size};

	digest_init(&state);
	digest_add(&state, text->name, text->name_size);
	digest_add(&state, "", 1);
	digest_add(&state, text->type, strlen(text->type) + 1);
	digest_add(&state, text->shape, text->dimensions * sizeof(*text->shape));
	digest_end(&state, &digest);
	memcpy(&ref.key, digest.bytes, sizeof(ref.key));
	MEM_GROW(tensors->items, &tensors->cap, tensors->count);
	tensors->items[tensors->count++] = ref;
}

static int by_offset(const void *a, const void *b)
{
	const struct tensor_ref *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->size < y->size ? -1 : x->size > y->size;
}

void tensors_settle(struct tensors *tensors, uint64_t file_size)
{
	size_t kept = 0;
	uint64_t end = 0;

	if (tensors->count > 1)
		qsort(tensors->items, tensors->count, sizeof(*tensors->items), by_offset);
	for (size_t i = 0; i < tensors->count; i++) {
		struct tensor_ref ref = tensors->items[i];

		if (ref.size == 0)
			continue;
		if (ref.offset < end || ref.offset > file_size ||
		    ref.size > file_size - ref.offset || kept == LIMIT_TENSORS) {
			tensors_free(tensors);
			return;
		}
		end = ref.offset + ref.size;
		tensors->items[kept++] = ref;
	}
	tensors->count = kept;
}

/* ---- safetensors ---- */

static struct element element_of(const char *type)
{
	static const struct {
		const char *name;
		struct element element;
	} types[] = {
	    {"BF16", {2, true, 0}}, {"F16", {2, true, 0}},     {"F32", {4, true, 0}},
	    {"F64", {8, true, 0}},  {"F8_E4M3", {1, true, 0}}, {"F8_E5M2", {1, true, 0}},
	    {"F8_E8M0", {1, 0, 0}}, {"I8", {1, 0, 0}},         {"U8", {1, 0, 0}},
	    {"BOOL", {1, 0, 0}},    {"I16", {2, 0, 0}},        {"U16", {2, 0, 0}},
	    {"I32", {4, 0, 0}},     {"U32", {4, 0, 0}},        {"I64", {8, 0, 0}},
	    {"U64", {8, 0, 0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_equal(types[i].name, type))
			return types[i].element;
	return (struct element){0};
}

static uint64_t header_size(const uint8_t first[8])
{
	uint64_t size = 0;

	for (int i = 7; i >= 0; i--)
		size = size << 8 | first[i];
	return size < 2 || size > TENSORS_HEADER_MAX - 8 ? 0 : size + 8;
}

uint64_t tensors_header_size(const uint8_t *first, size_t size)
{
	if (size < 9 || first[8] != '{')
		return 0;
	return header_size(first);
}

static bool add_safetensor(struct tensors *tensors, const char *name, const json_t *tensor,
                           uint64_t start)
{
	const json_t *offsets = json_object_get(tensor, "data_offsets");
	const json_t *shape = json_object_get(tensor, "shape");
	const char *type = json_string_value(json_object_get(tensor, "dtype"));
	json_int_t begin = json_integer_value(json_array_get(offsets, 0));
	json_int_t end = json_integer_value(json_array_get(offsets, 1));
	uint64_t sides[DIMENSIONS_MAX];
	struct tensor_text text = {
	    .name = name, .name_size = strlen(name), .type = type ? type : "", .shape = sides};

	if (json_array_size(offsets) != 2 || begin < 0 || end < begin || end > INT64_MAX / 2)
		return false;
	while (text.dimensions < DIMENSIONS_MAX && text.dimensions < json_array_size(shape)) {
		sides[text.dimensions] =
		    (uint64_t)json_integer_value(json_array_get(shape, text.dimensions));
		text.dimensions++;
	}
	tensors_add(tensors, &text, element_of(text.type), start + (uint64_t)begin,
	            (uint64_t)(end - begin));
	return true;
}

static void read_safetensors(const uint8_t *head, size_t size, struct tensors *tensors)
{
	json_t *json = json_loadb((const char *)head + 8, size - 8, 0, NULL), *tensor;
	bool good = json_is_object(json);
	const char *name;

	json_object_foreach(json, name, tensor)
	{
		if (good && !str_equal(name, "__metadata__"))
			good = add_safetensor(tensors, name, tensor, size);
	}
	json_decref(json);
	if (!good)
		tensors_free(tensors);
}

int tensors_read(const uint8_t *head, size_t size, uint64_t file_size, struct tensors *ret_tensors)
{
	uint64_t header = tensors_header_size(head, size);
	int r = 0;

	*ret_tensors = (struct tensors){0};
	if (size < 16 && size < file_size)
		return -EAGAIN;
	if (size >= 4 && memcmp(head, "GGUF", 4) == 0) {
		r = tensors_read_gguf(head, size, file_size, ret_tensors);
	} else if (header > 0 && header <= file_size) {
		if (size < header)
			return -EAGAIN;
		read_safetensors(head, (size_t)header, ret_tensors);
	}
	if (r < 0)
		tensors_free(ret_tensors);
	tensors_settle(ret_tensors, file_size);
	return r == -EAGAIN && size < file_size ? r : 0;
}
