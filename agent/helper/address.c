/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim is a symlink <state>/index/<number> -> <slot>: made atomically, read without parsing.
 * Claims are never removed, so a search may stop at the first number that nobody ever had; when
 * none is left, the number of a slot that does not run is taken over. The lock keeps two workers
 * from doing that at once.
 */
#include "agent/helper/address.h"

#include "agent/helper/idmap.h"
#include "agent/helper/sockets.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <stdio.h>

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a, 64 bit */

	for (const char *c = text; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	return hash ^ hash >> 29;
}

static void text4(char *dst, uint32_t address)
{
	struct in_addr in = {htonl(address)};

	inet_ntop(AF_INET, &in, dst, 16);
}

static void text6(const struct agent_config *config, uint32_t index, uint8_t host, char *dst)
{
	uint64_t id = hash_text(config->helper.instance);
	uint8_t bytes[16] = {0xfd};

	memcpy(bytes + 1, &id, 5);
	bytes[6] = (uint8_t)(index >> 8);
	bytes[7] = (uint8_t)index;
	bytes[15] = host;
	inet_ntop(AF_INET6, bytes, dst, ADDRESS6_MAX);
}

void address_subnet4(const struct agent_config *config, char dst[24])
{
	text4(dst, config->helper.subnet);
	snprintf(dst + strlen(dst), 8, "/%" PRIu32, config->helper.subnet_prefix);
}

void address_subnet6(const struct agent_config *config, char dst[ADDRESS6_MAX])
{
	text6(config, 0, 0, dst);
	strncat(dst, "/48", ADDRESS6_MAX - strlen(dst) - 1);
}

uint32_t address_slots(const struct agent_config *config)
{
	uint32_t count = UINT32_C(1) << (30 - config->helper.subnet_prefix);

	return count < ADDRESS_SLOTS_MAX ? count : ADDRESS_SLOTS_MAX;
}

void address_of(const struct agent_config *config, uint32_t index, struct address *ret_address)
{
	*ret_address = (struct address){.index = index};
	text4(ret_address->node4, config->helper.subnet + 4 * index + 1);
	text4(ret_address->slot4, config->helper.subnet + 4 * index + 2);
	text6(config, index, 1, ret_address->node6);
	text6(config, index, 2, ret_address->slot6);
}

struct claim { /* numbers base..base+count-1 in one folder of symlinks */
	const char *folder;
	uint32_t base, count;
	bool (*usable)(uint32_t number); /* NULL: always */
	bool only_find;                  /* do not claim a new one */
};

static void claim_path(const struct agent_config *config, const struct claim *claim,
                       uint32_t number, char path[PATHS_MAX])
{
	char tail[64];

	snprintf(tail, sizeof(tail), "/%s/%" PRIu32, claim->folder, number);
	paths_state(config, path, tail);
}

/* The name of the slot that has a number; "" for nobody. */
static void owner_of(const struct agent_config *config, const struct claim *claim, uint32_t number,
                     char dst[SLOT_NAME_MAX])
{
	char path[PATHS_MAX];
	ssize_t size;

	claim_path(config, claim, number, path);
	size = readlink(path, dst, SLOT_NAME_MAX - 1);
	dst[size > 0 ? size : 0] = 0;
}

static bool is_idle(const struct agent_config *config, const char *owner)
{
	char path[PATHS_MAX], deployment[LIMIT_NAME + 1];
	struct slot_name slot;
	enum colour colour;

	if (!paths_slot_parse(owner, deployment, &colour) || STR_SET(slot.text, owner))
		return true;
	return access(paths_slot_run(config, &slot, path, ""), F_OK) < 0;
}

static int take(const struct agent_config *config, const struct claim *claim,
                const struct slot_name *slot, uint32_t number, struct err *err)
{
	char path[PATHS_MAX], temporary[PATHS_MAX + 8];

	claim_path(config, claim, number, path);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	unlink(temporary);
	if (symlink(slot->text, temporary) < 0 || rename(temporary, path) < 0)
		return err_errno(err, -errno, "%s", path);
	return 0;
}

static int claim_number(struct worker *worker, const struct claim *claim,
                        const struct slot_name *slot, uint32_t *ret_number, struct err *err)
{
	const struct agent_config *config = &worker->config;
	uint32_t start = (uint32_t)(hash_text(slot->text) % claim->count), idle = UINT32_MAX;
	char owner[SLOT_NAME_MAX], path[PATHS_MAX], tail[32];
	AUTO_CLOSE int lock = worker_lock(worker, claim->folder, false, err);
	int r = lock < 0 ? lock : 0;

	snprintf(tail, sizeof(tail), "/%s", claim->folder);
	if (r == 0)
		r = paths_make(paths_state(config, path, tail), 0700, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < claim->count; i++) {
		uint32_t number = claim->base + (start + i) % claim->count;
		bool usable = !claim->usable || claim->usable(number);

		owner_of(config, claim, number, owner);
		if (str_equal(owner, slot->text) && usable) {
			*ret_number = number;
			return 0;
		}
		if (idle == UINT32_MAX && usable && owner[0] && is_idle(config, owner))
			idle = number;
		if (owner[0] || !usable)
			continue;
		if (claim->only_find)
			return -ENOENT;
		*ret_number = number;
		return take(config, claim, slot, number, err);
	}
	if (claim->only_find)
		return -ENOENT;
	if (idle == UINT32_MAX)
		return err_set(err, -EADDRNOTAVAIL,
		               "every number of `%s` of this node is taken by another slot",
		               claim->folder);
	*ret_number = idle;
	return take(config, claim, slot, idle, err);
}

