/* SPDX-License-Identifier: Apache-2.0 */
/* covey-worker-unpack: releases on the disk. */
#include "agent/helper/store.h"

int main(int argc, char **argv)
{
	static const struct worker_op ops[] = {
	    {HELPER_UNPACK, store_unpack},
	    {HELPER_PRUNE, store_prune},
	};

	return worker_main(argc, argv, ops, ARRAY_SIZE(ops));
}
