/* SPDX-License-Identifier: Apache-2.0 */
/* covey-worker-preflight: questions that change nothing. */
#include "agent/helper/preflight.h"

int main(int argc, char **argv)
{
	static const struct worker_op ops[] = {
	    {HELPER_HELLO, preflight_hello},
	    {HELPER_PREFLIGHT, preflight_check},
	};

	return worker_main(argc, argv, ops, ARRAY_SIZE(ops));
}
