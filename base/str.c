/* SPDX-License-Identifier: Apache-2.0 */
/* Small text tools. Parsers here take whole strings: trailing characters are an error. */
#include "base/str.h"
#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

void str_free(struct str *s)
{
	free(s->data);
	*s = (struct str){0};
}

static void reserve(struct str *s, size_t more)
{
	size_t need = s->size + more + 1;

	if (need <= s->cap)
		return;
	s->cap = need * 2;
	s->data = mem_resize(s->data, s->cap, 1);
}

void str_add_bytes(struct str *s, const void *data, size_t size)
{
	reserve(s, size);
	if (size)
		memcpy(s->data + s->size, data, size);
	s->size += size;
	s->data[s->size] = 0;
}

void str_add(struct str *s, const char *text)
{
	str_add_bytes(s, text, strlen(text));
}

void str_addf(struct str *s, const char *format, ...)
{
	va_list args, again;
	int need;

	va_start(args, format);
	va_copy(again, args);
	need = vsnprintf(NULL, 0, format, args);
	va_end(args);
	assert(need >= 0);
	reserve(s, (size_t)need);
	vsnprintf(s->data + s->size, (size_t)need + 1, format, again);
	va_end(again);
	s->size += (size_t)need;
}

const char *str_get(const struct str *s)
{
	return s->data ? s->data : "";
}

int str_set(char *dst, size_t dst_size, const char *src)
{
	size_t size = strlen(src);

	if (size >= dst_size)
		return -ENAMETOOLONG;
	memcpy(dst, src, size + 1);
	return 0;
}

void str_cut(char *dst, size_t dst_size, const char *src)
{
	size_t size = strnlen(src, dst_size - 1);

	memmove(dst, src, size);
	dst[size] = 0;
}

bool str_equal(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

void str_hex(char *dst, const void *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++) {
		dst[2 * i] = digits[bytes[i] >> 4];
		dst[2 * i + 1] = digits[bytes[i] & 15];
	}
	dst[2 * size] = 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int str_unhex(uint8_t *dst, size_t size, const char *hex)
{
	if (strlen(hex) != 2 * size)
		return -EINVAL;
	for (size_t i = 0; i < 2 * size; i++)
		if (hex_digit(hex[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < size; i++)
		dst[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static int parse_unit(const char *text, const struct unit *units, uint64_t *ret)
{
	char *end;
	double value;

	if (!isdigit((unsigned char)text[0]) || strpbrk(text, "eExXpP"))
		return -EINVAL;
	value = strtod(text, &end);
	for (const struct unit *u = units; u->name; u++) {
		if (!str_equal(end, u->name))
			continue;
		value *= (double)u->factor;
		if (value > 9e15)
			return -ERANGE;
		*ret = (uint64_t)(value + 0.5);
		return 0;
	}
	return -EINVAL;
}

int str_parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct unit units[] = {{"ms", 1},	     {"s", 1000},     {"m", 60000},
					    {"h", 3600000}, {"d", 86400000}, {NULL, 0}};

	if (str_equal(text, "0")) {
		*ret_ms = 0;
		return 0;
	}
	return parse_unit(text, units, ret_ms);
}

int str_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{"", 1},	       {"B", 1},	     {"KiB", UINT64_C(1) << 10},
		{"MiB", UINT64_C(1) << 20}, {"GiB", UINT64_C(1) << 30}, {"TiB", UINT64_C(1) << 40},
		{NULL, 0}};

	return parse_unit(text, units, ret_bytes);
}

int str_parse_u64(const char *text, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (const char *c = text; *c; c++) {
		if (!isdigit((unsigned char)*c))
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value) || value > max)
			return -ERANGE;
	}
	*ret_value = value;
	return 0;
}

void str_format_duration(char dst[STR_DURATION_MAX], uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(dst, STR_DURATION_MAX, "%" PRIu64 "ms", ms);
	else if (s < 60)
		snprintf(dst, STR_DURATION_MAX, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(dst, STR_DURATION_MAX, s % 60 ? "%" PRIu64 "m%" PRIu64 "s" : "%" PRIu64 "m",
			 s / 60, s % 60);
	else if (s < 86400)
		snprintf(dst, STR_DURATION_MAX,
			 s % 3600 / 60 ? "%" PRIu64 "h%" PRIu64 "m" : "%" PRIu64 "h", s / 3600,
			 s % 3600 / 60);
	else
		snprintf(dst, STR_DURATION_MAX, "%" PRIu64 "d%" PRIu64 "h", s / 86400,
			 s % 86400 / 3600);
}

void str_format_size(char dst[STR_SIZE_MAX], uint64_t bytes)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1024 && i + 1 < ARRAY_SIZE(names)) {
		value /= 1024;
		i++;
	}
	snprintf(dst, STR_SIZE_MAX, i ? "%.1f %s" : "%.0f %s", value, names[i]);
}

void str_format_time(char dst[STR_TIME_MAX], uint64_t unix_ms)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	size_t used;

	gmtime_r(&seconds, &tm);
	used = strftime(dst, STR_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(dst + used, STR_TIME_MAX - used, ".%03uZ", (unsigned)(unix_ms % 1000));
}
