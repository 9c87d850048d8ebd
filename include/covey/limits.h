/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every bound of Covey, in one place. Sizes in bytes, times in milliseconds, unless the name says
 * otherwise. Whoever reads bytes from outside checks against one of these before allocating.
 */
#pragma once

/* names and texts: longest length without the NUL */
enum {
	LIMIT_NAME = 63,	     /* models, deployments, nodes, stages: [a-z0-9]([-a-z0-9.]*)  */
	LIMIT_VERSION = 63,	     /* release versions */
	LIMIT_LABEL_KEY = 63,	     /* labels as in Kubernetes */
	LIMIT_LABEL_VALUE = 63,
	LIMIT_SELECTOR = 1023,	     /* a label selector's text */
	LIMIT_PATH = 4095,	     /* a path inside an image or a model folder */
	LIMIT_SHORT_TEXT = 127,	     /* checks, phases, host names, small tokens */
	LIMIT_REASON_TEXT = 1023,    /* one sentence for people */
	LIMIT_FEATURE = 63,	     /* a feature of a model, a value of a categorical one */
	LIMIT_LOG_TAIL = 8191,	     /* the last lines of a container's log */
	LIMIT_LOG_TAIL_LINES = 20,
	LIMIT_ARGUMENT = 32767,	     /* one argument of a command, one environment value */
	LIMIT_ENDPOINT = 255,	     /* tcp://host:port */
};

/* counts */
enum {
	LIMIT_LABELS = 64,	     /* a node */
	LIMIT_DEPLOYMENTS_PER_NODE = 32,
	LIMIT_LAYERS = 128,	     /* an image */
	LIMIT_FILES = 65536,	     /* a model folder */
	LIMIT_CHUNKS = 131072,	     /* a blob: 4 MiB each make 512 GiB */
	LIMIT_TENSORS = 32768,	     /* of one file that deltas look for */
	LIMIT_DELTAS = 49152,	     /* of one pair of releases */
	LIMIT_HELD = 8,		     /* releases that a node names as bases */
	LIMIT_ARGV = 256,
	LIMIT_ENV = 512,
	LIMIT_SMOKES = 64,
	LIMIT_DEVICES = 32,
	LIMIT_METRICS = 64,
	LIMIT_STAGES = 32,
	LIMIT_GATES = 64,
	LIMIT_SIGNATURES = 16,
	LIMIT_KEYS = 16,
	LIMIT_VETOES = 64,	     /* a node and deployment; the oldest goes first */
	LIMIT_FLEET = 20000,	     /* nodes of one coordinator */
	LIMIT_TOKENS = 1024,
	LIMIT_OPERATORS = 256,
	LIMIT_CONTROL_CLIENTS = 256,
	LIMIT_FETCH_REQUESTS = 4,    /* chunk requests under way for each source */
	LIMIT_FEATURES = 256,	     /* a baseline */
	LIMIT_BINS = 64,	     /* a feature, with the outer ones */
	LIMIT_THRESHOLDS = 8,	     /* latencies that exceedance is counted at */
	LIMIT_LATENCY_BUCKETS = 2048, /* 1 us to 19,000 years */
	LIMIT_NAMED_COUNTERS = 32,   /* of a server's /metrics */
	LIMIT_RECORDS = 64,	     /* observation records in a message */
	LIMIT_NEIGHBOURS = 31,	     /* of one node */
	LIMIT_PEER_CHUNKS = 131072,  /* of a release that nodes exchange */
	LIMIT_PEER_RUNS = 1024,	     /* in one HAVE */
};

/* sizes */
enum {
	LIMIT_MANIFEST = 4 << 20,    /* a release manifest, encoded */
	LIMIT_CHUNK = 4 << 20,	     /* one chunk */
	LIMIT_OBJECT = 8 << 20,	     /* one content-addressed object: chunk or chunk index */
	LIMIT_SMOKE_BODY = 256 << 10,
	LIMIT_BASELINE = 512 << 10,
	LIMIT_ROOT_DOCUMENT = 64 << 10,
	LIMIT_AGENT_MESSAGE = 1 << 20,	    /* agent to coordinator */
	LIMIT_DESIRED_MESSAGE = 1 << 20,    /* coordinator to agent */
	LIMIT_DATA_REQUEST = 4 << 10,	    /* data channel, towards the origin */
	LIMIT_OFFER = (LIMIT_PEER_CHUNKS / 8) + 1024, /* what a node has of a release */
	LIMIT_DATA_MESSAGE = (8 << 20) + 4096, /* data channel, towards the node */
	LIMIT_PEER_HELLO = 64 << 10,
	LIMIT_PEER_NEWS = 16 << 10,	    /* everything small between peers */
	LIMIT_CHUNK_MESSAGE = LIMIT_CHUNK + 1024, /* a chunk by its number */
	LIMIT_CONTROL_MESSAGE = 16 << 20,   /* operator channel */
	LIMIT_ENROL_MESSAGE = 64 << 10,
	LIMIT_HELPER_MESSAGE = 256 << 10,
	LIMIT_YAML_FILE = 1 << 20,
	LIMIT_HTTP_BODY = 1 << 20,	    /* what a smoke test reads of an answer */
};

/* times */
enum {
	LIMIT_HEARTBEAT_MS = 12000,	    /* mean distance of heartbeats, +-20 % jitter */
	LIMIT_SILENCE_MS = 40000,	    /* after this a node counts as unreachable */
	LIMIT_GRACE_MS = 45000,		    /* after a coordinator's start silence is not counted */
	LIMIT_STATUS_MS = 180000,	    /* full status at least this often */
	LIMIT_BACKOFF_MIN_MS = 500,
	LIMIT_BACKOFF_MAX_MS = 30000,
	LIMIT_HANDSHAKE_MS = 120000,	    /* ZMQ_HANDSHAKE_IVL on the coordinator */
	LIMIT_STOP_GRACE_MS = 10000,	    /* SIGTERM to SIGKILL on a planned stop */
	LIMIT_RULES_CHECK_MS = 5000,	    /* flushed rules are back within this */
	LIMIT_ENROL_PER_MINUTE = 600,	    /* enrolment attempts */
	OBSERVE_PERIOD_MS = 60000,	    /* one observation record */
	LIMIT_OBSERVE_PERIOD_MIN_MS = 1000,
	LIMIT_PEER_CONNECT_MS = 3000,	    /* a neighbour that does not answer is not reachable */
	LIMIT_PEER_PROVE_MS = 10000,	    /* ... and one that does not prove its key is dropped */
	LIMIT_POLL_WAIT_MS = 20000,	    /* longest wait of one long-poll request */
};

/* ports: the base port of a coordinator, and what lies beside it */
enum {
	PORT_BASE_DEFAULT = 7400,
	PORT_OFFSET_AGENTS = 0,
	PORT_OFFSET_DATA = 1,
	PORT_OFFSET_ENROL = 2,
	PORT_OFFSET_OPERATORS = 3,
	PORT_PEER_DEFAULT = 7410, /* of a node, for its neighbours */
};

/* versions on the wire */
enum {
	PROTOCOL_VERSION = 1,
	PROTOCOL_VERSION_OLDEST = 1,
};
