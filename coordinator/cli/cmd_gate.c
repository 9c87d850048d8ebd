/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `covey gate replay`: what a statistical gate says to evidence that somebody wrote down. The same
 * code that judges a rollout, so that a verdict can be checked by hand: one test at a time, or all
 * gates of an ended rollout as `covey rollout show -o json` prints it. Needs no coordinator.
 */
#include "coordinator/cli/cmd.h"

#include "coordinator/cli/file.h"
#include "coordinator/cli/replay.h"
#include "coordinator/stats/detector.h"
#include "coordinator/stats/drift.h"
#include "coordinator/stats/exact.h"
#include "coordinator/stats/numeric.h"
#include "coordinator/stats/promised.h"
#include "coordinator/stats/rate_ratio.h"
#include "coordinator/stats/share_null.h"

#include <math.h>
#include <string.h>

enum { EVIDENCE_MAX = 16 << 20, FIELDS_MAX = 8 };

#define ALPHA 0.05 /* false halts, and false promotions */
#define REQUIRED NAN

struct replay {
	const char *file;
	const json_t *evidence;
	struct err *err;
};

struct gate_test {
	const char *name;
	int (*run)(const struct replay *replay, json_t **ret_result);
	const char *fields[FIELDS_MAX]; /* beside "test" */
};

/* ---- fields ---- */

static int wrong(const struct replay *replay, const char *field, const char *what)
{
	return err_set(replay->err, -EINVAL, "%s: %s: %s", replay->file, field, what);
}

/* The sentence for what a test did not take of a field. */
static int refused(const struct replay *replay, int r, const char *field, const char *what)
{
	return r < 0 ? wrong(replay, field,
	                     r == -ERANGE ? "the counts are too large; write at "
	                                    "most 1000000000 in all"
	                                  : what)
	             : 0;
}

/* fallback REQUIRED: the field must be there. */
static int read_number(const struct replay *replay, const char *field, double fallback,
                       double *ret_number)
{
	const json_t *value = json_object_get(replay->evidence, field);

	if (!value && isnan(fallback))
		return wrong(replay, field, "is missing; write a number");
	if (value && !json_is_number(value))
		return wrong(replay, field, "is not a number");
	*ret_number = value ? json_number_value(value) : fallback;
	return 0;
}

/* A probability: more than 0 and less than 1. */
static int read_share(const struct replay *replay, const char *field, double fallback,
                      double *ret_share)
{
	int r = read_number(replay, field, fallback, ret_share);

	if (r == 0 && !(*ret_share > 0 && *ret_share < 1))
		return wrong(replay, field, "write a number between 0 and 1, and neither of them");
	return r;
}

static int check_count(const struct replay *replay, const json_t *value, const char *field,
                       uint64_t *ret_count)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    (uint64_t)json_integer_value(value) > STATS_COUNT_MAX)
		return wrong(replay, field,
		             value ? "write a whole number from 0 to 1000000000"
		                   : "is missing; write a whole number from 0 to 1000000000");
	*ret_count = (uint64_t)json_integer_value(value);
	return 0;
}

