/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What crosses a process border: one table for each struct of include/covey and for the signed
 * documents. The numbers are the protocol. A new field goes to the end of its table with the next
 * number; a field that goes leaves its number unused for ever.
 */
#include "protocol/codec_tables.h"
#include "covey/message.h"
#include "protocol/codec_fields.h"

/* ---- small values ---- */

#define THIS struct text_item
static const struct codec_field text_item_fields[] = {
	F_TEXT(1, text, LIMIT_ARGUMENT),
};
CODEC_STRUCT(text_item);
#undef THIS

#define THIS struct label
static const struct codec_field label_fields[] = {
	F_STR(1, key),
	F_STR(2, value),
};
CODEC_STRUCT(label);
#undef THIS

#define THIS struct share
static const struct codec_field share_fields[] = {
	F_BOOL(1, percent),
	F_U32(2, value),
};
CODEC_STRUCT(share);
#undef THIS

#define THIS struct public_key
static const struct codec_field public_key_fields[] = {
	F_FIXED(1, bytes),
};
CODEC_STRUCT(public_key);
#undef THIS

/* ---- a release ---- */

#define THIS struct chunk_ref
static const struct codec_field chunk_ref_fields[] = {
	F_FIXED(1, digest),
	F_U64(2, size),
};
CODEC_STRUCT(chunk_ref);
#undef THIS

#define THIS struct element
static const struct codec_field element_fields[] = {
	F_U32(1, width),
	F_BOOL(2, is_float),
	F_U32(3, stride),
};
CODEC_STRUCT(element);
#undef THIS

#define THIS struct tensor_ref
static const struct codec_field tensor_ref_fields[] = {
	F_U64(1, key),
	F_STRUCT(2, element, element),
	F_U64(3, offset),
	F_U64(4, size),
};
CODEC_STRUCT(tensor_ref);
#undef THIS

#define THIS struct chunk_index
static const struct codec_field chunk_index_fields[] = {
	F_LIST(1, chunks, chunk_ref, LIMIT_CHUNKS),
	F_LIST(2, tensors, tensor_ref, LIMIT_TENSORS),
};
CODEC_STRUCT(chunk_index);
#undef THIS

#define THIS struct release_blob
static const struct codec_field release_blob_fields[] = {
	F_ENUM(1, kind, BLOB_KIND_COUNT),
	F_TEXT(2, path, LIMIT_PATH),
	F_U32(3, mode),
	F_U64(4, size),
	F_FIXED(5, content),
	F_FIXED(6, diff_id),
	F_FIXED(7, index),
	F_U64(8, index_size),
};
CODEC_STRUCT(release_blob);
#undef THIS

#define THIS struct env_var
static const struct codec_field env_var_fields[] = {
	F_TEXT(1, name, LIMIT_SHORT_TEXT),
	F_TEXT(2, value, LIMIT_ARGUMENT),
};
CODEC_STRUCT(env_var);
#undef THIS

#define THIS struct release_serve
static const struct codec_field release_serve_fields[] = {
	F_U32(1, port),
	F_U32(2, container_port),
	F_ENUM(3, protocol, SERVE_PROTOCOL_COUNT),
	F_ENUM(4, network, SERVE_NETWORK_COUNT),
	F_BOOL(5, privileged_port),
	F_BOOL(6, egress),
};
CODEC_STRUCT(release_serve);
#undef THIS

#define THIS struct release_resources
static const struct codec_field release_resources_fields[] = {
	F_U64(1, memory_bytes),
	F_U32(2, cpu_millis),
	F_U32(3, pids),
	F_LIST(4, devices, text_item, LIMIT_DEVICES),
};
CODEC_STRUCT(release_resources);
#undef THIS

#define THIS struct release_health
static const struct codec_field release_health_fields[] = {
	F_ENUM(1, kind, HEALTH_KIND_COUNT),
	F_TEXT(2, http_path, LIMIT_PATH),
	F_LIST(3, command, text_item, LIMIT_ARGV),
	F_U64(4, interval_ms),
	F_U64(5, timeout_ms),
	F_U32(6, failures),
	F_U64(7, start_period_ms),
};
CODEC_STRUCT(release_health);
#undef THIS

