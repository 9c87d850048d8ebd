/* SPDX-License-Identifier: Apache-2.0 */
/* Walking over what the kernel sends on netlink sockets, without believing its lengths. */
#pragma once

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

/* The message at *at, which moves on behind it; NULL when none is complete before end. */
const struct nlmsghdr *netlink_next(const uint8_t **at, const uint8_t *end);
/* The attributes behind a head of body_size bytes: where they start and, in *ret_size, how long. */
const void *netlink_attributes(const struct nlmsghdr *head, size_t body_size, size_t *ret_size);
/* The attribute of a type inside size bytes, or NULL. */
const struct nlattr *netlink_find(const void *data, size_t size, uint16_t type);
const struct nlattr *netlink_find_inside(const struct nlattr *outer, uint16_t type);
