/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A release: one immutable version of a model. The encoded form (protocol/manifest.h) is what is
 * signed; its digest is the release's identity. All pointers are heap memory owned by the struct;
 * free with release_free() (protocol/manifest.h).
 */
#pragma once

#include "covey/ids.h"

enum blob_kind { BLOB_LAYER, BLOB_FILE, BLOB_KIND_COUNT };

struct chunk_ref {
	struct digest digest;
	uint64_t size;
};

struct element { /* what a tensor's bytes are, little-endian */
	uint32_t width;	 /* bytes of a number: 1, 2, 4, 8; 0: not known */
	bool is_float;	 /* sign and magnitude, the exponent on top; else two's complement */
	uint32_t stride; /* width 1: bytes of a quantised block; 0: none */
};

struct tensor_ref {
	uint64_t key; /* of name, type and shape: the same tensor in another version has the same */
	struct element element;
	uint64_t offset, size; /* in the blob */
};

struct chunk_index { /* an object of its own; lists a blob's chunks in order */
	struct chunk_ref *chunks;
	size_t chunks_count;
	struct tensor_ref *tensors; /* by offset; a hint for deltas, nothing depends on it */
	size_t tensors_count;
};

struct release_blob {
	enum blob_kind kind;
	char *path;		    /* BLOB_FILE: relative, below /model; BLOB_LAYER: NULL */
	uint32_t mode;		    /* BLOB_FILE: permission bits */
	uint64_t size;		    /* of the content: a layer is its uncompressed tar */
	struct digest content;	    /* BLAKE2b-256 of the whole content */
	uint8_t diff_id[DIGEST_SIZE]; /* BLOB_LAYER: SHA-256, equals the image's rootfs.diff_ids */
	struct digest index;	    /* the chunk_index object */
	uint64_t index_size;
};

struct env_var {
	char *name;
	char *value;
};

enum serve_protocol { SERVE_HTTP, SERVE_TCP, SERVE_GRPC, SERVE_PROTOCOL_COUNT };
enum serve_network { SERVE_NETWORK_SLOT, SERVE_NETWORK_HOST, SERVE_NETWORK_COUNT };

struct release_serve {
	uint32_t port;		 /* what clients use on the node */
	uint32_t container_port; /* what the server listens on in its slot; never 0 once parsed */
	enum serve_protocol protocol;
	enum serve_network network;
	bool privileged_port;	 /* ports under 1024 are refused without it */
	bool egress;		 /* may the slot open connections to the outside */
};

struct release_resources {
	uint64_t memory_bytes; /* 0: no limit */
	uint32_t cpu_millis;   /* 1500 = 1.5 CPUs; 0: no limit */
	uint32_t pids;	       /* 0: LIMIT default of the node */
	struct text_item *devices;
	size_t devices_count;
};

enum health_kind { HEALTH_HTTP, HEALTH_TCP, HEALTH_COMMAND, HEALTH_KIND_COUNT };

struct release_health {
	enum health_kind kind;
	char *http_path;
	struct text_item *command;
	size_t command_count;
	uint64_t interval_ms;
	uint64_t timeout_ms;
	uint32_t failures; /* in a row */
	uint64_t start_period_ms;
};

struct release_smoke {
	char *name;
	char *method;
	char *path;
	char *content_type; /* may be NULL */
	struct bytes body;
	uint32_t expect_status;	 /* 0: any 2xx */
	char *expect_json;	 /* JSON text: every member must match; NULL: not checked */
	char *expect_contains;	 /* NULL: not checked */
	struct bytes expect_body; /* size 0: not checked */
	double tolerance;	 /* absolute, for numbers in expect_json */
};

struct release_observe { /* of a server that serves Prometheus metrics, and of its scores */
	char *metrics;	/* path; NULL: the server speaks for itself (observe.h) */
	char *requests; /* counter of all requests: NAME, or NAME{label="value"} */
	char *errors;	/* counter of those that failed */
	char *latency;	/* histogram, seconds */
	struct text_item *counters; /* further ones, for gates */
	size_t counters_count;
	bool has_range; /* a score outside is invalid output */
	double score_min, score_max;
};

struct release_metric {
	char *name;
	double value;
};

struct release {
	char model[LIMIT_NAME + 1];
	char version[LIMIT_VERSION + 1];
	char os[LIMIT_SHORT_TEXT + 1];	 /* OCI name: linux */
	char arch[LIMIT_SHORT_TEXT + 1]; /* OCI name: amd64, arm64 */
	struct release_blob *blobs;	 /* layers bottom to top, then files by path */
	size_t blobs_count;
	struct text_item *argv; /* entrypoint and command, resolved when the release was pushed */
	size_t argv_count;
	struct env_var *env; /* the image's, then release.yaml's on top */
	size_t env_count;
	char *user; /* the image's: "", "1000", "model", "1000:1000" */
	char *workdir;
	struct release_serve serve;
	struct release_resources resources;
	struct release_health health;
	struct release_smoke *smokes;
	size_t smokes_count;
	struct bytes baseline; /* drift is measured against it (protocol/baseline.h); size 0: none */
	char *lineage_code;
	char *lineage_data;
	struct release_metric *lineage_metrics;
	size_t lineage_metrics_count;
	struct release_observe observe;
};