#define THIS struct release_smoke
static const struct codec_field release_smoke_fields[] = {
	F_TEXT(1, name, LIMIT_SHORT_TEXT),
	F_TEXT(2, method, LIMIT_SHORT_TEXT),
	F_TEXT(3, path, LIMIT_PATH),
	F_TEXT(4, content_type, LIMIT_SHORT_TEXT),
	F_BYTES(5, body, LIMIT_SMOKE_BODY),
	F_U32(6, expect_status),
	F_TEXT(7, expect_json, LIMIT_SMOKE_BODY),
	F_TEXT(8, expect_contains, LIMIT_SMOKE_BODY),
	F_BYTES(9, expect_body, LIMIT_SMOKE_BODY),
	F_F64(10, tolerance),
};
CODEC_STRUCT(release_smoke);
#undef THIS

#define THIS struct release_metric
static const struct codec_field release_metric_fields[] = {
	F_TEXT(1, name, LIMIT_SHORT_TEXT),
	F_F64(2, value),
};
CODEC_STRUCT(release_metric);
#undef THIS

#define THIS struct release_observe
static const struct codec_field release_observe_fields[] = {
	F_TEXT(1, metrics, LIMIT_PATH),
	F_TEXT(2, requests, LIMIT_SHORT_TEXT),
	F_TEXT(3, errors, LIMIT_SHORT_TEXT),
	F_TEXT(4, latency, LIMIT_SHORT_TEXT),
	F_LIST(5, counters, text_item, LIMIT_NAMED_COUNTERS),
	F_BOOL(6, has_range),
	F_F64(7, score_min),
	F_F64(8, score_max),
};
CODEC_STRUCT(release_observe);
#undef THIS

#define THIS struct release
static const struct codec_field release_fields[] = {
	F_STR(1, model),
	F_STR(2, version),
	F_STR(3, os),
	F_STR(4, arch),
	F_LIST(5, blobs, release_blob, LIMIT_LAYERS + LIMIT_FILES),
	F_LIST(6, argv, text_item, LIMIT_ARGV),
	F_LIST(7, env, env_var, LIMIT_ENV),
	F_TEXT(8, user, LIMIT_SHORT_TEXT),
	F_TEXT(9, workdir, LIMIT_PATH),
	F_STRUCT(10, serve, release_serve),
	F_STRUCT(11, resources, release_resources),
	F_STRUCT(12, health, release_health),
	F_LIST(13, smokes, release_smoke, LIMIT_SMOKES),
	F_BYTES(14, baseline, LIMIT_BASELINE),
	F_TEXT(15, lineage_code, LIMIT_REASON_TEXT),
	F_TEXT(16, lineage_data, LIMIT_REASON_TEXT),
	F_LIST(17, lineage_metrics, release_metric, LIMIT_METRICS),
	F_STRUCT(18, observe, release_observe),
};
CODEC_STRUCT(release);
#undef THIS

/* ---- a deployment ---- */

#define THIS struct stage_spec
static const struct codec_field stage_spec_fields[] = {
	F_STRUCT(1, nodes, share),
	F_U64(2, bake_ms),
	F_STR(3, where),
};
CODEC_STRUCT(stage_spec);
#undef THIS

#define THIS struct gate_spec
static const struct codec_field gate_spec_fields[] = {
	F_STR(1, metric),
	F_BOOL(2, absolute),
	F_F64(3, tolerance),
	F_F64(4, margin),
	F_F64(5, weight),
	F_F64(6, slo),
	F_BOOL(7, critical),
	F_BOOL(8, dry_run),
	F_ENUM(9, require, GATE_REQUIRE_COUNT),
	F_U64(10, min_bake_ms),
	F_U64(11, deadline_ms),
	F_BOOL(12, has_policy),
	F_ENUM(13, policy, INCONCLUSIVE_COUNT),
	F_U64(14, bound_ms),
};
CODEC_STRUCT(gate_spec);
#undef THIS

#define THIS struct failure_spec
static const struct codec_field failure_spec_fields[] = {
	F_U32(1, nodes),
	F_U32(2, percent),
	F_STRUCT(3, unreachable, share),
};
CODEC_STRUCT(failure_spec);
#undef THIS

