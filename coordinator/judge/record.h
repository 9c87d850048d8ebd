/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge's journal: what was settled before a rollout, its closed periods, its verdicts. Entries
 * are written before anything is concluded from them, and replaying them gives the same judge; so
 * they are also what `rollout show -o json` prints and `gate replay` takes. And the state of a
 * deployment's watch, written whole. The tables below are data, no calls.
 */
#pragma once

#include "coordinator/judge/gather.h"
#include "coordinator/judge/judge.h"
#include "coordinator/judge/lookout.h"
#include "protocol/codec.h"

enum judge_entry_kind {
	JUDGE_START, JUDGE_FREEZE, JUDGE_PERIOD, JUDGE_VERDICT, JUDGE_QUARANTINE, JUDGE_ENTRY_COUNT
};

struct judge_rate {
	double value;
};

struct judge_member { /* struct gather_node */
	uint32_t stratum;
	struct gather_thresholds thresholds;
	struct judge_rate *rates; /* one for each gate */
	size_t rates_count;
};

struct judge_start {
	uint64_t period_ms;
	struct judge_gate *gates;
	size_t gates_count;
	struct judge_member *members; /* by index in the rollout */
	size_t members_count;
	struct gather_thresholds thresholds;
	struct digest baseline; /* zero: none */
	bool declared;
	struct bytes baseline_body; /* encoded struct baseline */
};

struct judge_entry {
	enum judge_entry_kind kind;
	uint64_t at_ms;
	uint64_t seen; /* id of the newest observation that had been taken */
	struct judge_start start;
	struct gather_thresholds thresholds; /* JUDGE_FREEZE */
	struct judge_period period;
	uint32_t decision, gate; /* JUDGE_VERDICT: enum judge_decision */
	char why[JUDGE_WHY + 1];
	uint32_t node; /* JUDGE_QUARANTINE */
};

extern const struct codec_struct codec_judge_entry, codec_lookout;
