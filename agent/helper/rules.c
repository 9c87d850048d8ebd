/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel sends one message for each object of a transaction, all of which carry the table's
 * name in attribute 1, and ends it with NEWGEN, which carries the process. When our buffer
 * overflows (ENOBUFS) nobody knows what happened, so that counts as a change.
 */
#include "agent/helper/rules.h"

#include "agent/helper/netlink.h"
#include "base/str.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

enum { ATTRIBUTE_TABLE = 1 }; /* NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, ... */
_Static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 &&
                   NFTA_SET_TABLE == 1 && NFTA_SET_ELEM_LIST_TABLE == 1,
               "the table's name is always the first attribute");

/* The string in the attribute of a type, or NULL. */
static const char *text_of(const struct nlmsghdr *head, uint16_t type)
{
	size_t size;
	const void *data = netlink_attributes(head, sizeof(struct nfgenmsg), &size);
	const struct nlattr *found = netlink_find(data, size, type);

	return found && memchr(found + 1, 0, found->nla_len - sizeof(*found))
	           ? (const char *)(found + 1)
	           : NULL;
}

bool rules_take(struct rules *rules, const void *data, size_t size)
{
	const uint8_t *at = data, *end = at + size;
	const struct nlmsghdr *head;
	bool changed = false;

	while ((head = netlink_next(&at, end))) {
		const char *text;

		if (head->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
			continue;
		if ((head->nlmsg_type & 255) != NFT_MSG_NEWGEN) {
			text = text_of(head, ATTRIBUTE_TABLE);
			rules->touched = rules->touched || (text && str_equal(text, rules->table));
			continue;
		}
		text = text_of(head, NFTA_GEN_PROC_NAME);
		changed = changed || (rules->touched && !(text && str_equal(text, rules->worker)));
		rules->touched = false;
	}
	return changed;
}

static void on_message(struct loop_source *source)
{
	static _Alignas(struct nlmsghdr) uint8_t data[16 << 10];
	struct rules *rules = source->owner;
	ssize_t size = recv(source->fd, data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC);

	if (size < 0 && errno != ENOBUFS)
		return;
	if (size < 0 || (size_t)size > sizeof(data) || rules_take(rules, data, (size_t)size))
		rules->changed(rules->context);
}

int rules_open(struct rules *rules, struct loop *loop, const char *table, const char *worker,
               void (*changed)(void *context), void *context, struct err *err)
{
	const struct sockaddr_nl ours = {.nl_family = AF_NETLINK};
	const int group = NFNLGRP_NFTABLES;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER), r;

	*rules = (struct rules){.source.fd = -1, .changed = changed, .context = context};
	str_cut(rules->table, sizeof(rules->table), table);
	str_cut(rules->worker, sizeof(rules->worker), worker);
	if (fd < 0)
		return err_errno(err, -errno, "no netlink socket");
	/* Bound: the kernel takes a socket without an address for the sender and tells it nothing.
	 */
	if (bind(fd, (const struct sockaddr *)&ours, sizeof(ours)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
		r = -errno;
		close(fd);
		return err_errno(err, r, "the kernel does not tell changes of nftables");
	}
	r = loop_add(loop, &rules->source, fd, on_message, rules);
	return r < 0 ? err_errno(err, r, "netlink socket") : 0;
}

void rules_close(struct rules *rules, struct loop *loop)
{
	loop_remove(loop, &rules->source);
}