#define THIS struct deadline_spec
static const struct codec_field deadline_spec_fields[] = {
	F_U64(1, node_ms),
	F_U64(2, stage_ms),
	F_U64(3, rollout_ms),
};
CODEC_STRUCT(deadline_spec);
#undef THIS

#define THIS struct window_spec
static const struct codec_field window_spec_fields[] = {
	F_STR(1, download),
	F_STR(2, swap),
	F_STR(3, timezone),
};
CODEC_STRUCT(window_spec);
#undef THIS

#define THIS struct deployment_spec
static const struct codec_field deployment_spec_fields[] = {
	F_STR(1, name),
	F_STR(2, model),
	F_STR(3, version),
	F_FIXED(4, release),
	F_STR(5, selector),
	F_ENUM(6, swap, SWAP_COUNT),
	F_U64(7, drain_ms),
	F_U64(8, keep_warm_ms),
	F_ENUM(9, strategy, STRATEGY_COUNT),
	F_LIST(10, stages, stage_spec, LIMIT_STAGES),
	F_STRUCT(11, batch, share),
	F_U64(12, batch_bake_ms),
	F_ENUM(13, promote, PROMOTE_COUNT),
	F_STRUCT(14, max_unavailable, share),
	F_STR(15, per_label),
	F_U32(16, per_label_nodes),
	F_STRUCT(17, failures, failure_spec),
	F_STRUCT(18, deadlines, deadline_spec),
	F_STRUCT(19, windows, window_spec),
	F_LIST(20, gates, gate_spec, LIMIT_GATES),
	F_ENUM(21, on_inconclusive, INCONCLUSIVE_COUNT),
};
CODEC_STRUCT(deployment_spec);
#undef THIS

/* ---- reports ---- */

#define THIS struct reason
static const struct codec_field reason_fields[] = {
	F_PROSE(1, phase),
	F_PROSE(2, check),
	F_PROSE(3, text),
	F_PROSE_TEXT(4, log, LIMIT_LOG_TAIL),
};
CODEC_STRUCT(reason);
#undef THIS

#define THIS struct outcome
static const struct codec_field outcome_fields[] = {
	F_ENUM(1, kind, OUTCOME_COUNT),
	F_FIXED(2, rollout),
	F_FIXED(3, release),
	F_U64(4, attempt),
	F_U64(5, at_unix_ms),
	F_STRUCT(6, reason, reason),
};
CODEC_STRUCT(outcome);
#undef THIS

#define THIS struct slot_report
static const struct codec_field slot_report_fields[] = {
	F_ENUM(1, colour, COLOUR_COUNT),
	F_ENUM(2, state, SLOT_STATE_COUNT),
	F_FIXED(3, release),
};
CODEC_STRUCT(slot_report);
#undef THIS

#define THIS struct deployment_report
static const struct codec_field deployment_report_fields[] = {
	F_STR(1, deployment),
	F_ENUM(2, state, NODE_STATE_COUNT),
	F_FIXED(3, release),
	F_FIXED(4, target),
	F_FIXED(5, rollout),
	F_U64(6, attempt),
	F_BOOL(7, staged),
	F_BOOL(8, proven),
	F_BOOL(9, healthy),
	F_U64(10, bytes_done),
	F_U64(11, bytes_total),
	F_ARRAY(12, slots, slot_report),
	F_STRUCT(13, last, outcome),
	F_U64(14, bytes_from_peers),
	F_U64(15, fetch_rate),
};
CODEC_STRUCT(deployment_report);
#undef THIS

#define THIS struct inventory
static const struct codec_field inventory_fields[] = {
	F_PROSE(1, hostname),
	F_PROSE(2, os),
	F_PROSE(3, arch),
	F_PROSE(4, kernel),
	F_PROSE(5, runtime),
	F_U32(6, cpus),
	F_U64(7, memory_bytes),
	F_U64(8, disk_free_bytes),
};
CODEC_STRUCT(inventory);
#undef THIS

#define THIS struct node_status
static const struct codec_field node_status_fields[] = {
	F_U64(1, boot_epoch),
	F_U64(2, sequence),
	F_U64(3, epoch),
	F_U64(4, generation),
	F_STRUCT(5, inventory, inventory),
	F_LIST(6, deployments, deployment_report, LIMIT_DEPLOYMENTS_PER_NODE),
};
CODEC_STRUCT(node_status);
#undef THIS

