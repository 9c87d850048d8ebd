/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every name that the helper gives to things outside itself: files, interfaces, control groups,
 * the nftables table. All come from agent.conf and from a checked deployment name, never from a
 * path in a request. Directories that must be root's own are checked, not assumed.
 *
 *   <helper state>/layers/<diff id>/            one unpacked layer (overlayfs lower directory)
 *   <helper state>/releases/<digest>/manifest   complete: layers are there, model/ is sealed
 *   <helper state>/releases/<digest>/model/...  hard links to sealed blobs
 *   <helper state>/slots/<slot>/{address,port}  what a slot keeps over restarts
 *   <helper state>/logs/<slot>/log              what its container printed (k8s-file)
 *   <run>/helper/slots/<slot>/...               bundle, pid files, record: gone after a reboot
 *   <run>/helper/traffic                        the map that was applied last
 *   <run>/observe/<slot>/                       the agent's datagram socket, seen by the container
 */
#pragma once

#include "agent/config.h"
#include "agent/helper/api.h"

enum {
	SLOT_NAME_MAX = LIMIT_NAME + 7, /* "<deployment>-<colour>" */
	PATHS_MAX = CONFIG_PATH_MAX + 256,
	DIGEST_HEX_MAX = 2 * DIGEST_SIZE + 1,
	INTERFACE_MAX = 16,
	TABLE_MAX = 32,
};

struct slot_name {
	char text[SLOT_NAME_MAX];
};

bool paths_name_ok(const char *deployment); /* as name_is_valid() of protocol/manifest.h */
/* -EINVAL for a name or colour that is none. */
int paths_slot(const char *deployment, enum colour colour, struct slot_name *ret_slot,
               struct err *err) COVEY_MUST_CHECK;
/* The way back, for directory listings. False: not a slot's name. */
bool paths_slot_parse(const char *text, char ret_deployment[LIMIT_NAME + 1],
                      enum colour *ret_colour);
const char *paths_colour(enum colour colour);

/* All write into dst[PATHS_MAX] and return it. `tail` is "" or starts with /. */
char *paths_state(const struct agent_config *config, char dst[PATHS_MAX], const char *tail);
char *paths_run(const struct agent_config *config, char dst[PATHS_MAX], const char *tail);
char *paths_slot_run(const struct agent_config *config, const struct slot_name *slot,
                     char dst[PATHS_MAX], const char *tail);
char *paths_slot_state(const struct agent_config *config, const struct slot_name *slot,
                       char dst[PATHS_MAX], const char *tail);
char *paths_log(const struct agent_config *config, const struct slot_name *slot,
                char dst[PATHS_MAX], const char *tail);
char *paths_observe(const struct agent_config *config, const struct slot_name *slot,
                    char dst[PATHS_MAX]);
char *paths_layer(const struct agent_config *config, const uint8_t diff_id[DIGEST_SIZE],
                  char dst[PATHS_MAX]);
char *paths_release(const struct agent_config *config, const struct digest *release,
                    char dst[PATHS_MAX], const char *tail);
char *paths_cgroup(const struct agent_config *config, const struct slot_name *slot,
                   char dst[PATHS_MAX]); /* as in OCI's cgroupsPath */

/* "covey_<instance>" */
void paths_table(const struct agent_config *config, char dst[TABLE_MAX]);
/* What the names of all interfaces of this instance start with: "cv" and six letters. */
void paths_interface_prefix(const struct agent_config *config, char dst[INTERFACE_MAX]);
/* <prefix>e<index> for slots that may open connections to the outside, <prefix>d<index> for the
 * others: the firewall's rules tell them apart by name, so that starting a slot changes no rule. */
void paths_interface(const struct agent_config *config, bool egress, uint32_t index,
                     char dst[INTERFACE_MAX]);

/* A number for the part of agent.conf that must not change while the helper runs: directories,
 * instance, subnet. Workers read the file anew and compare. */
uint64_t paths_identity(const struct agent_config *config);

/* Makes the directories of state and run with their modes; refuses those that somebody other than
 * root could change. */
int paths_prepare(const struct agent_config *config, struct err *err) COVEY_MUST_CHECK;
/* mkdir -p of one path with this mode for what is missing. */
int paths_make(const char *path, mode_t mode, struct err *err) COVEY_MUST_CHECK;
/* 0 when the directory belongs to us or root and nobody else may write to it. */
int paths_check_own(const char *path, struct err *err) COVEY_MUST_CHECK;
/* rm -r without following links or crossing into other mounts. 0 also when nothing was there. */
int paths_remove(const char *path, struct err *err) COVEY_MUST_CHECK;

/* Whole small files. Writing is atomic (temporary name, rename). Reading is bounded by max and
 * adds a NUL that size does not count. */
int paths_write(const char *path, const void *data, size_t size, mode_t mode,
                struct err *err) COVEY_MUST_CHECK;
int paths_read(const char *path, size_t max, struct bytes *ret_data,
               struct err *err) COVEY_MUST_CHECK;
