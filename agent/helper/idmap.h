/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of a container apart from those of the node: a range of 65536 for each slot, and files of the
 * node shown to a container as if their owners were in that range. Range n starts at
 * IDMAP_FIRST + n * IDMAP_SIZE: above every range that Debian (/etc/subuid) and systemd give away,
 * below 2^31 (systemd's UIDS-GIDS.md).
 */
#pragma once

#include "base/err.h"

#include <stdint.h>

enum { IDMAP_SIZE = 65536, IDMAP_RANGES = 4094 };
#define IDMAP_FIRST UINT32_C(1879048192)

/* A user namespace in which id 0 is `first` outside; nobody is in it. A descriptor. */
int idmap_open(uint32_t first, struct err *err) COVEY_MUST_CHECK;
/* Mounts the directory source at target, read-only, owners moved as by that namespace. The file
 * system must know how (-EINVAL): ext4, xfs, btrfs do, tmpfs since Linux 6.3. */
int idmap_bind(int space, const char *source, const char *target,
               struct err *err) COVEY_MUST_CHECK;
