/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the bytes, a table of the fields that are known, and nothing remembered: the text
 * comes from a process that may be broken, and tens of thousands of lines may come in a second. A
 * field that cannot be read costs that field; the request it stands in still counts, because losing
 * it would flatter a server that fails.
 */
#include "agent/observe/observation.h"

#include <math.h>

struct slice {
	const char *text;
	size_t size;
};

/* ---- numbers ---- */

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
				1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
				1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { POWERS = 22, EXPONENT_MAX = 400, MANTISSA_DIGITS = 18 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(const char *at, const char *end, const char *word)
{
	size_t size = strlen(word);

	if ((size_t)(end - at) != size)
		return false;
	for (size_t i = 0; i < size; i++)
		if ((at[i] | 0x20) != word[i])
			return false;
	return true;
}

static double scale(double value, int exponent)
{
	for (; exponent > POWERS; exponent -= POWERS)
		value *= powers[POWERS];
	for (; exponent < -POWERS; exponent += POWERS)
		value /= powers[POWERS];
	return exponent >= 0 ? value * powers[exponent] : value / powers[-exponent];
}

/* e-07; false: there is something else. */
static bool read_exponent(const char **at, const char *end, int *exponent)
{
	bool negative = false;
	int value = 0;

	if (*at == end)
		return true;
	if ((**at | 0x20) != 'e')
		return false;
	++*at;
	if (*at < end && (**at == '-' || **at == '+'))
		negative = *(*at)++ == '-';
	if (*at == end)
		return false;
	for (; *at < end && is_digit(**at); ++*at)
		if (value < EXPONENT_MAX)
			value = value * 10 + (**at - '0');
	*exponent += negative ? -value : value;
	return *at == end;
}

bool observation_number(const char *text, size_t size, double *ret_number)
{
	const char *at = text, *end = text + size;
	uint64_t mantissa = 0;
	int digits = 0, kept = 0, exponent = 0;
	bool negative = false, point = false;

	if (at < end && (*at == '-' || *at == '+'))
		negative = *at++ == '-';
	if (is_word(at, end, "nan") || is_word(at, end, "inf") || is_word(at, end, "infinity")) {
		*ret_number = (*at | 0x20) == 'n' ? NAN : negative ? -INFINITY : INFINITY;
		return true;
	}
	for (; at < end && (is_digit(*at) || (*at == '.' && !point)); at++) {
		if (*at == '.') {
			point = true;
			continue;
		}
		digits++;
		if (kept < MANTISSA_DIGITS) {
			mantissa = mantissa * 10 + (uint64_t)(*at - '0');
			kept += mantissa > 0;
			exponent -= point;
		} else {
			exponent += !point;
		}
	}
	if (digits == 0 || !read_exponent(&at, end, &exponent))
		return false;
	*ret_number = mantissa == 0 ? 0 : scale((double)mantissa, exponent);
	if (negative)
		*ret_number = -*ret_number;
	return true;
}

static bool read_whole(struct slice value, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (value.size == 0 || value.size > 18)
		return false;
	for (size_t i = 0; i < value.size; i++) {
		if (!is_digit(value.text[i]))
			return false;
		number = number * 10 + (uint64_t)(value.text[i] - '0');
	}
	*ret_number = number;
	return number <= max;
}

/* ---- fields ---- */

static bool read_latency(struct observation *o, struct slice value, double unit_us)
{
	double number;

	if (!observation_number(value.text, value.size, &number) || !(number >= 0) ||
	    number * unit_us > 1e18)
		return false;
	o->has_latency = o->request = true;
	o->latency_us = (uint64_t)(number * unit_us + 0.5);
	return true;
}

static bool read_latency_us(struct observation *o, struct slice value)
{
	return read_latency(o, value, 1);
}

static bool read_latency_ms(struct observation *o, struct slice value)
{
	return read_latency(o, value, 1e3);
}

static bool read_latency_s(struct observation *o, struct slice value)
{
	return read_latency(o, value, 1e6);
}

/* An outcome that is worse stands: a server may say status and outcome, or a score that is none. */
static void worsen(struct observation *o, enum observed_outcome outcome)
{
	o->request = true;
	if (o->outcome == OBSERVED_OK)
		o->outcome = outcome;
}

/* Of HTTP. What the client did wrong is no failure of the model: 4xx counts as served. */
static bool read_status(struct observation *o, struct slice value)
{
	uint64_t status;

	if (!read_whole(value, 599, &status) || status < 100)
		return false;
	worsen(o, status == 408 || status == 504 ? OBSERVED_TIMEOUT
		  : status >= 500		 ? OBSERVED_ERROR
						 : OBSERVED_OK);
	return true;
}

static bool is(struct slice a, const char *word)
{
	return a.size == strlen(word) && memcmp(a.text, word, a.size) == 0;
}

static bool read_outcome(struct observation *o, struct slice value)
{
	static const char *const words[] = {"ok", "error", "timeout", "invalid"};

	_Static_assert(sizeof(words) / sizeof(words[0]) == OBSERVED_OUTCOME_COUNT, "a word each");
	for (enum observed_outcome i = 0; i < OBSERVED_OUTCOME_COUNT; i++)
		if (is(value, words[i])) {
			worsen(o, i);
			return true;
		}
	return false;
}

static bool add_value(struct observation *o, struct slice name, struct slice text)
{
	struct observed_value *value = &o->values[o->values_count];

	if (o->values_count == LIMIT_FEATURES || name.size == 0 || name.size > LIMIT_FEATURE ||
	    text.size > LIMIT_FEATURE)
		return false;
	*value = (struct observed_value){.name = name.text,
					 .text = text.text,
					 .name_size = (uint16_t)name.size,
					 .text_size = (uint16_t)text.size,
					 .number = NAN};
	value->is_number = observation_number(text.text, text.size, &value->number);
	o->values_count++;
	return true;
}

static bool read_class(struct observation *o, struct slice value)
{
	o->request = true;
	return add_value(o, (struct slice){FEATURE_CLASS, strlen(FEATURE_CLASS)}, value);
}

static bool read_score(struct observation *o, struct slice value)
{
	if (!add_value(o, (struct slice){FEATURE_SCORE, strlen(FEATURE_SCORE)}, value))
		return false;
	worsen(o, isfinite(o->values[o->values_count - 1].number) ? OBSERVED_OK : OBSERVED_INVALID);
	return true;
}

static bool read_label(struct observation *o, struct slice value)
{
	o->right = is(value, "right");
	o->has_label = o->right || is(value, "wrong");
	return o->has_label;
}

static bool read_times(struct observation *o, struct slice value)
{
	uint64_t times;

	if (!read_whole(value, OBSERVE_TIMES_MAX, &times) || times == 0)
		return false;
	o->times = times;
	return true;
}

static bool read_lost(struct observation *o, struct slice value)
{
	uint64_t lost;

	if (!read_whole(value, 1ull << 40, &lost))
		return false;
	o->lost = lost;
	return true;
}

static const struct {
	const char *name;
	bool (*read)(struct observation *o, struct slice value);
} fields[] = {
	{"latency_us", read_latency_us}, {"latency_ms", read_latency_ms},
	{"latency_s", read_latency_s},	 {"status", read_status},
	{"outcome", read_outcome},	 {FEATURE_CLASS, read_class},
	{FEATURE_SCORE, read_score},	 {"label", read_label},
	{"n", read_times},		 {"lost", read_lost},
};

static bool read_field(struct observation *o, struct slice word)
{
	const char *equals = memchr(word.text, '=', word.size);
	struct slice name = word, value;

	if (!equals) {
		o->begin = o->begin || is(word, "begin");
		o->end = o->end || is(word, "end");
		return is(word, "begin") || is(word, "end");
	}
	name.size = (size_t)(equals - word.text);
	value = (struct slice){equals + 1, word.size - name.size - 1};
	if (name.size > 2 && name.text[0] == 'x' && name.text[1] == '.')
		return add_value(o, (struct slice){name.text + 2, name.size - 2}, value);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (is(name, fields[i].name))
			return fields[i].read(o, value);
	return false;
}

/* ---- lines ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\0';
}

static struct slice next_word(const char **at, const char *end)
{
	struct slice word;

	while (*at < end && is_blank(**at))
		++*at;
	word.text = *at;
	while (*at < end && !is_blank(**at))
		++*at;
	word.size = (size_t)(*at - word.text);
	return word;
}

static void init(struct observation *o)
{
	o->begin = o->end = o->request = o->has_latency = o->has_label = o->right = false;
	o->times = 1;
	o->latency_us = o->lost = 0;
	o->outcome = OBSERVED_OK;
	o->strange = 0;
	o->values_count = 0; /* the values behind it are not looked at */
}

bool observation_next(const char **at, const char *end, struct observation *o)
{
	init(o);
	while (*at < end) {
		const char *newline = memchr(*at, '\n', (size_t)(end - *at));
		const char *line_end = newline ? newline : end, *word_at = *at;
		struct slice word = next_word(&word_at, line_end);
		bool any = word.size > 0;

		*at = newline ? newline + 1 : end;
		for (; word.size > 0; word = next_word(&word_at, line_end))
			o->strange += !read_field(o, word);
		if (!any)
			continue;
		o->request = (o->request || o->end) && !o->begin;
		return true;
	}
	return false;
}
