/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may connect: the handler of ZeroMQ's authentication protocol (ZAP, RFC 27) for all servers
 * of a context. It fails closed: servers have a domain and enforce it, so that without a handler
 * nobody gets in. A reserve of file descriptors is kept: when only that is left, whoever comes is
 * sent away, because a process without descriptors can neither accept nor write its state. Create
 * it before the first server_new(). Admission happens once per connection; a
 * key that is revoked later keeps its connection, so check the user id of every message too.
 */
#pragma once

#include "covey/ids.h"
#include "protocol/transport/keyfile.h"
#include "protocol/transport/zhub.h"

struct zap;

#define ZAP_DOMAIN_AGENTS "agents"
#define ZAP_DOMAIN_DATA "data"
#define ZAP_DOMAIN_ENROL "enrol"
#define ZAP_DOMAIN_OPERATORS "operators"
#define ZAP_DOMAIN_PEERS "peers"

enum { ZAP_USER_ID_MAX = 128 };

/*
 * May this key connect in this domain (one of those above; others never get here)? ret_user_id
 * holds the key in hex; the callback may replace it with another non-empty text. It becomes
 * zmessage.user_id of everything that comes over the connection.
 */
typedef bool zap_admit_fn(void *ctx, const char *domain, const struct public_key *key,
			  char ret_user_id[ZAP_USER_ID_MAX]);

struct zap_stats {
	uint64_t admitted, refused;
	uint64_t malformed; /* requests that were not CURVE or not ZAP 1.0; refused */
	uint64_t no_room;   /* refused without asking: file descriptors run short */
};

/* One per context; -EADDRINUSE for a second. */
int zap_new(struct zhub *hub, zap_admit_fn *admit, void *ctx, struct zap **ret_zap,
	    struct err *err) COVEY_MUST_CHECK;
void zap_free(struct zap *zap); /* after the servers; NULL is fine */

/*
 * At start-up, before the real servers: with servers and clients of its own over loopback it
 * proves that a fresh unknown key is refused in `domain` (by the real callback), and that a key
 * which the handler knows for the moment of the test gets through. Takes about 10 ms, blocks up to
 * 5 s. -EKEYREJECTED: the door is not what it should be; do not start. Not for ZAP_DOMAIN_ENROL,
 * where strangers may come in.
 */
int zap_self_test(struct zap *zap, const char *domain, struct err *err) COVEY_MUST_CHECK;

struct zap_stats zap_stats(const struct zap *zap);
