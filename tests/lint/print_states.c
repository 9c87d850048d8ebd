/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/STATES.md from the tables of the two machines; a lint compares the two. */
#include "agent/core/deploy_table.h"
#include "base/str.h"
#include "coordinator/core/rollout_table.h"

int main(void)
{
	AUTO_STR struct str node = {0};

	puts("# The two machines\n\nPrinted from the tables in the code by `tests/lint/print_states`; "
	     "a test fails when this file differs.\n\n## A rollout (coordinator)\n\n```mermaid");
	rollout_table_print(stdout);
	puts("```\n\n## A deployment on a node (agent)\n\n```mermaid");
	deploy_table_print(&node);
	fputs(str_get(&node), stdout);
	puts("```");
	return 0;
}
