/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a stage go on? The order of decision of the design ("Judgement"): failures and silence
 * beyond their limits first, then a statistical verdict of harm, then the bake; evidence is asked
 * for only where a gate says `require: evidence`. Pure arithmetic over counts.
 */
#pragma once

#include "coordinator/core/event.h"
#include "covey/policy.h"

enum gate_decision { GATE_CONTINUE, GATE_PASS, GATE_FAIL, GATE_HOLD, GATE_DECISION_COUNT };

struct gate_counts { /* of all stages that were opened; nodes that are gone do not count */
	uint32_t opened;  /* nodes of those stages */
	uint32_t changed; /* told to serve the release, or serving it already */
	uint32_t failed;  /* rolled back, failed, or past their deadline */
	uint32_t silent;  /* unreachable now, changed or not */
	uint32_t lost;	  /* changed, and unreachable for longer than the node deadline */
};

struct gate_stage { /* of the stage in question */
	uint32_t done;	   /* serve the release, committed (prepare: proven) */
	uint32_t open;	   /* reachable, neither done nor failed, or silent and not yet lost */
	bool bake_over;
	bool deadline_over; /* the stage's, or that of the evidence */
	bool skip_wait;	   /* promoted: bake and evidence are not waited for */
};

struct gate_evidence { /* from statistics; all zero when there are none */
	enum verdict verdict;
	bool required;	/* some gate says `require: evidence` */
	const struct rollout_why *why; /* of the verdict; may be NULL */
};

struct gate_input {
	const struct failure_spec *limits;
	struct gate_counts counts;
	struct gate_stage stage;
	struct gate_evidence evidence;
	enum inconclusive_kind on_inconclusive;
};

struct gate_result {
	enum gate_decision decision;
	bool has_evidence; /* false is shown as `evidence: none` */
	struct rollout_why why; /* phase "" with CONTINUE and PASS */
};

/* Failure limits alone: true when they are exceeded; why may be NULL. Count: more than
 * limits->nodes (unused when it is 0 and a percentage is given). Percent: of the changed nodes.
 * Lost: more than the share of the changed nodes. */
bool gate_limits_exceeded(const struct failure_spec *limits, const struct gate_counts *counts,
			  struct rollout_why *ret_why);
/* Nobody new while more changed nodes are silent than may be lost. */
bool gate_too_silent(const struct failure_spec *limits, uint32_t changed, uint32_t changed_silent);

void gate_decide(const struct gate_input *input, struct gate_result *ret_result);
