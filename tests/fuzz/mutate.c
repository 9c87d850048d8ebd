/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutations of msgpack that leave it msgpack, for libFuzzer: plain bytes break a length or a count
 * long before they say anything new. The first msgpack value of the input is walked with the
 * product's own reader; one item of it is replaced, doubled, dropped or given an interesting value,
 * and the counts of what holds it are put right by writing the tree anew. Half of the time the
 * fuzzer's own mutations are used, so that broken encodings are tried as well.
 *
 * FUZZ_PREFIX: so many bytes before the value are not msgpack.
 */
#include "fuzz.h"

#include "base/mem.h"
#include "base/rng.h"
#include "protocol/wire.h"

#include <msgpack/pack.h>
#include <string.h>

#ifndef FUZZ_PREFIX
#define FUZZ_PREFIX 0
#endif

enum { ITEMS_MAX = 4096 };

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

struct node { /* one value, in the order of the encoding; its children follow it */
	struct wire_item item;
	size_t end; /* index behind its last descendant */
};

struct tree {
	struct node nodes[ITEMS_MAX];
	size_t count;
	struct rng rng;
	size_t chosen;
	unsigned how;
};

enum how { CHANGE, DROP, DOUBLE, SWAP_KIND, HOWS };

static int read_value(struct tree *tree, struct wire_reader *reader, unsigned depth)
{
	size_t at = tree->count++, children;
	struct wire_item *item;

	if (at >= ITEMS_MAX - 1 || depth > WIRE_DEPTH_MAX)
		return -EBADMSG;
	item = &tree->nodes[at].item;
	if (wire_read(reader, item, NULL) < 0)
		return -EBADMSG;
	children = item->kind == WIRE_ARRAY ? item->size
		   : item->kind == WIRE_MAP ? 2 * item->size
					    : 0;
	for (size_t i = 0; i < children; i++)
		if (read_value(tree, reader, depth + 1) < 0)
			return -EBADMSG;
	tree->nodes[at].end = tree->count;
	return 0;
}

static uint64_t some_number(struct rng *rng)
{
	static const uint64_t numbers[] = {0,	       1,	   2,	       7,
					   127,	       128,	   255,	       256,
					   65535,      65536,	   UINT32_MAX, UINT64_C(1) << 32,
					   INT64_MAX,  UINT64_MAX, 31,	       4194304};

	return rng_below(rng, 3) ? numbers[rng_below(rng, ARRAY_SIZE(numbers))]
				 : rng_below(rng, 40);
}

static void pack_text(msgpack_packer *packer, struct tree *tree, const struct wire_item *item)
{
	size_t size = item->data ? item->size : 0, max = size + 16;
	AUTO_FREE uint8_t *text = mem_alloc(max);

	if (size)
		memcpy(text, item->data, size);
	size = LLVMFuzzerMutate(text, size, max);
	if (item->kind == WIRE_BIN)
		size = rng_below(&tree->rng, 2) ? item->size : size; /* digests keep their length */
	if (item->kind == WIRE_STR)
		msgpack_pack_str_with_body(packer, text, size);
	else
		msgpack_pack_bin_with_body(packer, text, size);
}

static void pack_changed(msgpack_packer *packer, struct tree *tree, const struct wire_item *item)
{
	enum wire_kind kind = item->kind;

	if (tree->how == SWAP_KIND)
		kind = (enum wire_kind)rng_below(&tree->rng, WIRE_EXT);
	if (kind == WIRE_STR || kind == WIRE_BIN)
		pack_text(packer, tree, item);
	else if (kind == WIRE_BOOL)
		rng_below(&tree->rng, 2) ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
	else if (kind == WIRE_F64)
		msgpack_pack_double(packer, (double)(int64_t)some_number(&tree->rng) / 8);
	else if (kind == WIRE_NEGATIVE)
		msgpack_pack_int64(packer, -(int64_t)(some_number(&tree->rng) >> 1));
	else if (kind == WIRE_NIL)
		msgpack_pack_nil(packer);
	else
		msgpack_pack_uint64(packer, some_number(&tree->rng));
}

