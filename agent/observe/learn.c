/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers are kept as they are, single precision: edges of bins need no more. A feature is what its
 * first values are; one that calls itself a number and then sends words has NaNs. Of a category at
 * most LEARN_CATEGORIES values are told apart; the rest falls together as unseen, as it will when
 * it is counted.
 */
#include "agent/observe/learn.h"

#include "base/mem.h"
#include "base/str.h"
#include "evidence/build.h"

#include <math.h>

enum { LEARN_CATEGORIES = LIMIT_BINS - BINS_OUTER, LEARN_LEAST = 100 };

struct learned_value {
	char text[LIMIT_FEATURE + 1];
	uint64_t count;
};

struct learned_feature {
	char name[LIMIT_FEATURE + 1];
	enum feature_kind kind;
	float *numbers; /* LEARN_OBSERVATIONS */
	struct learned_value *values; /* LEARN_CATEGORIES */
	size_t count; /* of numbers, or of different values */
	uint64_t seen, unseen;
};

struct learn {
	struct learned_feature *features; /* LIMIT_FEATURES at most, as they come */
	size_t features_count;
	uint64_t observations;
	size_t expected;
};

struct learn *learn_create(void)
{
	return mem_alloc(sizeof(struct learn));
}

void learn_restart(struct learn *l)
{
	for (size_t i = 0; i < l->features_count; i++) {
		free(l->features[i].numbers);
		free(l->features[i].values);
	}
	free(l->features);
	*l = (struct learn){0};
}

void learn_free(struct learn *l)
{
	learn_restart(l);
	free(l);
}

static bool is_named(const struct learned_feature *f, const struct observed_value *value)
{
	return memcmp(f->name, value->name, value->name_size) == 0 &&
	       f->name[value->name_size] == '\0';
}

static struct learned_feature *add_feature(struct learn *l, const struct observed_value *value)
{
	struct learned_feature *f;

	if (l->features_count == LIMIT_FEATURES)
		return NULL;
	l->features = mem_resize(l->features, l->features_count + 1, sizeof(*l->features));
	f = &l->features[l->features_count++];
	*f = (struct learned_feature){0};
	memcpy(f->name, value->name, value->name_size);
	f->kind = value->is_number && !str_equal(f->name, FEATURE_CLASS) ? FEATURE_NUMERIC
									  : FEATURE_CATEGORICAL;
	if (f->kind == FEATURE_NUMERIC)
		f->numbers = mem_array(LEARN_OBSERVATIONS, sizeof(*f->numbers));
	else
		f->values = mem_array(LEARN_CATEGORIES, sizeof(*f->values));
	return f;
}

static struct learned_feature *feature_of(struct learn *l, const struct observed_value *value)
{
	if (l->expected >= l->features_count || !is_named(&l->features[l->expected], value)) {
		for (l->expected = 0; l->expected < l->features_count; l->expected++)
			if (is_named(&l->features[l->expected], value))
				break;
		if (l->expected == l->features_count)
			return add_feature(l, value);
	}
	return &l->features[l->expected++];
}

static void count_text(struct learned_feature *f, const struct observed_value *value,
		       uint64_t times)
{
	struct learned_value *at = f->values, *end = f->values + f->count;

	while (at < end && !(memcmp(at->text, value->text, value->text_size) == 0 &&
			     at->text[value->text_size] == '\0'))
		at++;
	if (at == end) {
		if (f->count == LEARN_CATEGORIES) {
			f->unseen += times;
			return;
		}
		memcpy(at->text, value->text, value->text_size);
		f->count++;
	}
	at->count += times;
}

void learn_take(struct learn *l, const struct observation *o)
{
	if (o->values_count == 0 || learn_is_done(l))
		return;
	l->observations++;
	for (size_t i = 0; i < o->values_count; i++) {
		const struct observed_value *value = &o->values[i];
		struct learned_feature *f = feature_of(l, value);

		if (!f)
			continue;
		f->seen++;
		if (f->kind == FEATURE_CATEGORICAL)
			count_text(f, value, 1);
		else if (f->count < LEARN_OBSERVATIONS)
			f->numbers[f->count++] = (float)value->number;
	}
}

bool learn_is_done(const struct learn *l)
{
	return l->observations >= LEARN_OBSERVATIONS;
}

/* ---- making bins ---- */

static int finish_numeric(const struct learned_feature *from, struct baseline_feature *ret_feature,
			  struct err *err)
{
	AUTO_FREE double *numbers = mem_array(from->count, sizeof(*numbers));

	for (size_t i = 0; i < from->count; i++)
		numbers[i] = (double)from->numbers[i];
	return build_numeric(from->name, numbers, from->count, BUILD_BINS, ret_feature, err);
}

static int finish_categorical(const struct learned_feature *from,
			      struct baseline_feature *ret_feature, struct err *err)
{
	struct build_value values[LEARN_CATEGORIES];
	int r;

	for (size_t i = 0; i < from->count; i++)
		values[i] = (struct build_value){from->values[i].text, from->values[i].count};
	r = build_categorical(from->name, values, from->count, ret_feature, err);
	if (r == 0)
		ret_feature->counts[ret_feature->values_count + BIN_UNSEEN] += from->unseen;
	return r;
}

int learn_finish(struct learn *l, struct baseline *ret_baseline, struct err *err)
{
	struct baseline baseline = {.observations = l->observations};

	baseline.features = mem_array(l->features_count + 1, sizeof(*baseline.features));
	for (size_t i = 0; i < l->features_count; i++) {
		const struct learned_feature *from = &l->features[i];
		struct baseline_feature *to = &baseline.features[baseline.features_count];
		int r = from->seen < LEARN_LEAST	      ? -ENODATA
			: from->kind == FEATURE_NUMERIC ? finish_numeric(from, to, err)
							: finish_categorical(from, to, err);

		baseline.features_count += r == 0;
	}
	if (baseline.features_count == 0) {
		build_free(&baseline);
		return err_set(err, -ENODATA, "no feature was seen often enough");
	}
	build_finish(&baseline);
	*ret_baseline = baseline;
	return 0;
}
