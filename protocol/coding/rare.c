/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight numbers share a flag that says whether any of them changed, so that long stretches without
 * change cost next to nothing in time; then each has its own. A distance is its sign, the length
 * of its magnitude in unary, and the bits below the highest, of which only the first is worth
 * modelling. The context of all of these is the number's exponent in the base (of a group: the
 * smallest), of quantised blocks the place in the block.
 */
#include "protocol/coding/rare.h"

#include "base/mem.h"
#include "protocol/coding/range.h"

enum { GROUP = 8, CLASSES = 256, LENGTHS = 64 };

struct rare {
	struct range_rates rates;
	struct range_bit group[CLASSES];
	struct range_bit changed[CLASSES];
	struct range_bit negative[CLASSES];
	struct range_bit length[CLASSES][LENGTHS]; /* is it longer than this? */
	struct range_bit below[LENGTHS];           /* the bit below the highest, by length */
	unsigned lengths; /* that a number of the element's width may have */
};

struct rare *rare_create(void)
{
	struct rare *rare = mem_alloc(sizeof(*rare));

	range_rates_init(&rare->rates);
	return rare;
}

void rare_free(struct rare *rare)
{
	free(rare);
}

static void forget(struct range_bit *bits, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bits[i] = (struct range_bit){.zero = 1 << 15};
}

static void begin(struct rare *rare, const struct element *element)
{
	rare->lengths = 8 * element->width;
	forget(rare->group, CLASSES);
	forget(rare->changed, CLASSES);
	forget(rare->negative, CLASSES);
	for (size_t i = 0; i < CLASSES; i++)
		forget(rare->length[i], rare->lengths);
	forget(rare->below, LENGTHS);
}

/* The classes of GROUP numbers; returns the smallest. base has all of them. */
static uint8_t classes_of(const struct element *element, const uint8_t *base, size_t first,
                          uint8_t classes[GROUP])
{
	size_t width = element->width;
	uint8_t least = UINT8_MAX;

	for (size_t i = 0; i < GROUP; i++) {
		const uint8_t *top = base + (first + i + 1) * width - 1;

		if (element->is_float)
			classes[i] = (uint8_t)(*top << 1 | (width > 1 ? top[-1] >> 7 : 0));
		else
			classes[i] = (uint8_t)(element->stride ? (first + i) % element->stride : 0);
		least = classes[i] < least ? classes[i] : least;
	}
	return least;
}

static uint64_t load(const uint8_t *at, unsigned width)
{
	uint64_t x = 0;

	memcpy(&x, at, width);
	return x;
}

/* ---- writing ---- */

static void write_distance(struct rare *rare, struct range_writer *w, uint8_t class,
                           uint64_t zigzag)
{
	uint64_t magnitude = (zigzag >> 1) + (zigzag & 1);
	unsigned length = 63 - (unsigned)__builtin_clzll(magnitude);

	range_write(w, &rare->rates, &rare->negative[class], zigzag & 1);
	for (unsigned i = 0; i < length; i++)
		range_write(w, &rare->rates, &rare->length[class][i], true);
	if (length + 1 < rare->lengths)
		range_write(w, &rare->rates, &rare->length[class][length], false);
	if (length == 0)
		return;
	range_write(w, &rare->rates, &rare->below[length], magnitude >> (length - 1) & 1);
	range_write_plain(w, magnitude, length - 1);
}

static void write_group(struct rare *rare, struct range_writer *w, const struct element *element,
                        const uint8_t *words, const uint8_t *base, size_t first)
{
	uint8_t classes[GROUP], least = classes_of(element, base, first, classes);
	unsigned width = element->width;
	bool any = false;

	for (size_t i = 0; i < GROUP * width; i++)
		any |= words[first * width + i] != 0;
	range_write(w, &rare->rates, &rare->group[least], any);
	for (size_t i = 0; any && i < GROUP; i++) {
		uint64_t zigzag = load(words + (first + i) * width, width);

		range_write(w, &rare->rates, &rare->changed[classes[i]], zigzag != 0);
		if (zigzag)
			write_distance(rare, w, classes[i], zigzag);
	}
}

size_t rare_encode(struct rare *rare, const struct element *element, const uint8_t *words,
                   const uint8_t *base, size_t count, uint8_t *ret_data, size_t max)
{
	struct range_writer w = {.data = ret_data, .max = max, .range = 0xffffffff};
	size_t first = 0;

	begin(rare, element);
	for (; first + GROUP <= count && w.at <= max; first += GROUP)
		write_group(rare, &w, element, words, base, first);
	for (; first < count; first++) { /* fewer than GROUP: as if of one class */
		uint64_t zigzag = load(words + first * element->width, element->width);

		range_write(&w, &rare->rates, &rare->changed[0], zigzag != 0);
		if (zigzag)
			write_distance(rare, &w, 0, zigzag);
	}
	range_writer_end(&w);
	return w.at <= max ? w.at : 0;
}

/* ---- reading ---- */

static uint64_t read_distance(struct rare *rare, struct range_reader *r, uint8_t class)
{
	bool negative = range_read(r, &rare->rates, &rare->negative[class]);
	uint64_t magnitude = 1;
	unsigned length = 0;

	while (length + 1 < rare->lengths &&
	       range_read(r, &rare->rates, &rare->length[class][length]))
		length++;
	if (length > 0) {
		magnitude = 2 | range_read(r, &rare->rates, &rare->below[length]);
		magnitude = magnitude << (length - 1) | range_read_plain(r, length - 1);
	}
	return (magnitude << 1) - negative;
}

static void read_group(struct rare *rare, struct range_reader *r, const struct element *element,
                       const uint8_t *base, size_t first, uint8_t *words)
{
	uint8_t classes[GROUP], least = classes_of(element, base, first, classes);
	unsigned width = element->width;

	if (!range_read(r, &rare->rates, &rare->group[least]))
		return;
	for (size_t i = 0; i < GROUP; i++) {
		uint64_t zigzag;

		if (!range_read(r, &rare->rates, &rare->changed[classes[i]]))
			continue;
		zigzag = read_distance(rare, r, classes[i]);
		memcpy(words + (first + i) * width, &zigzag, width);
	}
}

bool rare_decode(struct rare *rare, const struct element *element, const uint8_t *data, size_t size,
                 const uint8_t *base, size_t count, uint8_t *ret_words)
{
	struct range_reader r;
	size_t first = 0;

	begin(rare, element);
	range_reader_init(&r, data, size);
	memset(ret_words, 0, count * element->width);
	for (; first + GROUP <= count && r.missing <= GROUP; first += GROUP)
		read_group(rare, &r, element, base, first, ret_words);
	for (; first < count && r.missing <= GROUP; first++) {
		uint64_t zigzag = 0;

		if (range_read(&r, &rare->rates, &rare->changed[0]))
			zigzag = read_distance(rare, &r, 0);
		memcpy(ret_words + first * element->width, &zigzag, element->width);
	}
	return r.missing == 0 && r.at == r.end;
}
