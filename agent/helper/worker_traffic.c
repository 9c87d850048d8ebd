/* SPDX-License-Identifier: Apache-2.0 */
/* covey-worker-traffic: the only program with libnftables inside that changes rules. */
#include "agent/helper/traffic.h"

int main(int argc, char **argv)
{
	static const struct worker_op ops[] = {{HELPER_TRAFFIC, traffic_apply}};

	return worker_main(argc, argv, ops, ARRAY_SIZE(ops));
}
