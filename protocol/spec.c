/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deployment is checked for sense before anything is planned from it. Every sentence begins with
 * the field as a person wrote it in the YAML file, so that `covey lint` and a refusal by the
 * coordinator read the same. Only what is wrong on every fleet is refused here; what depends on
 * the nodes is the plan's business.
 */
#include "protocol/spec.h"
#include "base/mem.h"
#include "base/selector.h"
#include "base/str.h"
#include "base/window.h"
#include "protocol/codec_tables.h"
#include "protocol/manifest.h"

#include <inttypes.h>
#include <math.h>

static const uint64_t second_ms = 1000, minute_ms = 60 * 1000, hour_ms = 60 * 60 * 1000,
                      year_ms = UINT64_C(365) * 24 * 60 * 60 * 1000;

void deployment_spec_defaults(struct deployment_spec *spec)
{
	*spec = (struct deployment_spec){
	    .swap = SWAP_START_FIRST,
	    .drain_ms = 30 * second_ms,
	    .keep_warm_ms = 10 * minute_ms,
	    .strategy = STRATEGY_CANARY,
	    .stages = mem_array(1, sizeof(*spec->stages)),
	    .stages_count = 1,
	    .batch = {.percent = true, .value = 20},
	    .batch_bake_ms = minute_ms,
	    .promote = PROMOTE_AUTO,
	    .max_unavailable = {.percent = true, .value = 20},
	    .failures = {.unreachable = {.percent = true, .value = 20}},
	    .deadlines = {.node_ms = 10 * minute_ms,
	                  .stage_ms = 2 * hour_ms,
	                  .rollout_ms = 24 * hour_ms},
	    .on_inconclusive = INCONCLUSIVE_HOLD,
	};
	spec->stages[0] = (struct stage_spec){.nodes = {.value = 1}, .bake_ms = 5 * minute_ms};
}

void deployment_spec_free(struct deployment_spec *spec)
{
	codec_free(&codec_deployment_spec, spec);
}

/* ---- single values ---- */

static int check_share(const struct share *share, bool may_be_zero, const char *field,
                       struct err *err)
{
	if (share->percent && share->value > 100)
		return err_set(err, -EINVAL, "%s: %u%% is more than all", field, share->value);
	if (!share->value && !may_be_zero)
		return err_set(err, -EINVAL, "%s: 0 would never change a node", field);
	return 0;
}

static int check_time(uint64_t ms, const char *field, struct err *err)
{
	if (ms <= year_ms)
		return 0;
	return err_set(err, -EINVAL, "%s: at most 365d are allowed", field);
}

static int check_names(const struct deployment_spec *spec, struct err *err)
{
	static const char *const names =
	    "a name has 1 to 63 of a-z, 0-9, '-' and '.', and begins with a letter or a digit";
	int r;

	if (!name_is_valid(spec->name))
		return err_set(err, -EINVAL, "deployment: %s", names);
	if (!name_is_valid(spec->model))
		return err_set(err, -EINVAL, "release: it is written model@version: %s", names);
	if (!version_is_valid(spec->version))
		return err_set(
		    err, -EINVAL,
		    "release: it is written model@version: a version has 1 to 63 letters, "
		    "digits, '.', '_', '+' and '-', and begins with a letter or a digit");
	r = selector_check(spec->selector, err);
	return r < 0 ? err_prefix(err, r, "nodes") : 0;
}

/* ---- the strategy ---- */

enum { FIELD_NAME_MAX = 64 };

static const char *stage_field(char dst[FIELD_NAME_MAX], size_t index, const char *name)
{
	snprintf(dst, FIELD_NAME_MAX, "strategy.canary.stages[%zu].%s", index, name);
	return dst;
}