/* ---- evidence ---- */

#define THIS struct baseline_edge
static const struct codec_field baseline_edge_fields[] = {
	F_F64(1, value),
};
CODEC_STRUCT(baseline_edge);
#undef THIS

#define THIS struct baseline_feature
static const struct codec_field baseline_feature_fields[] = {
	F_STR(1, name),
	F_ENUM(2, kind, FEATURE_KIND_COUNT),
	F_LIST(3, edges, baseline_edge, LIMIT_BINS - BINS_OUTER + 1),
	F_LIST(4, values, text_item, LIMIT_BINS - BINS_OUTER),
	F_NUMBERS(5, counts, LIMIT_BINS),
};
CODEC_STRUCT(baseline_feature);
#undef THIS

#define THIS struct baseline
static const struct codec_field baseline_fields[] = {
	F_U64(1, observations),
	F_LIST(2, features, baseline_feature, LIMIT_FEATURES),
};
CODEC_STRUCT(baseline);
#undef THIS

#define THIS struct observed_counts
static const struct codec_field observed_counts_fields[] = {
	F_U64(1, attempted),
	F_U64(2, ok),
	F_U64(3, errors),
	F_U64(4, timeouts),
	F_U64(5, crashes),
	F_U64(6, invalid),
	F_U64(7, smoke_attempted),
	F_U64(8, smoke_failures),
	F_U64(9, minutes),
	F_U64(10, incidents),
	F_U64(11, latencies),
	F_U64(12, latency_sum_us),
	F_U64(13, labels_right),
	F_U64(14, labels_wrong),
	F_U64(15, unknown),
	F_U64(16, rubbish),
	F_U64(17, dropped),
};
CODEC_STRUCT(observed_counts);
#undef THIS

#define THIS struct latency_exceedance
static const struct codec_field latency_exceedance_fields[] = {
	F_U64(1, threshold_us),
	F_U64(2, exceeded),
};
CODEC_STRUCT(latency_exceedance);
#undef THIS

#define THIS struct latency_bucket
static const struct codec_field latency_bucket_fields[] = {
	F_U32(1, index),
	F_U64(2, count),
};
CODEC_STRUCT(latency_bucket);
#undef THIS

#define THIS struct feature_counts
static const struct codec_field feature_counts_fields[] = {
	F_NUMBERS(1, bins, LIMIT_BINS),
};
CODEC_STRUCT(feature_counts);
#undef THIS

#define THIS struct named_counter
static const struct codec_field named_counter_fields[] = {
	F_STR(1, name),
	F_U64(2, count),
};
CODEC_STRUCT(named_counter);
#undef THIS

#define THIS struct observation_record
static const struct codec_field observation_record_fields[] = {
	F_U64(1, boot_epoch),
	F_U64(2, sequence),
	F_STR(3, deployment),
	F_ENUM(4, colour, COLOUR_COUNT),
	F_FIXED(5, release),
	F_FIXED(6, rollout),
	F_FIXED(7, baseline),
	F_U64(8, start_unix_ms),
	F_U64(9, length_ms),
	F_U64(10, age_ms),
	F_BOOL(11, serving),
	F_BOOL(12, urgent),
	F_U32(13, periods),
	F_U64(14, lost),
	F_STRUCT(15, counts, observed_counts),
	F_ARRAY(16, exceedances, latency_exceedance),
	F_LIST(17, buckets, latency_bucket, LIMIT_LATENCY_BUCKETS),
	F_LIST(18, features, feature_counts, LIMIT_FEATURES),
	F_LIST(19, counters, named_counter, LIMIT_NAMED_COUNTERS),
};
CODEC_STRUCT(observation_record);
#undef THIS

#define THIS struct latency_threshold
static const struct codec_field latency_threshold_fields[] = {
	F_U64(1, us),
};
CODEC_STRUCT(latency_threshold);
#undef THIS

#define THIS struct observe_order
static const struct codec_field observe_order_fields[] = {
	F_FIXED(1, rollout),
	F_FIXED(2, baseline),
	F_U64(3, period_ms),
	F_ARRAY(4, thresholds, latency_threshold),
};
CODEC_STRUCT(observe_order);
#undef THIS

