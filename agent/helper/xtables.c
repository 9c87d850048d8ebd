/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel hands the table out as one block; where a built-in chain ends (`underflow`) stands the
 * rule that is its policy, with a standard target whose verdict is -1 - NF_DROP for "drop".
 */
#include "agent/helper/xtables.h"

#include "base/mem.h"
#include "base/str.h"

#include <linux/netfilter_ipv4/ip_tables.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { TABLE_SIZE_MAX = 16 << 20 };

static bool is_in_use(void)
{
	AUTO_FCLOSE FILE *file = fopen("/proc/net/ip_tables_names", "re");
	char line[64];

	while (file && fgets(line, sizeof(line), file))
		if (str_equal(line, "filter\n"))
			return true;
	return false;
}

static bool drops(const struct ipt_get_entries *all, uint32_t at)
{
	const uint8_t *bytes = (const uint8_t *)all->entrytable;
	struct ipt_entry entry;
	struct xt_standard_target target;

	if (at > all->size || all->size - at < sizeof(entry))
		return false;
	memcpy(&entry, bytes + at, sizeof(entry));
	if (all->size - at - sizeof(entry) < sizeof(target) ||
	    entry.target_offset > all->size - at - sizeof(target))
		return false;
	memcpy(&target, bytes + at + entry.target_offset, sizeof(target));
	return target.target.u.user.name[0] == 0 && target.verdict == -1 - NF_DROP;
}

bool xtables_drops_forward(void)
{
	AUTO_CLOSE int fd = is_in_use() ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
	struct ipt_getinfo info = {.name = "filter"};
	AUTO_FREE struct ipt_get_entries *all = NULL;
	socklen_t size = sizeof(info);

	if (fd < 0 || getsockopt(fd, IPPROTO_IP, IPT_SO_GET_INFO, &info, &size) < 0 ||
	    info.size > TABLE_SIZE_MAX || !(info.valid_hooks & 1u << NF_INET_FORWARD))
		return false;
	size = (socklen_t)(sizeof(*all) + info.size);
	all = mem_alloc(size);
	*all = (struct ipt_get_entries){.name = "filter", .size = info.size};
	return getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, all, &size) == 0 &&
	       drops(all, info.underflow[NF_INET_FORWARD]);
}
