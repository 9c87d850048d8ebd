/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firewall of before nftables (iptables-legacy), which its listing does not show. Only asked,
 * and only where somebody uses it: asking would bring it up.
 */
#pragma once

#include <stdbool.h>

/* Is there a filter table of IPv4 whose FORWARD chain drops what no rule accepts? */
bool xtables_drops_forward(void);