/* ---- desired state ---- */

#define THIS struct assignment
static const struct codec_field assignment_fields[] = {
	F_STR(1, deployment),
	F_FIXED(2, base),
	F_FIXED(3, next),
	F_ENUM(4, goal, GOAL_COUNT),
	F_BOOL(5, revert),
	F_FIXED(6, rollout),
	F_U64(7, attempt),
	F_ENUM(8, swap, SWAP_COUNT),
	F_U64(9, bake_ms),
	F_U64(10, drain_ms),
	F_U64(11, keep_warm_ms),
	F_BOOL(12, hold_old),
	F_U64(13, node_deadline_ms),
	F_STRUCT(14, windows, window_spec),
	F_STRUCT(15, observe, observe_order),
};
CODEC_STRUCT(assignment);
#undef THIS

#define THIS struct desired_state
static const struct codec_field desired_state_fields[] = {
	F_U64(1, epoch),
	F_U64(2, generation),
	F_LIST(3, assignments, assignment, LIMIT_DEPLOYMENTS_PER_NODE),
};
CODEC_STRUCT(desired_state);
#undef THIS

/* ---- messages ---- */

#define THIS struct msg_subscribe
static const struct codec_field msg_subscribe_fields[] = {
	F_U32(1, protocol_version),
	F_STR(2, agent_version),
	F_STR(3, name),
	F_U64(4, epoch),
	F_U64(5, generation),
	F_U64(6, boot_epoch),
};
CODEC_STRUCT(msg_subscribe);
#undef THIS

#define THIS struct msg_heartbeat
static const struct codec_field msg_heartbeat_fields[] = {
	F_U64(1, epoch),
	F_U64(2, generation),
	F_U64(3, boot_epoch),
	F_U64(4, sequence),
};
CODEC_STRUCT(msg_heartbeat);
#undef THIS

#define THIS struct msg_leave
static const struct codec_field msg_leave_fields[] = {
	F_U64(1, boot_epoch),
};
CODEC_STRUCT(msg_leave);
#undef THIS

#define THIS struct msg_ack
static const struct codec_field msg_ack_fields[] = {
	F_U64(1, boot_epoch),
	F_U64(2, sequence),
	F_BOOL(3, send_status),
};
CODEC_STRUCT(msg_ack);
#undef THIS

#define THIS struct msg_refused
static const struct codec_field msg_refused_fields[] = {
	F_PROSE(1, text),
};
CODEC_STRUCT(msg_refused);
#undef THIS

#define THIS struct msg_logs_wanted
static const struct codec_field msg_logs_wanted_fields[] = {
	F_U64(1, id),
	F_STR(2, deployment),
	F_U32(3, lines),
};
CODEC_STRUCT(msg_logs_wanted);
#undef THIS

#define THIS struct msg_logs
static const struct codec_field msg_logs_fields[] = {
	F_U64(1, id),
	F_PROSE_TEXT(2, text, LIMIT_AGENT_MESSAGE - 4096),
	F_PROSE(3, error),
};
CODEC_STRUCT(msg_logs);
#undef THIS

#define THIS struct baseline_proposal
static const struct codec_field baseline_proposal_fields[] = {
	F_STR(1, deployment),
	F_FIXED(2, release),
	F_BYTES(3, baseline, LIMIT_BASELINE),
};
CODEC_STRUCT(baseline_proposal);
#undef THIS

#define THIS struct msg_observed
static const struct codec_field msg_observed_fields[] = {
	F_LIST(1, records, observation_record, LIMIT_RECORDS),
	F_LIST(2, proposals, baseline_proposal, LIMIT_DEPLOYMENTS_PER_NODE),
};
CODEC_STRUCT(msg_observed);
#undef THIS

#define THIS struct msg_observed_ack
static const struct codec_field msg_observed_ack_fields[] = {
	F_U64(1, boot_epoch),
	F_U64(2, sequence),
};
CODEC_STRUCT(msg_observed_ack);
#undef THIS

