/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two journals hold: each record as each of the codecs that read them. A damaged disk must
 * give an error, never a wrong record; a node's record that is within its bounds must bring a
 * machine to life that can decide and report.
 */
#include "agent/core/deploy.h"
#include "agent/record_codec.h"
#include "base/mem.h"
#include "coordinator/core/record.h"
#include "fuzz.h"
#include "protocol/codec_tables.h"

static void resume(const struct deploy_record *record)
{
	AUTO_FREE struct deploy *deploy = mem_alloc(sizeof(*deploy));
	AUTO_FREE struct deploy_effects *effects = mem_alloc(sizeof(*effects));
	struct deploy_event resumed = {.kind = DEPLOY_EVENT_RESUMED, .now_ms = 1000};
	struct deploy_event tick = {.kind = DEPLOY_EVENT_TICK, .now_ms = 60000};
	struct deployment_report report;

	if (deploy_restore(deploy, record) < 0)
		return;
	deploy_decide(deploy, 0, effects);
	deploy_apply(deploy, &resumed);
	deploy_decide(deploy, 1000, effects);
	assert(effects->keep_count <= DEPLOY_KEEP);
	deploy_apply(deploy, &tick);
	deploy_decide(deploy, 60000, effects);
	deploy_report(deploy, &report);
	assert(report.state < NODE_STATE_COUNT);
	/* What was read is written again, and may not grow beyond the journal's bound. */
	fuzz_encodes(&codec_deploy_record, &deploy->record, RECORD_ENCODED_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct codec_struct *const types[] = {
		&codec_deploy_record,	&codec_rollout_event, &codec_plan,
		&codec_deployment_spec, &codec_outcome,	      &codec_inventory,
	};
	struct fuzz_input input = {data, size};
	uint8_t which = fuzz_byte(&input);
	AUTO_FREE struct deploy_record *record = mem_alloc(sizeof(*record));

	fuzz_round_trip(types[which % ARRAY_SIZE(types)], input.at, input.left, LIMIT_OBJECT);
	if (codec_decode(&codec_deploy_record, input.at, input.left, record, NULL) == 0) {
		resume(record);
		codec_free(&codec_deploy_record, record);
	}
	return 0;
}
