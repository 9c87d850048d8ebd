/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deployment as declared in YAML: which nodes serve which model, and how it may change.
 * Plain values; heap members are owned by the struct, freed with deployment_spec_free()
 * (protocol/spec.h).
 */
#pragma once

#include "covey/ids.h"

enum swap_kind { SWAP_START_FIRST, SWAP_STOP_FIRST, SWAP_COUNT };
enum strategy_kind { STRATEGY_CANARY, STRATEGY_BLUE_GREEN, STRATEGY_ROLLING, STRATEGY_COUNT };
enum promote_kind { PROMOTE_AUTO, PROMOTE_MANUAL, PROMOTE_COUNT };
enum inconclusive_kind { INCONCLUSIVE_HOLD, INCONCLUSIVE_PROMOTE, INCONCLUSIVE_ROLLBACK,
			 INCONCLUSIVE_PROMISED, /* promote when the promised rates are kept, else hold */
			 INCONCLUSIVE_COUNT };

struct stage_spec {
	struct share nodes; /* of the nodes that match `where`, not of those that are left */
	uint64_t bake_ms;
	char where[LIMIT_SELECTOR + 1]; /* "" : every node of the deployment */
};

enum gate_require { GATE_GUARD_RAIL, GATE_EVIDENCE, GATE_REQUIRE_COUNT };

struct gate_spec { /* judgement.md; decided by the coordinator */
	char metric[LIMIT_SHORT_TEXT + 1];
	bool absolute; /* else against the control group */
	double tolerance;
	double margin;
	double weight;
	double slo;
	uint64_t bound_ms; /* of latency: what the promise is about; 0: none */
	bool critical;
	bool dry_run;
	enum gate_require require;
	uint64_t min_bake_ms;
	uint64_t deadline_ms;
	bool has_policy; /* else the deployment's on_inconclusive */
	enum inconclusive_kind policy; /* at the deadline, where evidence is required */
};

struct failure_spec {
	uint32_t nodes;		  /* more than this many failed nodes fail the rollout; default 0 */
	uint32_t percent;	  /* or more than this share of the changed nodes; default 0 = unused */
	struct share unreachable; /* silent nodes are counted apart */
};

struct deadline_spec {
	uint64_t node_ms;
	uint64_t stage_ms;
	uint64_t rollout_ms;
};

struct window_spec { /* "" : always */
	char download[LIMIT_SHORT_TEXT + 1];
	char swap[LIMIT_SHORT_TEXT + 1]; /* key `switch` */
	char timezone[LIMIT_SHORT_TEXT + 1];
};

struct deployment_spec {
	char name[LIMIT_NAME + 1];
	char model[LIMIT_NAME + 1];	 /* of `release: model@version` */
	char version[LIMIT_VERSION + 1];
	struct digest release;		 /* resolved by the coordinator; zero before */
	char selector[LIMIT_SELECTOR + 1]; /* `nodes:`; "all" selects every node */
	enum swap_kind swap;
	uint64_t drain_ms;
	uint64_t keep_warm_ms;
	enum strategy_kind strategy;
	struct stage_spec *stages; /* canary: as written, the rest is implied */
	size_t stages_count;
	struct share batch;   /* rolling, and the implied rest of a canary */
	uint64_t batch_bake_ms;
	enum promote_kind promote; /* blue_green */
	struct share max_unavailable;
	char per_label[LIMIT_LABEL_KEY + 1]; /* max_unavailable_per; "" : none */
	uint32_t per_label_nodes;
	struct failure_spec failures;
	struct deadline_spec deadlines;
	struct window_spec windows;
	struct gate_spec *gates;
	size_t gates_count;
	enum inconclusive_kind on_inconclusive;
};
