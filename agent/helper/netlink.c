/* SPDX-License-Identifier: Apache-2.0 */
/* Every step is checked against the bytes that are left, in unsigned arithmetic. */
#include "agent/helper/netlink.h"

static size_t aligned(size_t size)
{
	return (size + 3) & ~(size_t)3;
}

const struct nlmsghdr *netlink_next(const uint8_t **at, const uint8_t *end)
{
	const struct nlmsghdr *head = (const void *)*at;
	size_t left = (size_t)(end - *at);

	if (left < sizeof(*head) || head->nlmsg_len < sizeof(*head) || head->nlmsg_len > left)
		return NULL;
	*at = aligned(head->nlmsg_len) < left ? *at + aligned(head->nlmsg_len) : end;
	return head;
}

const void *netlink_attributes(const struct nlmsghdr *head, size_t body_size, size_t *ret_size)
{
	size_t skip = sizeof(*head) + aligned(body_size);

	*ret_size = head->nlmsg_len > skip ? head->nlmsg_len - skip : 0;
	return (const uint8_t *)head + skip;
}

const struct nlattr *netlink_find(const void *data, size_t size, uint16_t type)
{
	const uint8_t *at = data;

	while (size >= sizeof(struct nlattr)) {
		const struct nlattr *attribute = (const void *)at;
		size_t step = aligned(attribute->nla_len);

		if (attribute->nla_len < sizeof(*attribute) || attribute->nla_len > size)
			return NULL;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type)
			return attribute;
		if (step >= size)
			return NULL;
		at += step;
		size -= step;
	}
	return NULL;
}

const struct nlattr *netlink_find_inside(const struct nlattr *outer, uint16_t type)
{
	return outer ? netlink_find(outer + 1, outer->nla_len - sizeof(*outer), type) : NULL;
}
