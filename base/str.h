/* SPDX-License-Identifier: Apache-2.0 */
/* Text: growing buffers, hex, and the units of Covey's files (times, sizes, shares). */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing, always NUL-terminated buffer. Zero-initialise; str_free() at the end. */
struct str {
	char *data; /* NULL while empty */
	size_t size; /* bytes without the NUL */
	size_t cap;
};

void str_free(struct str *s);
void str_add(struct str *s, const char *text);
void str_add_bytes(struct str *s, const void *data, size_t size);
void str_addf(struct str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *str_get(const struct str *s); /* never NULL */

#define AUTO_STR COVEY_CLEANUP(str_free)

/* Copies into a fixed field. Returns 0, or -ENAMETOOLONG and leaves dst as it was. */
int str_set(char *dst, size_t dst_size, const char *src) COVEY_MUST_CHECK;
#define STR_SET(dst, src) str_set((dst), sizeof(dst), (src))
/* Copies into a fixed field and cuts what does not fit: for text that people read. */
void str_cut(char *dst, size_t dst_size, const char *src);
#define STR_CUT(dst, src) str_cut((dst), sizeof(dst), (src))

bool str_equal(const char *a, const char *b);
bool str_starts(const char *text, const char *prefix);

void str_hex(char *dst, const void *data, size_t size); /* dst holds 2*size+1 */
int str_unhex(uint8_t *dst, size_t size, const char *hex) COVEY_MUST_CHECK; /* exactly 2*size */

/* "500ms" "2s" "5m" "24h" "7d" -> ms. A bare number is refused, except 0. */
int str_parse_duration(const char *text, uint64_t *ret_ms) COVEY_MUST_CHECK;
/* "64KiB" "512MiB" "2GiB" "100" (bytes) -> bytes. */
int str_parse_size(const char *text, uint64_t *ret_bytes) COVEY_MUST_CHECK;
/* A whole decimal number without sign, up to max. */
int str_parse_u64(const char *text, uint64_t max, uint64_t *ret_value) COVEY_MUST_CHECK;

enum { STR_DURATION_MAX = 32, STR_SIZE_MAX = 32, STR_TIME_MAX = 32 };
void str_format_duration(char dst[STR_DURATION_MAX], uint64_t ms); /* "1m30s", "250ms" */
void str_format_size(char dst[STR_SIZE_MAX], uint64_t bytes);	   /* "12.5 MiB" */
void str_format_time(char dst[STR_TIME_MAX], uint64_t unix_ms);	   /* RFC 3339, UTC, ms */
