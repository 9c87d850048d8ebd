/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Harm is decided before anything else, at every look; passing needs the bake; asking a person is
 * the last resort, at a deadline. So a verdict never depends on which of two reports came first
 * by a moment: the counts decide, not their order.
 */
#include "coordinator/core/gate.h"

#include "base/str.h"
#include "coordinator/core/share.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 4, 5))) static void say(struct rollout_why *why, const char *phase,
                                                      const char *check, const char *format, ...)
{
	va_list args;

	if (!why)
		return;
	STR_CUT(why->phase, phase);
	STR_CUT(why->check, check);
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
}

bool gate_limits_exceeded(const struct failure_spec *limits, const struct gate_counts *counts,
                          struct rollout_why *ret_why)
{
	uint32_t may_be_lost = share_down(limits->unreachable, counts->changed);
	bool count_used = limits->nodes > 0 || limits->percent == 0;

	if (count_used && counts->failed > limits->nodes) {
		say(ret_why, "coordinator", "failures", "%u of %u changed nodes failed, %u allowed",
		    counts->failed, counts->changed, limits->nodes);
		return true;
	}
	if (limits->percent > 0 &&
	    (uint64_t)counts->failed * 100 > (uint64_t)limits->percent * counts->changed) {
		say(ret_why, "coordinator", "failures",
		    "%u of %u changed nodes failed, %u %% allowed", counts->failed, counts->changed,
		    limits->percent);
		return true;
	}
	if (counts->lost > may_be_lost) {
		say(ret_why, "coordinator", "unreachable",
		    "%u of %u changed nodes have been silent for too long, %u allowed",
		    counts->lost, counts->changed, may_be_lost);
		return true;
	}
	return false;
}

bool gate_too_silent(const struct failure_spec *limits, uint32_t changed, uint32_t changed_silent)
{
	return changed_silent > share_down(limits->unreachable, changed);
}

/* The bake is over and nothing is open: may the stage pass as far as the nodes say? */
static bool nodes_suffice(const struct gate_input *input, struct rollout_why *ret_why)
{
	const struct gate_counts *counts = &input->counts;
	uint32_t may_be_silent = share_down(input->limits->unreachable, counts->opened);

	if (may_be_silent == 0 && input->limits->unreachable.value > 0)
		may_be_silent = 1; /* one node of few is away: that alone stops no rollout */
	if (counts->opened > 0 && input->stage.done == 0) {
		say(ret_why, "coordinator", "unreachable",
		    "no node of the open stages could be reached (%u silent)", counts->silent);
		return false;
	}
	if (counts->silent > may_be_silent) {
		say(ret_why, "coordinator", "unreachable",
		    "%u of %u nodes of the open stages are silent, %u allowed", counts->silent,
		    counts->opened, may_be_silent);
		return false;
	}
	return true;
}

static bool evidence_suffices(const struct gate_evidence *evidence, struct rollout_why *ret_why)
{
	if (!evidence->required || evidence->verdict == VERDICT_PASS)
		return true;
	if (evidence->why && evidence->verdict != VERDICT_NONE)
		*ret_why = *evidence->why;
	if (ret_why->text[0] == '\0')
		say(ret_why, "coordinator", "evidence",
		    "a gate requires evidence and there is not enough of it");
	return false;
}

static enum gate_decision inconclusive(const struct gate_input *input)
{
	if (!input->stage.deadline_over)
		return GATE_CONTINUE;
	switch (input->on_inconclusive) {
	case INCONCLUSIVE_PROMOTE:
		/* nothing ran anywhere: there is nothing to promote */
		return input->stage.done > 0 ? GATE_PASS : GATE_HOLD;
	case INCONCLUSIVE_ROLLBACK:
		return GATE_FAIL;
	case INCONCLUSIVE_PROMISED:
		return input->stage.done > 0 && input->evidence.verdict == VERDICT_PROMISED
		           ? GATE_PASS
		           : GATE_HOLD;
	case INCONCLUSIVE_HOLD:
	case INCONCLUSIVE_COUNT:
	default:
		return GATE_HOLD;
	}
}

static enum gate_decision decide(const struct gate_input *input, struct rollout_why *why)
{
	const struct gate_stage *stage = &input->stage;

	if (gate_limits_exceeded(input->limits, &input->counts, why))
		return GATE_FAIL;
	if (input->evidence.verdict == VERDICT_FAIL) {
		if (input->evidence.why)
			*why = *input->evidence.why;
		if (why->phase[0] == '\0')
			say(why, "coordinator", why->check[0] ? why->check : "gate", "%s",
			    why->text[0] ? why->text : "a gate failed");
		return GATE_FAIL;
	}
	if (stage->open > 0)
		return GATE_CONTINUE;
	if (stage->done == 0 && input->counts.failed > 0) {
		say(why, "coordinator", "failures", "no node of the open stages took the release");
		return GATE_FAIL;
	}
	if (stage->skip_wait)
		return GATE_PASS;
	if (!stage->bake_over)
		return GATE_CONTINUE;
	if (nodes_suffice(input, why) && evidence_suffices(&input->evidence, why))
		return GATE_PASS;
	return inconclusive(input);
}

void gate_decide(const struct gate_input *input, struct gate_result *ret_result)
{
	struct rollout_why why = {0};

	*ret_result = (struct gate_result){
	    .has_evidence = input->evidence.verdict != VERDICT_NONE,
	    .decision = decide(input, &why),
	};
	if (ret_result->decision == GATE_FAIL || ret_result->decision == GATE_HOLD)
		ret_result->why = why;
}