static int check_stage(const struct stage_spec *stage, size_t index, struct err *err)
{
	const char *share = stage->nodes.percent ? "percent" : "nodes";
	char field[FIELD_NAME_MAX];
	int r;

	r = check_share(&stage->nodes, false, stage_field(field, index, share), err);
	if (r == 0)
		r = check_time(stage->bake_ms, stage_field(field, index, "bake"), err);
	if (r < 0 || !stage->where[0])
		return r;
	r = selector_check(stage->where, err);
	return r < 0 ? err_prefix(err, r, "%s", stage_field(field, index, "where")) : 0;
}

static int check_canary(const struct deployment_spec *spec, struct err *err)
{
	int r;

	if (!spec->stages_count || spec->stages_count > LIMIT_STAGES)
		return err_set(err, -EINVAL, "strategy.canary.stages: 1 to %d stages are needed",
		               LIMIT_STAGES);
	for (size_t i = 0; i < spec->stages_count; i++) {
		r = check_stage(&spec->stages[i], i, err);
		if (r < 0)
			return r;
	}
	r = check_share(&spec->batch, false, "strategy.canary.batch", err);
	return r < 0 ? r : check_time(spec->batch_bake_ms, "strategy.canary.batch_bake", err);
}

static int check_strategy(const struct deployment_spec *spec, struct err *err)
{
	int r;

	switch (spec->strategy) {
	case STRATEGY_CANARY:
		return check_canary(spec, err);
	case STRATEGY_BLUE_GREEN:
		return check_time(spec->batch_bake_ms, "strategy.blue_green.bake", err);
	case STRATEGY_ROLLING:
		r = check_share(&spec->batch, false, "strategy.rolling.batch", err);
		return r < 0 ? r : check_time(spec->batch_bake_ms, "strategy.rolling.bake", err);
	case STRATEGY_COUNT:
		break;
	}
	return err_set(err, -EINVAL, "strategy: canary, blue_green or rolling is needed");
}

/* ---- limits of a change ---- */

static int check_budgets(const struct deployment_spec *spec, struct err *err)
{
	int r;

	r = check_share(&spec->max_unavailable, false, "max_unavailable", err);
	if (r < 0)
		return r;
	if (!spec->per_label[0] && spec->per_label_nodes)
		return err_set(err, -EINVAL, "max_unavailable_per.label: a label is needed");
	if (spec->per_label[0]) {
		r = selector_check_label(spec->per_label, "", err);
		if (r < 0)
			return err_prefix(err, r, "max_unavailable_per.label");
		if (!spec->per_label_nodes)
			return err_set(err, -EINVAL,
			               "max_unavailable_per.nodes: 0 would never change a node");
	}
	if (spec->failures.percent > 100)
		return err_set(err, -EINVAL, "failures.percent: %u%% is more than all",
		               spec->failures.percent);
	return check_share(&spec->failures.unreachable, true, "failures.unreachable", err);
}

static int too_short(struct err *err, const char *deadline, uint64_t ms, const char *what,
                     uint64_t needed_ms)
{
	char has[STR_DURATION_MAX], needs[STR_DURATION_MAX];

	str_format_duration(has, ms);
	str_format_duration(needs, needed_ms);
	return err_set(err, -EINVAL, "deadlines.%s: %s is too short: %s %s", deadline, has, what,
	               needs);
}

/* What follows the stages that are written: the rest of a canary, a batch, or everybody. */
static int check_bakes(const struct deployment_spec *spec, struct err *err)
{
	const struct deadline_spec *deadlines = &spec->deadlines;
	uint64_t bakes_ms = spec->batch_bake_ms;
	char what[64];

	if (deadlines->stage_ms <= spec->batch_bake_ms)
		return too_short(err, "stage", deadlines->stage_ms,
		                 spec->strategy == STRATEGY_CANARY
		                     ? "the rest of a canary bakes for"
		                     : "the bake takes",
		                 spec->batch_bake_ms);
	for (size_t i = 0; spec->strategy == STRATEGY_CANARY && i < spec->stages_count; i++) {
		bakes_ms += spec->stages[i].bake_ms;
		if (deadlines->stage_ms > spec->stages[i].bake_ms)
			continue;
		snprintf(what, sizeof(what), "strategy.canary.stages[%zu] bakes for", i);
		return too_short(err, "stage", deadlines->stage_ms, what, spec->stages[i].bake_ms);
	}
	if (deadlines->rollout_ms <= bakes_ms)
		return too_short(err, "rollout", deadlines->rollout_ms, "the bakes alone take",
		                 bakes_ms);
	return 0;
}

