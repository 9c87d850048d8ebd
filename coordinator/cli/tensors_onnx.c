/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ONNX model is a protobuf message: the fields that lead to the weights are walked, everything
 * else is stepped over. ModelProto.graph (7) -> GraphProto.initializer (5) -> TensorProto: dims 1,
 * data_type 2, name 8, raw_data 9, external_data 13 (entries of key 1 and value 2).
 */
#include "coordinator/cli/tensors.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	SIDES_MAX = 8,
	MODEL_GRAPH = 7,
	GRAPH_INITIALIZER = 5,
	TENSOR_DIMS = 1,
	TENSOR_TYPE = 2,
	TENSOR_NAME = 8,
	TENSOR_RAW = 9,
	TENSOR_EXTERNAL = 13,
	ENTRY_KEY = 1,
	ENTRY_VALUE = 2,
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5,
};

/* TensorProto.DataType, by number. */
static const struct {
	const char *name;
	struct element element;
} types[] = {
    [1] = {"F32", {4, true, 0}},   [2] = {"U8", {1, false, 0}},    [3] = {"I8", {1, false, 0}},
    [4] = {"U16", {2, false, 0}},  [5] = {"I16", {2, false, 0}},   [6] = {"I32", {4, false, 0}},
    [7] = {"I64", {8, false, 0}},  [9] = {"BOOL", {1, false, 0}},  [10] = {"F16", {2, true, 0}},
    [11] = {"F64", {8, true, 0}},  [12] = {"U32", {4, false, 0}},  [13] = {"U64", {8, false, 0}},
    [16] = {"BF16", {2, true, 0}}, [17] = {"E4M3", {1, true, 0}},  [18] = {"E4M3Z", {1, true, 0}},
    [19] = {"E5M2", {1, true, 0}}, [20] = {"E5M2Z", {1, true, 0}},
};

struct field {
	uint32_t number, wire;
	uint64_t value;      /* WIRE_VARINT */
	const uint8_t *data; /* WIRE_BYTES */
	size_t size;
};

struct walk {
	const uint8_t *at, *end;
};

static bool take_varint(struct walk *w, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
		uint8_t byte = *w->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* False: at the end, or at something that is no field. */
static bool next_field(struct walk *w, struct field *field)
{
	uint64_t tag, size;

	if (!take_varint(w, &tag) || tag > UINT32_MAX)
		return false;
	*field = (struct field){.number = (uint32_t)tag >> 3, .wire = (uint32_t)tag & 7};
	switch (field->wire) {
	case WIRE_VARINT:
		return take_varint(w, &field->value);
	case WIRE_FIXED64:
		size = 8;
		break;
	case WIRE_FIXED32:
		size = 4;
		break;
	case WIRE_BYTES:
		if (!take_varint(w, &size))
			return false;
		break;
	default:
		return false;
	}
	if (size > (uint64_t)(w->end - w->at))
		return false;
	field->data = w->at;
	field->size = (size_t)size;
	w->at += size;
	return true;
}

static bool is_text(const uint8_t *data, size_t size, const char *text)
{
	return size == strlen(text) && memcmp(data, text, size) == 0;
}

/* ---- one tensor ---- */

struct tensor {
	struct tensor_text text;
	uint64_t sides[SIDES_MAX], type, offset, length;
	const uint8_t *raw;
	size_t raw_size;
	bool here; /* external, and in the file that was asked for */
};

static uint64_t number_of(const struct field *field)
{
	char text[24] = "";
	uint64_t value = 0;

	if (field->size < sizeof(text))
		memcpy(text, field->data, field->size);
	return str_parse_u64(text, INT64_MAX / 2, &value) < 0 ? 0 : value;
}

static void read_external(const struct field *entry, const char *location, struct tensor *t)
{
	struct walk w = {entry->data, entry->data + entry->size};
	struct field key = {0}, value = {0}, field;

	while (next_field(&w, &field)) {
		if (field.wire == WIRE_BYTES && field.number == ENTRY_KEY)
			key = field;
		if (field.wire == WIRE_BYTES && field.number == ENTRY_VALUE)
			value = field;
	}
	if (!key.data || !value.data)
		return;
	if (is_text(key.data, key.size, "location"))
		t->here = location && is_text(value.data, value.size, location);
	else if (is_text(key.data, key.size, "offset"))
		t->offset = number_of(&value);
	else if (is_text(key.data, key.size, "length"))
		t->length = number_of(&value);
}

static void add_side(struct tensor *t, uint64_t value)
{
	if (t->text.dimensions < SIDES_MAX)
		t->sides[t->text.dimensions++] = value;
}

static void add_packed(struct tensor *t, const struct field *field)
{
	struct walk w = {field->data, field->data + field->size};
	uint64_t value;

	while (take_varint(&w, &value))
		add_side(t, value);
}

static void read_field(const struct field *field, const char *location, struct tensor *t)
{
	if (field->number == TENSOR_DIMS && field->wire == WIRE_BYTES)
		add_packed(t, field);
	else if (field->number == TENSOR_DIMS)
		add_side(t, field->value);
	else if (field->number == TENSOR_TYPE)
		t->type = field->value;
	else if (field->wire != WIRE_BYTES)
		return;
	else if (field->number == TENSOR_NAME)
		t->text.name = (const char *)field->data, t->text.name_size = field->size;
	else if (field->number == TENSOR_RAW)
		t->raw = field->data, t->raw_size = field->size;
	else if (field->number == TENSOR_EXTERNAL)
		read_external(field, location, t);
}

static void read_tensor(const uint8_t *model, const struct field *initializer, const char *location,
                        struct tensors *tensors)
{
	struct walk w = {initializer->data, initializer->data + initializer->size};
	struct tensor t = {.text = {.name = "", .type = ""}};
	struct element element = {0};
	struct field field;

	t.text.shape = t.sides;
	while (next_field(&w, &field))
		read_field(&field, location, &t);
	if (t.type < ARRAY_SIZE(types) && types[t.type].name) {
		t.text.type = types[t.type].name;
		element = types[t.type].element;
	}
	if (!location && t.raw)
		tensors_add(tensors, &t.text, element, (uint64_t)(t.raw - model), t.raw_size);
	else if (location && t.here)
		tensors_add(tensors, &t.text, element, t.offset, t.length);
}

void tensors_read_onnx(const uint8_t *model, size_t size, const char *location, uint64_t file_size,
                       struct tensors *ret_tensors)
{
	struct walk w = {model, model + size}, graph;
	struct field field, initializer;

	*ret_tensors = (struct tensors){0};
	while (next_field(&w, &field)) {
		if (field.number != MODEL_GRAPH || field.wire != WIRE_BYTES)
			continue;
		graph = (struct walk){field.data, field.data + field.size};
		while (next_field(&graph, &initializer))
			if (initializer.number == GRAPH_INITIALIZER &&
			    initializer.wire == WIRE_BYTES)
				read_tensor(model, &initializer, location, ret_tensors);
	}
	tensors_settle(ret_tensors, file_size);
}
