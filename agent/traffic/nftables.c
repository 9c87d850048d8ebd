/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed part is one text with three placeholders (%T table, %I interfaces, %4 and %6 subnets);
 * the variable part are three maps. Why each rule stands there:
 *
 * raw: a packet for 127/8 that did not come in through lo is an attack (route_localnet on the
 * slots' interfaces would let it pass); a slot may only send from its own address.
 * dstnat, output: only for the node's own addresses, so that forwarded traffic of others to the
 * same port passes untouched. Slots are not clients of the map: they would reach each other.
 * IPv6 has no route_localnet: ::1 stays untranslated, so that clients of `localhost` are refused at
 * once there and take 127.0.0.1.
 * srcnat: a slot cannot answer to 127.0.0.1, so local clients borrow the node's address.
 * forward: replies first, then what the map brought in, then what slots may open.
 * input: the address of a slot that is gone counts as the node's own (agent/helper/slotnet.c), so
 * that whoever the map still sends there gets a reset at once;
 * a slot may answer the node but not open anything to it, but for neighbour discovery.
 *
 * One transaction must parse on its own: chains are added (nothing happens when they are there),
 * flushed and filled again.
 */
#include "agent/traffic/nftables.h"

#include <inttypes.h>
#include <string.h>

static const char rules[] =
    "add table inet %T\n"
    "add map inet %T slots4 { type inet_service : ipv4_addr . inet_service; }\n"
    "add map inet %T slots6 { type inet_service : ipv6_addr . inet_service; }\n"
    "add map inet %T local { type inet_service : inet_service; }\n"
    "add chain inet %T raw { type filter hook prerouting priority raw; policy accept; }\n"
    "add chain inet %T dstnat { type nat hook prerouting priority dstnat; policy accept; }\n"
    "add chain inet %T output { type nat hook output priority -100; policy accept; }\n"
    "add chain inet %T srcnat { type nat hook postrouting priority srcnat; policy accept; }\n"
    "add chain inet %T forward { type filter hook forward priority filter; policy accept; }\n"
    "add chain inet %T input { type filter hook input priority filter; policy accept; }\n"
    "flush table inet %T\n"
    "flush map inet %T slots4\n"
    "flush map inet %T slots6\n"
    "flush map inet %T local\n"

    "add rule inet %T raw iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n"
    "add rule inet %T raw iifname \"%I*\" fib saddr . iif oif missing drop\n"

    "add rule inet %T dstnat iifname \"%I*\" return\n"
    "add rule inet %T dstnat fib daddr type != local return\n"
    "add rule inet %T dstnat dnat ip to tcp dport map @slots4\n"
    "add rule inet %T dstnat dnat ip6 to tcp dport map @slots6\n"
    "add rule inet %T dstnat meta l4proto tcp redirect to : tcp dport map @local\n"

    "add rule inet %T output fib daddr type != local return\n"
    "add rule inet %T output dnat ip to tcp dport map @slots4\n"
    "add rule inet %T output ip6 daddr != ::1 dnat ip6 to tcp dport map @slots6\n"
    "add rule inet %T output meta l4proto tcp redirect to : tcp dport map @local\n"

    "add rule inet %T srcnat oifname \"%I*\" ip saddr 127.0.0.0/8 masquerade\n"
    "add rule inet %T srcnat oifname != \"%I*\" ip saddr %4 masquerade\n"
    "add rule inet %T srcnat oifname != \"%I*\" ip6 saddr %6 masquerade\n"

    "add rule inet %T forward iifname \"%I*\" oifname \"%I*\" drop\n"
    "add rule inet %T forward oifname \"%I*\" ct direction reply accept\n"
    "add rule inet %T forward oifname \"%I*\" ct status dnat accept\n"
    "add rule inet %T forward oifname \"%I*\" ct state related accept\n"
    "add rule inet %T forward oifname \"%I*\" drop\n"
    "add rule inet %T forward iifname \"%I*\" ct direction reply accept\n"
    "add rule inet %T forward iifname \"%I*\" ct state related accept\n"
    "add rule inet %T forward iifname \"%Ie*\" accept\n"
    "add rule inet %T forward iifname \"%I*\" drop\n"

    "add rule inet %T input iifname != \"%I*\" ip daddr %4 meta l4proto tcp "
    "reject with tcp reset\n"
    "add rule inet %T input iifname != \"%I*\" ip6 daddr %6 meta l4proto tcp "
    "reject with tcp reset\n"
    "add rule inet %T input iifname != \"%I*\" accept\n"
    "add rule inet %T input ct direction reply ct state established,related accept\n"
    "add rule inet %T input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
    "add rule inet %T input drop\n";

static void expand(struct str *text, const char *pattern, const struct nftables_table *table)
{
	const char *percent;

	while ((percent = strchr(pattern, '%'))) {
		str_add_bytes(text, pattern, (size_t)(percent - pattern));
		if (percent[1] == 'T')
			str_add(text, table->name);
		else if (percent[1] == 'I')
			str_add(text, table->interfaces);
		else if (percent[1] == '4')
			str_add(text, table->subnet);
		else
			str_add(text, table->subnet6);
		pattern = percent + 2;
	}
	str_add(text, pattern);
}

static void add_route(struct str *text, const struct nftables_table *table,
                      const struct nftables_route *route)
{
	if (!route->address) {
		str_addf(text, "add element inet %s local { %" PRIu32 " : %" PRIu32 " }\n",
		         table->name, route->port, route->slot_port);
		return;
	}
	str_addf(text, "add element inet %s slots4 { %" PRIu32 " : %s . %" PRIu32 " }\n",
	         table->name, route->port, route->address, route->slot_port);
	if (route->address6)
		str_addf(text, "add element inet %s slots6 { %" PRIu32 " : %s . %" PRIu32 " }\n",
		         table->name, route->port, route->address6, route->slot_port);
}

void nftables_transaction(const struct nftables_table *table, struct str *ret_text)
{
	AUTO_STR struct str text = {0};

	expand(&text, rules, table);
	if (table->closed4)
		expand(&text, "add rule inet %T forward meta nfproto ipv4 drop\n", table);
	if (table->closed6)
		expand(&text, "add rule inet %T forward meta nfproto ipv6 drop\n", table);
	for (size_t i = 0; i < table->routes_count; i++)
		add_route(&text, table, &table->routes[i]);
	str_free(ret_text);
	*ret_text = text;
	text = (struct str){0};
}
