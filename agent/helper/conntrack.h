/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that the kernel tracks, by raw netlink (ctnetlink). */
#pragma once

#include "base/err.h"

/* Forgets every connection in our network namespace whose answers come from this address (IPv4 or
 * IPv6 text): the ones that were translated to a slot. Returns how many, or -errno (a kernel
 * without conntrack: -EPROTONOSUPPORT or -EINVAL). */
int conntrack_forget(const char *address);
