/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MESSAGE_ID of each event that an operator may look for in the journal
 * (https://systemd.io/CATALOG). systemd/covey-agent.catalog and covey-coordinator.catalog explain
 * each one (`journalctl -x`); the test `packaging` compares. An id never changes its meaning.
 */
#pragma once

/* covey-agent and covey-helper */
#define LOG_ID_COMPLETED "0fcd90eafe5f5e8fba0a435ca5730aa3"
#define LOG_ID_ROLLED_BACK "4ed8fc7c3a355b6ea4d650f3d49226ba"
#define LOG_ID_VETO "eb77ea971f7c5e6083525b8881b7e609"
#define LOG_ID_FAILED "e916f32129fb54b6a91649717bb1d4f7"
#define LOG_ID_HELPER_LOST "91f5fe979a275399bd005bcbaa343c39"
#define LOG_ID_REFUSED "42e09340ba9d55e4aaf04aae2cad3b46"
#define LOG_ID_NO_JOURNAL "8b51e428fe2e56b897214142fd212de8"
#define LOG_ID_RULES_CHANGED "9d571019da9359329d5207460d6d337e"
#define LOG_ID_RULES_FAILED "47a44e2d895351f3ba52bc0e1979f7f1"

/* covey-coordinator */
#define LOG_ID_NODE_JOINED "ca087f191f7c5992b9bcd63385424db8"
#define LOG_ID_JOIN_REFUSED "905bbd514f0d5edfb25965b72d45164c"
#define LOG_ID_NODE_UNREACHABLE "ee669552975b5989bb5204b58ced3f3d"
#define LOG_ID_NODE_OUTCOME "57bfaa61fc375b4c884fb1035a7677fe"
#define LOG_ID_ROLLOUT "a2dc860d708e57028b4faed0096985c9"
#define LOG_ID_NODE_FAILED "77517f59b5645e0c84ee6cd72b1d9390"
#define LOG_ID_FUSE "fbcd49637056548490a4f61a0f1fcc1c"
#define LOG_ID_FREEZE "5b283f19dd975672b823a3b7de891d18"
#define LOG_ID_EPOCH "995a8a13758a5c21a6ec6b5f8a3d9b13"
#define LOG_ID_STATE_BROKEN "f75f876d27d356c9a30b0fb2008be5b5"