static void pack_plain(msgpack_packer *packer, const struct wire_item *item)
{
	switch (item->kind) {
	case WIRE_NIL:
		msgpack_pack_nil(packer);
		return;
	case WIRE_BOOL:
		item->number ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
		return;
	case WIRE_UINT:
		msgpack_pack_uint64(packer, item->number);
		return;
	case WIRE_NEGATIVE:
		msgpack_pack_int64(packer, (int64_t)item->number);
		return;
	case WIRE_F64:
		msgpack_pack_double(packer, item->real);
		return;
	case WIRE_STR:
		msgpack_pack_str_with_body(packer, item->data, item->size);
		return;
	case WIRE_BIN:
	case WIRE_EXT:
	case WIRE_ARRAY:
	case WIRE_MAP:
		msgpack_pack_bin_with_body(packer, item->data, item->size);
		return;
	}
}

static size_t write_value(msgpack_packer *packer, struct tree *tree, size_t at);

/* The children of a list or map; of a map, key and value go together. */
static size_t write_children(msgpack_packer *packer, struct tree *tree, size_t at)
{
	const struct node *node = &tree->nodes[at];
	bool map = node->item.kind == WIRE_MAP;
	size_t count = node->item.size, child = at + 1, chosen = SIZE_MAX;

	for (size_t i = 0, c = child; i < count; i++) {
		size_t end = tree->nodes[map ? tree->nodes[c].end : c].end;

		if (tree->chosen >= c && tree->chosen < end && tree->chosen - c <= map)
			chosen = i;
		c = end;
	}
	if (chosen == SIZE_MAX || (tree->how != DROP && tree->how != DOUBLE))
		chosen = SIZE_MAX;
	if (chosen != SIZE_MAX)
		count += tree->how == DOUBLE ? 1 : (size_t)-1;
	map ? msgpack_pack_map(packer, count) : msgpack_pack_array(packer, count);
	for (size_t i = 0; i < node->item.size; i++) {
		size_t value = map ? tree->nodes[child].end : child, end = tree->nodes[value].end;

		for (unsigned n = chosen != i ? 1 : tree->how == DOUBLE ? 2 : 0; n > 0; n--) {
			write_value(packer, tree, child);
			if (map)
				write_value(packer, tree, value);
		}
		child = end;
	}
	return node->end;
}

static size_t write_value(msgpack_packer *packer, struct tree *tree, size_t at)
{
	const struct node *node = &tree->nodes[at];
	bool holds = node->item.kind == WIRE_ARRAY || node->item.kind == WIRE_MAP;

	if (at == tree->chosen && (tree->how == SWAP_KIND || (tree->how == CHANGE && !holds))) {
		pack_changed(packer, tree, &node->item);
		return node->end;
	}
	if (holds)
		return write_children(packer, tree, at);
	pack_plain(packer, &node->item);
	return at + 1;
}

/* 0: it is no msgpack, or the result does not fit. */
static size_t mutate_value(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	AUTO_FREE struct tree *tree = mem_alloc(sizeof(*tree));
	struct wire_reader reader = {data, size};
	AUTO_FREE uint8_t *rest = NULL;
	struct wire_writer writer;
	struct bytes bytes = {0};
	size_t left, total;

	tree->rng.state = seed;
	if (read_value(tree, &reader, 0) < 0)
		return 0;
	tree->chosen = (size_t)rng_below(&tree->rng, tree->count);
	tree->how = (unsigned)rng_below(&tree->rng, HOWS);
	left = reader.left;
	rest = mem_copy(reader.at, left);
	wire_writer_init(&writer, max);
	write_value(&writer.packer, tree, 0);
	if (wire_writer_end(&writer, &bytes, NULL) < 0)
		return 0;
	total = bytes.size + left;
	if (total <= max) {
		memcpy(data, bytes.data, bytes.size);
		memcpy(data + bytes.size, rest, left);
	}
	free(bytes.data);
	return total <= max ? total : 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size_t mutated = 0;

	if (seed % 2 && size > FUZZ_PREFIX && max > FUZZ_PREFIX)
		mutated = mutate_value(data + FUZZ_PREFIX, size - FUZZ_PREFIX, max - FUZZ_PREFIX,
				       seed / 2);
	return mutated ? mutated + FUZZ_PREFIX : LLVMFuzzerMutate(data, size, max);
}
