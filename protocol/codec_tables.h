/* SPDX-License-Identifier: Apache-2.0 */
/* Every table of protocol/, for message.c, for tests and for who prints docs/PROTOCOL's grammar. */
#pragma once

#include "protocol/codec.h"
#include "protocol/delta_set.h"
#include "protocol/manifest.h"

/* X(name): const struct codec_struct codec_<name> for struct <name>. Parts before wholes. */
#define CODEC_TABLES(X)                                                                            \
	X(text_item) X(label) X(share) X(public_key) X(chunk_ref) X(element) X(tensor_ref)          \
	X(chunk_index)                                                                             \
	X(release_blob) X(env_var) X(release_serve) X(release_resources) X(release_health)         \
	X(release_smoke) X(release_metric) X(release_observe) X(release)                           \
	X(delta_item) X(delta_object) X(delta_set)                                                 \
	X(stage_spec) X(gate_spec) X(failure_spec) X(deadline_spec) X(window_spec)                 \
	X(deployment_spec)                                                                         \
	X(reason) X(outcome) X(slot_report) X(deployment_report) X(inventory) X(node_status)       \
	X(baseline_edge) X(baseline_feature) X(baseline)                                           \
	X(observed_counts) X(latency_exceedance) X(latency_bucket) X(feature_counts)               \
	X(named_counter) X(observation_record) X(latency_threshold) X(observe_order)                 \
	X(assignment) X(desired_state)                                                             \
	X(baseline_proposal) X(msg_observed) X(msg_observed_ack) X(msg_baseline)                   \
	X(msg_subscribe) X(msg_heartbeat) X(msg_ack) X(msg_refused) X(msg_logs_wanted) X(msg_logs) \
	X(msg_leave) X(held_release) X(msg_get) X(msg_object) X(msg_enrol) X(msg_enrolled)         \
	X(msg_control) X(msg_control_reply)                                                        \
	X(release_item) X(peer_complaint) X(msg_peer_report) X(msg_neighbour) X(msg_neighbours)    \
	X(msg_peer_hello) X(msg_offer) X(chunk_run) X(msg_have) X(msg_request) X(msg_taken)        \
	X(msg_chunk) X(msg_refuse)                                                                 \
	X(signature) X(envelope) X(root_document) X(identity)

#define X(name) extern const struct codec_struct codec_##name;
CODEC_TABLES(X)
#undef X
