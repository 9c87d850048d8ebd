/* SPDX-License-Identifier: Apache-2.0 */
/* The program is cli_main() and nothing else, so that tests can call all of it. */
#include "coordinator/cli/cli.h"

#include <locale.h>

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "C.UTF-8"); /* table widths; what people type stays bytes */
	return cli_main(argc, argv);
}