#define THIS struct msg_baseline
static const struct codec_field msg_baseline_fields[] = {
	F_STR(1, deployment),
	F_BYTES(2, baseline, LIMIT_BASELINE),
};
CODEC_STRUCT(msg_baseline);
#undef THIS

#define THIS struct held_release
static const struct codec_field held_release_fields[] = {
	F_FIXED(1, digest),
};
CODEC_STRUCT(held_release);
#undef THIS

#define THIS struct msg_get
static const struct codec_field msg_get_fields[] = {
	F_ENUM(1, kind, OBJECT_KIND_COUNT),
	F_FIXED(2, digest),
	F_BOOL(3, takes_coded),
	F_LIST(4, held, held_release, LIMIT_HELD),
};
CODEC_STRUCT(msg_get);
#undef THIS

#define THIS struct msg_object
static const struct codec_field msg_object_fields[] = {
	F_ENUM(1, kind, OBJECT_KIND_COUNT),
	F_FIXED(2, digest),
	F_BOOL(3, missing),
	F_BYTES(4, data, LIMIT_OBJECT),
	F_BOOL(5, coded),
	F_U32(6, retry_ms),
};
CODEC_STRUCT(msg_object);
#undef THIS

#define THIS struct msg_enrol
static const struct codec_field msg_enrol_fields[] = {
	F_U32(1, protocol_version),
	F_STR(2, token_id),
	F_STR(3, name),
	F_FIXED(4, link_key),
	F_FIXED(5, sign_key),
	F_FIXED(6, proof),
	F_STRUCT(7, inventory, inventory),
};
CODEC_STRUCT(msg_enrol);
#undef THIS

#define THIS struct msg_enrolled
static const struct codec_field msg_enrolled_fields[] = {
	F_PROSE(1, error),
	F_BYTES(2, identity, LIMIT_ROOT_DOCUMENT),
	F_BYTES(3, root, LIMIT_ROOT_DOCUMENT),
};
CODEC_STRUCT(msg_enrolled);
#undef THIS

#define THIS struct msg_control
static const struct codec_field msg_control_fields[] = {
	F_U64(1, id),
	F_STR(2, verb),
	F_TEXT(3, body, LIMIT_CONTROL_MESSAGE),
	F_BYTES(4, blob, LIMIT_CONTROL_MESSAGE),
};
CODEC_STRUCT(msg_control);
#undef THIS

#define THIS struct msg_control_reply
static const struct codec_field msg_control_reply_fields[] = {
	F_U64(1, id),
	F_U32(2, exit_code),
	F_PROSE(3, error),
	F_TEXT(4, body, LIMIT_CONTROL_MESSAGE),
	F_BYTES(5, blob, LIMIT_CONTROL_MESSAGE),
};
CODEC_STRUCT(msg_control_reply);
#undef THIS

/* ---- signed documents ---- */

#define THIS struct signature
static const struct codec_field signature_fields[] = {
	F_FIXED(1, key_id),
	F_FIXED(2, bytes),
};
CODEC_STRUCT(signature);
#undef THIS

#define THIS struct envelope
static const struct codec_field envelope_fields[] = {
	F_BYTES(1, payload, LIMIT_MANIFEST),
	F_LIST(2, signatures, signature, LIMIT_SIGNATURES),
};
CODEC_STRUCT(envelope);
#undef THIS

#define THIS struct root_document
static const struct codec_field root_document_fields[] = {
	F_U64(1, version),
	F_U64(2, expires_unix_ms),
	F_U32(3, release_threshold),
	F_LIST(4, release_keys, public_key, LIMIT_KEYS),
	F_U32(5, root_threshold),
	F_LIST(6, root_keys, public_key, LIMIT_KEYS),
	F_FIXED(7, server_key),
	F_FIXED(8, online_key),
	F_STR(9, endpoint),
};
CODEC_STRUCT(root_document);
#undef THIS

#define THIS struct identity
static const struct codec_field identity_fields[] = {
	F_FIXED(1, id),
	F_STR(2, name),
	F_FIXED(3, link_key),
	F_FIXED(4, sign_key),
	F_LIST(5, labels, label, LIMIT_LABELS),
	F_U64(6, issued_unix_ms),
	F_U64(7, expires_unix_ms),
};
CODEC_STRUCT(identity);
#undef THIS
