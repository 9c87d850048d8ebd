/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is NAME{LABEL="VALUE",...} NUMBER [TIME]; a wish is NAME or NAME{LABEL="VALUE"}, where a
 * value may end in *. Series that match a wish are added up, so labels that nobody asked for (path,
 * method) do not matter. A latency is known to its bucket only: it counts as the middle of it, on
 * canary and control alike.
 */
#include "agent/observe/metrics.h"

#include <math.h>

enum { LABELS_MAX = 32 };

struct slice {
	const char *text;
	size_t size;
};

struct label_pair {
	struct slice name, value;
};

struct series { /* a line, or a wish */
	struct slice name;
	struct label_pair labels[LABELS_MAX];
	size_t labels_count;
	double value;
};

/* ---- reading ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == ':';
}

static struct slice read_while(const char **at, const char *end, bool (*is)(char))
{
	struct slice slice = {*at, 0};

	while (*at < end && is(**at))
		++*at;
	slice.size = (size_t)(*at - slice.text);
	return slice;
}

static bool take(const char **at, const char *end, char c)
{
	read_while(at, end, is_blank);
	if (*at == end || **at != c)
		return false;
	++*at;
	return true;
}

/* "..." with \" inside; the value is compared as it is written. */
static bool read_quoted(const char **at, const char *end, struct slice *ret_value)
{
	if (!take(at, end, '"'))
		return false;
	ret_value->text = *at;
	while (*at < end && **at != '"')
		*at += **at == '\\' && *at + 1 < end ? 2 : 1;
	if (*at >= end)
		return false;
	ret_value->size = (size_t)(*at - ret_value->text);
	++*at;
	return true;
}

static bool read_labels(const char **at, const char *end, struct series *series)
{
	while (!take(at, end, '}')) {
		struct label_pair *pair = &series->labels[series->labels_count];

		if (series->labels_count == LABELS_MAX)
			return false;
		read_while(at, end, is_blank);
		pair->name = read_while(at, end, is_letter);
		if (pair->name.size == 0 || !take(at, end, '=') ||
		    !read_quoted(at, end, &pair->value))
			return false;
		series->labels_count++;
		take(at, end, ',');
	}
	return true;
}

static bool read_series(const char **at, const char *end, struct series *series)
{
	series->labels_count = 0;
	read_while(at, end, is_blank);
	series->name = read_while(at, end, is_letter);
	if (series->name.size == 0)
		return false;
	return !take(at, end, '{') || read_labels(at, end, series);
}

static bool is_not_blank(char c)
{
	return !is_blank(c);
}

static bool read_line(const char *at, const char *end, struct series *series)
{
	struct slice number;

	if (at == end || *at == '#' || !read_series(&at, end, series))
		return false;
	read_while(&at, end, is_blank);
	number = read_while(&at, end, is_not_blank);
	return observation_number(number.text, number.size, &series->value) &&
	       !isnan(series->value);
}

/* ---- wishes ---- */

static bool same(struct slice a, struct slice b)
{
	return a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
}

static bool value_matches(struct slice value, struct slice pattern)
{
	if (pattern.size == 0 || pattern.text[pattern.size - 1] != '*')
		return same(value, pattern);
	pattern.size--;
	return value.size >= pattern.size && memcmp(value.text, pattern.text, pattern.size) == 0;
}

static const struct slice *label_of(const struct series *series, struct slice name)
{
	for (size_t i = 0; i < series->labels_count; i++)
		if (same(series->labels[i].name, name))
			return &series->labels[i].value;
	return NULL;
}

/* suffix: "_bucket" for the wish that names a histogram, else "". */
static bool matches(const struct series *series, const char *wish, const char *suffix)
{
	const char *at = wish, *end = wish + strlen(wish);
	size_t extra = strlen(suffix);
	struct series wanted;

	if (!read_series(&at, end, &wanted) || series->name.size != wanted.name.size + extra ||
	    memcmp(series->name.text, wanted.name.text, wanted.name.size) != 0 ||
	    memcmp(series->name.text + wanted.name.size, suffix, extra) != 0)
		return false;
	for (size_t i = 0; i < wanted.labels_count; i++) {
		const struct slice *value = label_of(series, wanted.labels[i].name);

		if (!value || !value_matches(*value, wanted.labels[i].value))
			return false;
	}
	return true;
}

