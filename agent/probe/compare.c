/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer must contain what is expected, and may contain more: every member of an expected
 * object must be there and match, arrays must have the same length, numbers may differ by the
 * tolerance. The first difference is told with its path and both values, cut to a readable length.
 */
#include "agent/probe/compare.h"

#include "base/mem.h"
#include "base/str.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 80, PATH_MAX_TEXT = 128, DEPTH_MAX = 64 };

/* A value in at most SHOWN_MAX printable characters. */
static void show(char dst[SHOWN_MAX], const json_t *value)
{
	AUTO_FREE char *text =
		json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII |
					  JSON_REAL_PRECISION(6));

	str_cut(dst, SHOWN_MAX, text ? text : "?");
	if (text && strlen(text) >= SHOWN_MAX)
		memcpy(dst + SHOWN_MAX - 4, "...", 4);
}

static int differs(const char *path, const json_t *expected, const json_t *got, struct err *err)
{
	char left[SHOWN_MAX], right[SHOWN_MAX];

	show(left, expected);
	show(right, got);
	return err_set(err, -EBADMSG, "%s%sexpected %s, got %s", path, path[0] ? ": " : "", left,
		       right);
}

static int compare(const char *path, const json_t *expected, const json_t *got, double tolerance,
		   unsigned depth, struct err *err);

static int compare_object(const char *path, const json_t *expected, const json_t *got,
			  double tolerance, unsigned depth, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)expected, key, value) {
		char below[PATH_MAX_TEXT];
		const json_t *other = json_object_get(got, key);
		int r;

		snprintf(below, sizeof(below), "%s%s%s", path, path[0] ? "." : "", key);
		if (!other)
			return err_set(err, -EBADMSG, "%s is missing", below);
		r = compare(below, value, other, tolerance, depth + 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_array(const char *path, const json_t *expected, const json_t *got,
			 double tolerance, unsigned depth, struct err *err)
{
	size_t count = json_array_size(expected);

	if (json_array_size(got) != count)
		return err_set(err, -EBADMSG, "%s%sexpected %zu items, got %zu", path,
			       path[0] ? ": " : "", count, json_array_size(got));
	for (size_t i = 0; i < count; i++) {
		char below[PATH_MAX_TEXT];
		int r;

		snprintf(below, sizeof(below), "%s[%zu]", path, i);
		r = compare(below, json_array_get(expected, i), json_array_get(got, i), tolerance,
			    depth + 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare(const char *path, const json_t *expected, const json_t *got, double tolerance,
		   unsigned depth, struct err *err)
{
	if (depth > DEPTH_MAX)
		return err_set(err, -EBADMSG, "%s: nested too deep", path);
	if (json_is_number(expected) && json_is_number(got))
		return fabs(json_number_value(expected) - json_number_value(got)) <= tolerance
			       ? 0
			       : differs(path, expected, got, err);
	if (json_typeof(expected) != json_typeof(got))
		return differs(path, expected, got, err);
	if (json_is_object(expected))
		return compare_object(path, expected, got, tolerance, depth, err);
	if (json_is_array(expected))
		return compare_array(path, expected, got, tolerance, depth, err);
	return json_equal(expected, got) ? 0 : differs(path, expected, got, err);
}

static int compare_json(const struct release_smoke *smoke, const void *body, size_t size,
			struct err *err)
{
	json_error_t error;
	json_t *expected = json_loads(smoke->expect_json, JSON_DECODE_ANY, &error);
	json_t *got = expected ? json_loadb(body, size, JSON_DECODE_ANY, &error) : NULL;
	int r;

	if (!expected)
		r = err_set(err, -EBADMSG, "the expected JSON of the release is not JSON");
	else if (!got)
		r = err_set(err, -EBADMSG, "the answer is not JSON (%s)", error.text);
	else
		r = compare("", expected, got, smoke->tolerance, 0, err);
	json_decref(expected);
	json_decref(got);
	return r;
}

static int compare_body(const struct release_smoke *smoke, const uint8_t *body, size_t size,
			struct err *err)
{
	size_t same = 0;

	while (same < size && same < smoke->expect_body.size &&
	       body[same] == smoke->expect_body.data[same])
		same++;
	if (same == size && same == smoke->expect_body.size)
		return 0;
	return err_set(err, -EBADMSG,
		       "the body differs from the expected one at byte %zu (%zu bytes expected, "
		       "%zu came)",
		       same, smoke->expect_body.size, size);
}

int compare_answer(const struct release_smoke *smoke, unsigned status, const void *body,
		   size_t size, struct err *err)
{
	int r = 0;

	if (smoke->expect_status != 0 && status != smoke->expect_status)
		return err_set(err, -EBADMSG, "expected status %u, got %u", smoke->expect_status,
			       status);
	if (smoke->expect_status == 0 && (status < 200 || status > 299))
		return err_set(err, -EBADMSG, "expected a status from 200 to 299, got %u", status);
	if (smoke->expect_json)
		r = compare_json(smoke, body, size, err);
	if (r == 0 && smoke->expect_contains &&
	    !memmem(body, size, smoke->expect_contains, strlen(smoke->expect_contains)))
		r = err_set(err, -EBADMSG, "the answer does not contain \"%.80s\"",
			    smoke->expect_contains);
	if (r == 0 && smoke->expect_body.size > 0)
		r = compare_body(smoke, body, size, err);
	return r;
}