int address_claim(struct worker *worker, const struct slot_name *slot, uint32_t *ret_index,
                  struct err *err)
{
	const struct claim claim = {.folder = "index", .count = address_slots(&worker->config)};

	return claim_number(worker, &claim, slot, ret_index, err);
}

int address_find(struct worker *worker, const struct slot_name *slot, uint32_t *ret_index,
                 struct err *err)
{
	const struct claim claim = {
	    .folder = "index", .count = address_slots(&worker->config), .only_find = true};

	return claim_number(worker, &claim, slot, ret_index, err);
}

int address_claim_ids(struct worker *worker, const struct slot_name *slot, uint32_t *ret_range,
                      struct err *err)
{
	/* Number 0 is the trial's. */
	const struct claim claim = {.folder = "ids", .base = 1, .count = IDMAP_RANGES - 1};

	return claim_number(worker, &claim, slot, ret_range, err);
}

static bool port_is_free(uint32_t port)
{
	uint64_t listeners;

	return sockets_count(0, port, SOCKETS_LISTEN, &listeners, NULL) == 0 && listeners == 0;
}

int address_claim_port(struct worker *worker, const struct slot_name *slot, uint32_t *ret_port,
                       struct err *err)
{
	const struct config_helper *helper = &worker->config.helper;
	const struct claim claim = {.folder = "ports",
	                            .base = helper->port_low,
	                            .count = helper->port_high - helper->port_low + 1,
	                            .usable = port_is_free};

	return claim_number(worker, &claim, slot, ret_port, err);
}

bool address_ipv6(void)
{
	AUTO_FCLOSE FILE *file = fopen("/proc/sys/net/ipv6/conf/all/disable_ipv6", "re");

	return file && fgetc(file) == '0';
}

static bool overlaps(const struct agent_config *config, uint32_t address, uint32_t mask)
{
	uint32_t ours = UINT32_MAX << (32 - config->helper.subnet_prefix);
	uint32_t both = mask & ours;

	return mask && (address & both) == (config->helper.subnet & both);
}

static int refuse(const struct agent_config *config, const char *what, uint32_t address,
                  uint32_t mask, const char *interface, struct err *err)
{
	char subnet[24], other[16];

	address_subnet4(config, subnet);
	text4(other, address);
	return err_set(err, -EADDRINUSE,
	               "the slots' subnet %s overlaps with %s %s/%d of interface %s: set another "
	               "subnet in agent.conf",
	               subnet, what, other, __builtin_popcount(mask), interface);
}

static int check_routes(const struct agent_config *config, const char *prefix, struct err *err)
{
	AUTO_FCLOSE FILE *file = fopen("/proc/self/net/route", "re");
	char line[256], interface[32];
	unsigned to, mask;

	while (file && fgets(line, sizeof(line), file)) {
		/* lo: our own route for the whole subnet */
		if (sscanf(line, "%31s %x %*x %*x %*d %*d %*d %x", interface, &to, &mask) != 3 ||
		    str_starts(interface, prefix) || str_equal(interface, "lo"))
			continue;
		if (overlaps(config, ntohl(to), ntohl(mask)))
			return refuse(config, "route", ntohl(to), ntohl(mask), interface, err);
	}
	return 0;
}

int address_check_overlap(const struct agent_config *config, struct err *err)
{
	char prefix[INTERFACE_MAX];
	struct ifaddrs *all = NULL;
	int r;

	paths_interface_prefix(config, prefix);
	r = check_routes(config, prefix, err);
	if (r < 0 || getifaddrs(&all) < 0)
		return r;
	for (const struct ifaddrs *i = all; i && r == 0; i = i->ifa_next) {
		const struct sockaddr_in *in = (const void *)i->ifa_addr;
		const struct sockaddr_in *mask = (const void *)i->ifa_netmask;

		if (!in || in->sin_family != AF_INET || !mask || str_starts(i->ifa_name, prefix))
			continue;
		if (overlaps(config, ntohl(in->sin_addr.s_addr), ntohl(mask->sin_addr.s_addr)))
			r = refuse(config, "address", ntohl(in->sin_addr.s_addr),
			           ntohl(mask->sin_addr.s_addr), i->ifa_name, err);
	}
	freeifaddrs(all);
	return r;
}