static int check_times(const struct deployment_spec *spec, struct err *err)
{
	const struct {
		const char *field;
		uint64_t ms;
		bool needed;
	} times[] = {
	    {"drain", spec->drain_ms, false},
	    {"keep_warm", spec->keep_warm_ms, false},
	    {"deadlines.node", spec->deadlines.node_ms, true},
	    {"deadlines.stage", spec->deadlines.stage_ms, true},
	    {"deadlines.rollout", spec->deadlines.rollout_ms, true},
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		if (times[i].needed && !times[i].ms)
			return err_set(err, -EINVAL, "%s: 0 leaves no time for a change",
			               times[i].field);
		r = check_time(times[i].ms, times[i].field, err);
		if (r < 0)
			return r;
	}
	return check_bakes(spec, err);
}

static int check_timezone(const char *timezone, struct err *err)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+-";

	/* The name of a file below /usr/share/zoneinfo. */
	if (timezone[0] == '/' || timezone[strspn(timezone, letters)])
		return err_set(err, -EINVAL,
		               "windows.timezone: a time zone is written Europe/Paris or UTC");
	return 0;
}

static int check_windows(const struct window_spec *windows, struct err *err)
{
	int r;

	r = window_check(windows->download, err);
	if (r < 0)
		return err_prefix(err, r, "windows.download");
	r = window_check(windows->swap, err);
	if (r < 0)
		return err_prefix(err, r, "windows.switch");
	return check_timezone(windows->timezone, err);
}

/* ---- gates ---- */

static int check_gate(const struct gate_spec *gate, const struct deadline_spec *deadlines,
                      struct err *err)
{
	const struct {
		const char *field;
		double value;
	} numbers[] = {
	    {"tolerance", gate->tolerance},
	    {"margin", gate->margin},
	    {"weight", gate->weight},
	    {"slo", gate->slo},
	};

	if (!gate->metric[0])
		return err_set(err, -EINVAL, "metric: a metric is needed");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!isfinite(numbers[i].value) || numbers[i].value < 0)
			return err_set(err, -EINVAL, "%s: less than 0", numbers[i].field);
	if (gate->min_bake_ms >= deadlines->stage_ms)
		return err_set(err, -EINVAL, "min_bake: it does not fit into deadlines.stage");
	if (gate->deadline_ms && gate->deadline_ms < gate->min_bake_ms)
		return err_set(err, -EINVAL, "deadline: it is shorter than min_bake");
	if (check_time(gate->bound_ms, "bound", err) < 0)
		return -EINVAL;
	return check_time(gate->deadline_ms, "deadline", err);
}

static int check_gates(const struct deployment_spec *spec, struct err *err)
{
	int r;

	if (spec->gates_count > LIMIT_GATES)
		return err_set(err, -EINVAL, "gates: at most %d are allowed", LIMIT_GATES);
	for (size_t i = 0; i < spec->gates_count; i++) {
		r = check_gate(&spec->gates[i], &spec->deadlines, err);
		if (r < 0)
			return err_prefix(err, r, "gates[%zu]", i);
	}
	return 0;
}

int deployment_spec_check(const struct deployment_spec *spec, struct err *err)
{
	int r;

	r = check_names(spec, err);
	if (r == 0)
		r = check_strategy(spec, err);
	if (r == 0)
		r = check_budgets(spec, err);
	if (r == 0)
		r = check_times(spec, err);
	if (r == 0)
		r = check_windows(&spec->windows, err);
	if (r == 0)
		r = check_gates(spec, err);
	return r;
}
