/* SPDX-License-Identifier: Apache-2.0 */
/* covey-worker-slot: one request for one slot. */
#include "agent/helper/slot.h"

int main(int argc, char **argv)
{
	static const struct worker_op ops[] = {
	    {HELPER_START, slot_start},
	    {HELPER_STOP, slot_stop},
	    {HELPER_EXEC, slot_exec},
	    {HELPER_CLOSE, slot_close},
	};

	return worker_main(argc, argv, ops, ARRAY_SIZE(ops));
}
