/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table is dumped (the kernel filters by family only) and every entry whose reply direction
 * comes from the address is deleted by its original tuple, which is copied from the dump as it
 * stands. Two sockets, because a dump must not be mixed with other requests.
 */
#include "agent/helper/conntrack.h"

#include "agent/helper/netlink.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

struct address_bytes {
	uint8_t family, size;
	uint8_t bytes[16];
};

struct packet {
	struct nlmsghdr head;
	struct nfgenmsg family;
	uint8_t attributes[1024];
};

static int open_socket(void)
{
	const struct timeval timeout = {2, 0};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static bool answers_from(const struct nlattr *reply, const struct address_bytes *address)
{
	uint16_t type = address->family == AF_INET ? CTA_IP_V4_SRC : CTA_IP_V6_SRC;
	const struct nlattr *source =
	    netlink_find_inside(netlink_find_inside(reply, CTA_TUPLE_IP), type);

	return source && source->nla_len == sizeof(*source) + address->size &&
	       memcmp(source + 1, address->bytes, address->size) == 0;
}

static bool delete_entry(int fd, uint8_t family, const struct nlattr *original)
{
	struct packet request = {
	    .head = {.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
	             .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
	    .family = {.nfgen_family = family}};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		uint8_t rest[1024];
	} answer;

	if (original->nla_len > sizeof(request.attributes))
		return false;
	memcpy(request.attributes, original, original->nla_len);
	request.head.nlmsg_len = (uint32_t)(sizeof(request.head) + sizeof(request.family) +
	                                    ((original->nla_len + 3u) & ~3u));
	if (send(fd, &request, request.head.nlmsg_len, 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) <
	        (ssize_t)(sizeof(answer.head) + sizeof(answer.error)))
		return false;
	return answer.head.nlmsg_type == NLMSG_ERROR && answer.error.error == 0;
}

/* One packet of the dump. 1: more comes; 0: that was all; -errno. */
static int take_packet(const uint8_t *at, size_t size, const struct address_bytes *address,
                       int deleter, int *count)
{
	const uint8_t *end = at + size;
	const struct nlmsghdr *head;

	while ((head = netlink_next(&at, end))) {
		const struct nlattr *original;
		const void *body;
		size_t left;

		if (head->nlmsg_type == NLMSG_DONE)
			return 0;
		if (head->nlmsg_type == NLMSG_ERROR)
			return head->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr))
			           ? -EBADMSG
			           : ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
		body = netlink_attributes(head, sizeof(struct nfgenmsg), &left);
		original = netlink_find(body, left, CTA_TUPLE_ORIG);
		if (original && answers_from(netlink_find(body, left, CTA_TUPLE_REPLY), address))
			*count += delete_entry(deleter, address->family, original);
	}
	return 1;
}

int conntrack_forget(const char *text)
{
	AUTO_CLOSE int dumper = open_socket(), deleter = open_socket();
	struct packet request = {
	    .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct nfgenmsg)),
	             .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
	             .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	struct address_bytes address = {.family = strchr(text, ':') ? AF_INET6 : AF_INET,
	                                .size = strchr(text, ':') ? 16 : 4};
	_Alignas(8) uint8_t data[32768];
	int count = 0, more = 1;

	if (dumper < 0 || deleter < 0)
		return dumper < 0 ? dumper : deleter;
	if (inet_pton(address.family, text, address.bytes) != 1)
		return -EINVAL;
	request.family.nfgen_family = address.family;
	if (send(dumper, &request, request.head.nlmsg_len, 0) < 0)
		return -errno;
	while (more > 0) {
		ssize_t size = recv(dumper, data, sizeof(data), 0);

		if (size < 0 && errno != EINTR)
			return -errno;
		if (size > 0)
			more = take_packet(data, (size_t)size, &address, deleter, &count);
	}
	return more < 0 ? more : count;
}
