/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the helper's interface: the same rules as protocol/codec_tables.c. */
#include "agent/helper/api.h"
#include "protocol/codec_fields.h"
#include "protocol/codec_tables.h"

#define THIS struct digest_item
static const struct codec_field digest_item_fields[] = {
	F_FIXED(1, digest),
};
static CODEC_STRUCT(digest_item);
#undef THIS

#define THIS struct helper_route
static const struct codec_field helper_route_fields[] = {
	F_STR(1, deployment),
	F_U32(2, port),
	F_ENUM(3, colour, COLOUR_COUNT),
	F_FIXED(4, release),
};
static CODEC_STRUCT(helper_route);
#undef THIS

#define THIS struct helper_request
static const struct codec_field helper_request_fields[] = {
	F_U64(1, id),
	F_ENUM(2, op, HELPER_OP_COUNT),
	F_STR(3, deployment),
	F_ENUM(4, colour, COLOUR_COUNT),
	F_FIXED(5, release),
	F_U64(6, attempt),
	F_BOOL(7, kill),
	F_U64(8, grace_ms),
	F_U32(9, lines),
	F_LIST(10, routes, helper_route, LIMIT_DEPLOYMENTS_PER_NODE),
	F_LIST(11, keep, digest_item, 8 * LIMIT_DEPLOYMENTS_PER_NODE),
};
CODEC_STRUCT(helper_request);
#undef THIS

#define THIS struct helper_slot
static const struct codec_field helper_slot_fields[] = {
	F_STR(1, deployment),
	F_ENUM(2, colour, COLOUR_COUNT),
	F_FIXED(3, release),
	F_ENUM(4, state, HELPER_SLOT_STATE_COUNT),
	F_U32(5, exit_code),
	F_STR(6, address),
	F_U32(7, probe_port),
};
static CODEC_STRUCT(helper_slot);
#undef THIS

#define THIS struct helper_reply
static const struct codec_field helper_reply_fields[] = {
	F_U64(1, id),
	F_ENUM(2, event, HELPER_EVENT_COUNT),
	F_U32(3, error),
	F_PROSE(4, check),
	F_PROSE(5, text),
	F_PROSE(6, runtime),
	F_U32(7, exit_code),
	F_U64(8, connections),
	F_PROSE_TEXT(9, logs, LIMIT_HELPER_MESSAGE / 2),
	F_LIST(10, slots, helper_slot, LIMIT_DEPLOYMENTS_PER_NODE * COLOUR_COUNT),
};
CODEC_STRUCT(helper_reply);
#undef THIS
