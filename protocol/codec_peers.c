/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of what neighbours say to each other, and of what coordinator and agents say about
 * them. The rules of codec_tables.c hold here, too.
 */
#include "covey/message.h"
#include "protocol/codec_fields.h"
#include "protocol/codec_tables.h"

/* ---- agents' channel ---- */

#define THIS struct release_item
static const struct codec_field release_item_fields[] = {
	F_FIXED(1, digest),
};
CODEC_STRUCT(release_item);
#undef THIS

#define THIS struct peer_complaint
static const struct codec_field peer_complaint_fields[] = {
	F_FIXED(1, node),
	F_ENUM(2, fault, PEER_FAULT_COUNT),
	F_PROSE(3, text),
};
CODEC_STRUCT(peer_complaint);
#undef THIS

#define THIS struct msg_peer_report
static const struct codec_field msg_peer_report_fields[] = {
	F_STR(1, address),
	F_U32(2, port),
	F_PROSE(3, text),
	F_LIST(4, complaints, peer_complaint, LIMIT_NEIGHBOURS),
	F_BOOL(5, off),
};
CODEC_STRUCT(msg_peer_report);
#undef THIS

#define THIS struct msg_neighbour
static const struct codec_field msg_neighbour_fields[] = {
	F_FIXED(1, id),
	F_STR(2, name),
	F_FIXED(3, link_key),
	F_STR(4, endpoint),
	F_BOOL(5, dial),
	F_BOOL(6, far),
	F_LIST(7, releases, release_item, 2 * LIMIT_DEPLOYMENTS_PER_NODE),
};
CODEC_STRUCT(msg_neighbour);
#undef THIS

#define THIS struct msg_neighbours
static const struct codec_field msg_neighbours_fields[] = {
	F_BYTES(1, identity, LIMIT_ROOT_DOCUMENT),
	F_LIST(2, neighbours, msg_neighbour, LIMIT_NEIGHBOURS),
	F_BOOL(3, all),
};
CODEC_STRUCT(msg_neighbours);
#undef THIS

/* ---- chunks by number ---- */

#define THIS struct msg_peer_hello
static const struct codec_field msg_peer_hello_fields[] = {
	F_U32(1, protocol_version),
	F_BYTES(2, identity, LIMIT_PEER_HELLO - 1024),
	F_U64(3, session),
	F_BOOL(4, data),
};
CODEC_STRUCT(msg_peer_hello);
#undef THIS

#define THIS struct msg_offer
static const struct codec_field msg_offer_fields[] = {
	F_FIXED(1, release),
	F_U32(2, chunks),
	F_BYTES(3, bitmap, LIMIT_PEER_CHUNKS / 8),
	F_BOOL(4, first),
};
CODEC_STRUCT(msg_offer);
#undef THIS

#define THIS struct chunk_run
static const struct codec_field chunk_run_fields[] = {
	F_U32(1, first),
	F_U32(2, count),
};
CODEC_STRUCT(chunk_run);
#undef THIS

#define THIS struct msg_have
static const struct codec_field msg_have_fields[] = {
	F_FIXED(1, release),
	F_LIST(2, runs, chunk_run, LIMIT_PEER_RUNS),
};
CODEC_STRUCT(msg_have);
#undef THIS

#define THIS struct msg_request
static const struct codec_field msg_request_fields[] = {
	F_FIXED(1, release),
	F_U32(2, chunk),
	F_BOOL(3, any),
	F_U64(4, taken),
	F_BOOL(5, behind),
	F_BOOL(6, takes_coded),
};
CODEC_STRUCT(msg_request);
#undef THIS

#define THIS struct msg_taken
static const struct codec_field msg_taken_fields[] = {
	F_U64(1, taken),
};
CODEC_STRUCT(msg_taken);
#undef THIS

#define THIS struct msg_chunk
static const struct codec_field msg_chunk_fields[] = {
	F_FIXED(1, release),
	F_U32(2, chunk),
	F_BYTES(3, data, LIMIT_CHUNK),
	F_BOOL(4, coded),
};
CODEC_STRUCT(msg_chunk);
#undef THIS

#define THIS struct msg_refuse
static const struct codec_field msg_refuse_fields[] = {
	F_ENUM(1, reason, REFUSAL_COUNT),
	F_FIXED(2, release),
	F_U32(3, chunk),
	F_BOOL(4, any),
	F_BOOL(5, neighbour),
	F_PROSE(6, text),
};
CODEC_STRUCT(msg_refuse);
#undef THIS
