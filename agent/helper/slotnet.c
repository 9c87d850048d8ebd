/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces are made by `ip -batch` (iproute2 is on every Debian host): one process for each half.
 * The route that makes the whole subnet the node's own has the worst metric: it only shows when a
 * slot's own route is gone, and then the firewall resets clients at once, where the node's default
 * route would swallow them. (An "unreachable" route does not do: what is translated to it by the
 * output hook is dropped in silence.)
 */
#include "agent/helper/slotnet.h"

#include "agent/helper/conntrack.h"
#include "agent/helper/spawn.h"
#include "base/mem.h"

#include <net/if.h>

enum { IP_TIMEOUT_MS = 10000 };

void slotnet_plan(const struct agent_config *config, uint32_t index, bool egress,
                  struct slotnet *ret_net)
{
	*ret_net = (struct slotnet){.ipv6 = address_ipv6()};
	address_of(config, index, &ret_net->address);
	paths_interface(config, egress, index, ret_net->interface);
	address_subnet4(config, ret_net->subnet4);
	address_subnet6(config, ret_net->subnet6);
}

void slotnet_node_batch(const struct slotnet *net, pid_t container, struct str *ret_text)
{
	const char *name = net->interface;

	str_free(ret_text);
	str_addf(ret_text, "link add %s type veth peer name eth0 netns %d\n", name, (int)container);
	str_addf(ret_text, "addr add %s/30 dev %s\n", net->address.node4, name);
	if (net->ipv6)
		str_addf(ret_text, "addr add %s/64 dev %s nodad\n", net->address.node6, name);
	str_addf(ret_text, "link set %s up\n", name);
	str_addf(ret_text, "route replace local %s dev lo table main metric 4278198272\n",
	         net->subnet4);
	if (net->ipv6)
		str_addf(ret_text, "route replace local %s dev lo table main metric 4278198272\n",
		         net->subnet6);
}

void slotnet_slot_batch(const struct slotnet *net, struct str *ret_text)
{
	str_free(ret_text);
	str_add(ret_text, "link set lo up\n");
	str_addf(ret_text, "addr add %s/30 dev eth0\n", net->address.slot4);
	if (net->ipv6)
		str_addf(ret_text, "addr add %s/64 dev eth0 nodad\n", net->address.slot6);
	str_add(ret_text, "link set eth0 up\n");
	str_addf(ret_text, "route add default via %s\n", net->address.node4);
	if (net->ipv6)
		str_addf(ret_text, "route add default via %s dev eth0\n", net->address.node6);
}

static int run_batch(const struct str *text, pid_t netns, struct err *err)
{
	static const char *const argv[] = {"ip", "-batch", "-", NULL};
	const struct spawn spawn = {.argv = argv,
	                            .input = str_get(text),
	                            .output_max = 2048,
	                            .timeout_ms = IP_TIMEOUT_MS,
	                            .netns = netns};

	return spawn_check(&spawn, NULL, err);
}

/* Loopback clients borrow this interface: without the switch the kernel takes their packets for
 * forged ones. Only our own interfaces get it, and the firewall drops 127/8 from outside. */
static int allow_loopback(const char *interface, struct err *err)
{
	AUTO_FREE char *path = mem_format("/proc/sys/net/ipv4/conf/%s/route_localnet", interface);
	AUTO_FCLOSE FILE *file = fopen(path, "we");

	if (!file || fputc('1', file) == EOF || fflush(file) != 0)
		return err_errno(err, -errno, "%s", path);
	return 0;
}

int slotnet_up(struct worker *worker, const struct slotnet *net, pid_t container, struct err *err)
{
	AUTO_STR struct str text = {0};
	int r = slotnet_down(worker, net->address.index, err);

	if (r < 0)
		return r;
	slotnet_node_batch(net, container, &text);
	r = run_batch(&text, 0, err);
	if (r == 0)
		r = allow_loopback(net->interface, err);
	if (r < 0)
		return err_prefix(err, r, "network of the slot, the node's end");
	slotnet_slot_batch(net, &text);
	r = run_batch(&text, container, err);
	return r < 0 ? err_prefix(err, r, "network of the slot") : 0;
}

int slotnet_down(struct worker *worker, uint32_t index, struct err *err)
{
	for (int egress = 0; egress < 2; egress++) {
		AUTO_STR struct str text = {0};
		char name[INTERFACE_MAX];
		int r;

		paths_interface(&worker->config, egress, index, name);
		if (if_nametoindex(name) == 0)
			continue;
		str_addf(&text, "link del %s\n", name);
		r = run_batch(&text, 0, err);
		if (r < 0 && if_nametoindex(name) != 0) /* else it went by itself in between */
			return err_prefix(err, r, "interface %s", name);
	}
	return 0;
}

int slotnet_forget(const char *address4, const char *address6)
{
	int four = address4[0] ? conntrack_forget(address4) : 0;
	int six = address6[0] ? conntrack_forget(address6) : 0;

	return (four > 0 ? four : 0) + (six > 0 ? six : 0);
}