/* Exactly `size` counts of an array that people know as `field`. */
static int check_counts(const struct replay *replay, const json_t *array, const char *field,
                        uint64_t *ret_counts, size_t size)
{
	char place[64];

	if (!json_is_array(array) || json_array_size(array) != size) {
		snprintf(place, sizeof(place), "write a list of %zu whole numbers", size);
		return wrong(replay, field, place);
	}
	for (size_t i = 0; i < size; i++) {
		int r;

		snprintf(place, sizeof(place), "%s[%zu]", field, i);
		r = check_count(replay, json_array_get(array, i), place, &ret_counts[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* "periods": [[n_c, n_b, x_c, x_b], ...] */
static int read_periods(const struct replay *replay, const json_t **ret_periods)
{
	const json_t *periods = json_object_get(replay->evidence, "periods");

	if (!json_is_array(periods) || !json_array_size(periods))
		return wrong(replay, "periods",
		             "write a list of [attempts of the canary, of the control, bad events "
		             "of the canary, of the control]");
	*ret_periods = periods;
	return 0;
}

static int read_period(const struct replay *replay, const json_t *periods, size_t i, char field[32],
                       uint64_t n[4])
{
	snprintf(field, 32, "periods[%zu]", i);
	return check_counts(replay, json_array_get(periods, i), field, n, 4);
}

/* JSON has no infinity: null. */
static json_t *real(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

/* ---- the tests ---- */

static int add_rate_periods(const struct replay *replay, struct rate_ratio *ratio)
{
	const json_t *periods = NULL;
	char field[32];
	uint64_t n[4];
	int r = read_periods(replay, &periods);

	for (size_t i = 0; r == 0 && i < json_array_size(periods); i++) {
		r = read_period(replay, periods, i, field, n);
		if (r == 0)
			r = refused(
			    replay,
			    rate_ratio_add(ratio, &(struct rate_period){n[0], n[1], n[2], n[3]}),
			    field, "bad events without an attempt");
	}
	return r;
}

static int run_rate_ratio(const struct replay *replay, json_t **ret_result)
{
	double tolerance = 0, margin = 0, alpha = 0, beta = 0, lo, hi, halt, promote;
	struct rate_ratio ratio;
	int r = read_number(replay, "tolerance", 1, &tolerance);

	if (r == 0)
		r = read_number(replay, "margin", 2, &margin);
	if (r == 0)
		r = read_share(replay, "alpha", ALPHA, &alpha);
	if (r == 0)
		r = read_share(replay, "beta", ALPHA, &beta);
	if (r < 0)
		return r;
	if (rate_ratio_init(&ratio, tolerance, 16) < 0)
		return wrong(replay, "tolerance", "write a ratio from 0.0625 to less than 16");
	if (rate_ratio_init(&ratio, tolerance, margin) < 0)
		return wrong(replay, "margin", "write a ratio of more than 0.0625, at most 16");
	r = add_rate_periods(replay, &ratio);
	if (r < 0)
		return r;
	halt = rate_ratio_ln_halt(&ratio);
	promote = rate_ratio_ln_promote(&ratio);
	rate_ratio_bounds(&ratio, alpha, &lo, &hi);
	*ret_result =
	    json_pack("{sososososs}", "ln_e_halt", real(halt), "ln_e_promote", real(promote),
	              "ratio_lo", real(lo), "ratio_hi", real(hi), "verdict",
	              halt >= -log(alpha)     ? "fail"
	              : promote >= -log(beta) ? "pass"
	                                      : "inconclusive");
	return 0;
}

static int run_exact(const struct replay *replay, json_t **ret_result)
{
	struct exact exact = {0};
	const json_t *periods = NULL;
	char field[32];
	uint64_t n[4];
	int r = read_periods(replay, &periods);

	for (size_t i = 0; r == 0 && i < json_array_size(periods); i++) {
		r = read_period(replay, periods, i, field, n);
		if (r == 0)
			r = refused(replay, exact_add(&exact, n[0], n[1], n[2], n[3]), field,
			            "more bad events than attempts");
	}
	if (r == 0)
		*ret_result = json_pack("{so}", "ln_e_halt", real(exact_ln_halt(&exact)));
	return r;
}

static int run_hierarchical(const struct replay *replay, json_t **ret_result)
{
	double pi0 = 0, m;
	uint64_t events[2];
	struct share_null null;
	int r = read_share(replay, "pi0", REQUIRED, &pi0);

	if (r == 0)
		r = read_number(replay, "m", REQUIRED, &m);
	if (r == 0)
		r = check_counts(replay, json_object_get(replay->evidence, "events"), "events",
		                 events, 2);
	if (r == 0)
		r = refused(replay, share_null_init(&null, pi0, m, 1, 2), "m",
		            "write a number up to 1000000000 with m pi0 and m (1 - pi0) at least "
		            "0.001");
	if (r == 0)
		r = refused(replay, share_null_add(&null, events[0], events[1], pi0), "events", "");
	if (r == 0)
		*ret_result = json_pack("{so}", "ln_e_halt", real(share_null_ln_halt(&null)));
	return r;
}

static int run_absolute(const struct replay *replay, json_t **ret_result)
{
	double slo = 0;
	uint64_t n = 0, x = 0;
	struct promised promised;
	int r = read_share(replay, "slo", REQUIRED, &slo);

	if (r == 0)
		r = check_count(replay, json_object_get(replay->evidence, "n"), "n", &n);
	if (r == 0)
		r = check_count(replay, json_object_get(replay->evidence, "x"), "x", &x);
	if (r == 0)
		r = refused(replay, promised_init(&promised, slo), "slo", "");
	if (r == 0)
		r = refused(replay, promised_add(&promised, n, x), "x",
		            "more failures than requests");
	if (r == 0)
		*ret_result =
		    json_pack("{so}", "ln_e_promote", real(promised_ln_promote(&promised)));
	return r;
}

static int read_bins(const struct replay *replay, uint64_t *baseline, uint64_t *window,
                     struct drift_counts *ret_counts)
{
	const json_t *bins = json_object_get(replay->evidence, "baseline");
	size_t size = json_array_size(bins);
	int r;

	if (size < 2 || size > DRIFT_BINS_MAX)
		return wrong(replay, "baseline", "write a list of 2 to 4096 counts");
	r = check_counts(replay, bins, "baseline", baseline, size);
	if (r == 0)
		r = check_counts(replay, json_object_get(replay->evidence, "window"), "window",
		                 window, size);
	*ret_counts = (struct drift_counts){baseline, window, size};
	return r;
}

static int run_drift(const struct replay *replay, json_t **ret_result)
{
	uint64_t baseline[DRIFT_BINS_MAX], window[DRIFT_BINS_MAX], total = 0;
	struct drift_counts counts;
	struct drift_scores s;
	double m1, m, alpha, ln_e = 0;
	int r = read_bins(replay, baseline, window, &counts);

	for (size_t i = 0; r == 0 && i < counts.bins; i++)
		total += baseline[i];
	if (r == 0)
		r = read_number(replay, "m1", DRIFT_M1, &m1);
	if (r == 0)
		r = read_number(replay, "m", drift_concentration(total, counts.bins, DRIFT_WOBBLE),
		                &m);
	if (r == 0)
		r = read_share(replay, "alpha", DRIFT_ALPHA, &alpha);
	if (r == 0 && alpha < DRIFT_ALPHA_MIN)
		r = wrong(replay, "alpha", "write at least 1e-12");
	if (r == 0)
		r = refused(replay, drift_score(&counts, alpha, &s), total ? "window" : "baseline",
		            "holds no observation");
	if (r == 0)
		r = refused(replay, drift_ln_e(&counts, m1, m, &ln_e), m1 > 0 ? "m" : "m1",
		            "write a number of more than 0");
	if (r == 0)
		*ret_result = json_pack("{sososososo}", "psi", real(s.psi.value), "psi_critical",
		                        real(s.psi.critical), "js", real(s.js.value), "js_critical",
		                        real(s.js.critical), "ln_e", real(ln_e));
	return r;
}

static int run_sr(const struct replay *replay, json_t **ret_result)
{
	const char *outcomes = json_string_value(json_object_get(replay->evidence, "outcomes"));
	AUTO_JSON json_t *alarms = NULL;
	struct detector detector;
	double p0, threshold;
	int r = read_share(replay, "p0", REQUIRED, &p0);

	if (r == 0)
		r = read_number(replay, "threshold", DETECTOR_THRESHOLD, &threshold);
	if (r == 0)
		r = refused(replay, detector_init(&detector, p0, threshold), "threshold",
		            "write a number of more than 1, at most 1e300");
	if (r < 0)
		return r;
	if (!outcomes || outcomes[strspn(outcomes, "01")])
		return wrong(replay, "outcomes", "write a text of 0 (good) and 1 (bad)");
	alarms = json_array();
	for (size_t i = 0; outcomes[i]; i++)
		if (detector_add(&detector, outcomes[i] == '1'))
			json_array_append_new(alarms, json_integer((json_int_t)i + 1));
	*ret_result = json_pack("{sO}", "alarms", alarms);
	return 0;
}

static const struct gate_test tests[] = {
    {"rate_ratio", run_rate_ratio, {"periods", "tolerance", "margin", "alpha", "beta"}},
    {"exact", run_exact, {"periods", "tolerance", "margin", "alpha", "beta"}},
    {"hierarchical", run_hierarchical, {"events", "pi0", "m"}},
    {"absolute", run_absolute, {"n", "x", "slo"}},
    {"drift", run_drift, {"baseline", "window", "m1", "m", "alpha"}},
    {"sr", run_sr, {"p0", "threshold", "outcomes"}},
};

/* ---- the verb ---- */

static int read_evidence(const struct replay *replay, json_t **ret_evidence)
{
	struct bytes data = {0};
	json_error_t error;
	int r = file_read(replay->file, EVIDENCE_MAX, &data, replay->err);

	if (r < 0)
		return r;
	*ret_evidence =
	    json_loadb((const char *)data.data, data.size, JSON_REJECT_DUPLICATES, &error);
	free(data.data);
	if (!*ret_evidence)
		return err_set(replay->err, -EINVAL, "%s:%d: this is not JSON: %s", replay->file,
		               error.line, error.text);
	if (!json_is_object(*ret_evidence))
		return err_set(replay->err, -EINVAL, "%s: write one object, {\"test\": ...}",
		               replay->file);
	return 0;
}

static const struct gate_test *find_test(const struct replay *replay)
{
	const char *name = json_string_value(json_object_get(replay->evidence, "test"));

	for (size_t i = 0; name && i < ARRAY_SIZE(tests); i++)
		if (str_equal(tests[i].name, name))
			return &tests[i];
	(void)wrong(replay, "test", "write rate_ratio, exact, hierarchical, absolute, drift or sr");
	return NULL;
}

/* A field that is written wrong would silently leave a default in its place. */
static int check_fields(const struct replay *replay, const struct gate_test *test)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)replay->evidence, key, value)
	{
		bool known = str_equal(key, "test");

		for (size_t i = 0; i < FIELDS_MAX && test->fields[i]; i++)
			known = known || str_equal(key, test->fields[i]);
		if (!known)
			return wrong(replay, key, "this test has no such field");
	}
	return 0;
}

static const struct column columns[] = {
    {"ln E halt", "ln_e_halt", COLUMN_TEXT, false},
    {"ln E promote", "ln_e_promote", COLUMN_TEXT, false},
    {"ratio from", "ratio_lo", COLUMN_TEXT, false},
    {"ratio to", "ratio_hi", COLUMN_TEXT, false},
    {"verdict", "verdict", COLUMN_TEXT, false},
    {"PSI", "psi", COLUMN_TEXT, false},
    {"PSI of noise", "psi_critical", COLUMN_TEXT, false},
    {"JS distance", "js", COLUMN_TEXT, false},
    {"JS of noise", "js_critical", COLUMN_TEXT, false},
    {"ln E", "ln_e", COLUMN_TEXT, false},
    {"alarms", "alarms", COLUMN_TEXT, false},
    {0},
};

static const struct column gate_columns[] = {
    {"GATE", "metric", COLUMN_TEXT, false},
    {"TEST", "test", COLUMN_TEXT, false},
    {"LN E", "ln_e_halt", COLUMN_TEXT, false},
    {"LN E PROMOTE", "ln_e_promote", COLUMN_TEXT, true},
    {"RATIO FROM", "ratio_lo", COLUMN_TEXT, false},
    {"TO", "ratio_hi", COLUMN_TEXT, false},
    {"VERDICT", "verdict", COLUMN_STATE, false},
    {"RECORDED", "recorded", COLUMN_STATE, false},
    {0},
};

static int replay_gates(struct cli *cli, const json_t *rollout)
{
	AUTO_JSON json_t *gates = NULL;

	if (replay_rollout(cli->options.args[0], rollout, &gates, &cli->err) < 0)
		return EXIT_USAGE;
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, gates);
	else
		output_table(&cli->out, gate_columns, gates, "the rollout had no gates");
	return EXIT_DONE;
}

int cmd_gate_replay(struct cli *cli)
{
	struct replay replay = {.file = cli->options.args[0], .err = &cli->err};
	AUTO_JSON json_t *evidence = NULL;
	AUTO_JSON json_t *result = NULL;
	const struct gate_test *test;

	if (read_evidence(&replay, &evidence) < 0)
		return EXIT_USAGE;
	replay.evidence = evidence;
	if (replay_is_rollout(evidence))
		return replay_gates(cli, evidence);
	test = find_test(&replay);
	if (!test || check_fields(&replay, test) < 0 || test->run(&replay, &result) < 0)
		return EXIT_USAGE;
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, result);
	else
		output_object(&cli->out, columns, result);
	return EXIT_DONE;
}