static void add_bucket(struct metrics *metrics, const struct series *series)
{
	const struct slice *text = label_of(series, (struct slice){"le", 2});
	size_t at = 0;
	double le;

	if (!text || !observation_number(text->text, text->size, &le) || isnan(le))
		return;
	while (at < metrics->buckets_count && metrics->buckets[at].le < le)
		at++;
	if (at == metrics->buckets_count || metrics->buckets[at].le > le) {
		if (metrics->buckets_count == METRICS_BUCKETS_MAX)
			return;
		memmove(&metrics->buckets[at + 1], &metrics->buckets[at],
			(metrics->buckets_count - at) * sizeof(metrics->buckets[0]));
		metrics->buckets[at] = (struct metrics_bucket){.le = le};
		metrics->buckets_count++;
	}
	metrics->buckets[at].count += series->value;
}

static void take_line(const struct series *series, const struct release_observe *wanted,
		      struct metrics *metrics)
{
	if (wanted->requests && matches(series, wanted->requests, "")) {
		metrics->has_requests = true;
		metrics->requests += series->value;
	}
	if (wanted->errors && matches(series, wanted->errors, "")) {
		metrics->has_errors = true;
		metrics->errors += series->value;
	}
	if (wanted->latency && matches(series, wanted->latency, "_bucket"))
		add_bucket(metrics, series);
	for (size_t i = 0; i < wanted->counters_count && i < LIMIT_NAMED_COUNTERS; i++)
		if (matches(series, wanted->counters[i].text, ""))
			metrics->counters[i] += series->value;
}

void metrics_read(const char *text, size_t size, const struct release_observe *wanted,
		  struct metrics *ret_metrics)
{
	const char *at = text, *end = text + size;
	struct series series;

	memset(ret_metrics, 0, sizeof(*ret_metrics));
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		if (read_line(at, newline ? newline : end, &series))
			take_line(&series, wanted, ret_metrics);
		at = newline ? newline + 1 : end;
	}
}

/* ---- rises ---- */

static uint64_t rise(double before, double now)
{
	double by = now < before ? now : now - before;

	return by > 0 && by < 1e15 ? (uint64_t)(by + 0.5) : 0;
}

static double cumulative(const struct metrics *metrics, double le)
{
	double count = 0;

	for (size_t i = 0; i < metrics->buckets_count && metrics->buckets[i].le <= le; i++)
		count = metrics->buckets[i].count;
	return count;
}

/* In microseconds. The last bucket has no end: twice its beginning stands for it. */
static uint64_t middle(double from, double to)
{
	double seconds = isinf(to) ? 2 * from : (from + to) / 2;

	return seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds * 1e6) : 0;
}

static void count_latencies(const struct metrics *before, const struct metrics *now,
			    struct tally *tally)
{
	static const struct metrics none;
	double from = 0;
	size_t last = now->buckets_count;

	if (last == 0)
		return;
	if (cumulative(before, INFINITY) > now->buckets[last - 1].count)
		before = &none; /* the server began anew */
	for (size_t i = 0; i < last; i++) {
		double to = now->buckets[i].le;
		double was = cumulative(before, to) - (i > 0 ? cumulative(before, from) : 0);
		double is = now->buckets[i].count - (i > 0 ? now->buckets[i - 1].count : 0);
		uint64_t count = is > was && is - was < 1e15 ? (uint64_t)(is - was + 0.5) : 0;

		if (count > 0)
			tally_latency(tally, middle(from, to), count);
		from = to;
	}
}

void metrics_count(const struct metrics *before, const struct metrics *now,
		   const struct release_observe *wanted, struct tally *tally, uint64_t now_ms)
{
	if (now->has_requests)
		tally_requests(tally, rise(before->requests, now->requests),
			       rise(before->errors, now->errors), now_ms);
	count_latencies(before, now, tally);
	for (size_t i = 0; i < wanted->counters_count && i < LIMIT_NAMED_COUNTERS; i++)
		tally_counter(tally, wanted->counters[i].text,
			      rise(before->counters[i], now->counters[i]));
}
