/* SPDX-License-Identifier: Apache-2.0 */
/* covey-worker-clear CONFIG: what `covey-helper --clear` becomes; the only worker without a helper.
 */
#include "agent/helper/clear.h"
#include "base/clock.h"
#include "base/log.h"

enum { CLEAR_MS = 120000 };

int main(int argc, char **argv)
{
	static struct worker worker = {.mode = "clear"};
	struct err err = {0};
	int r;

	log_open("covey-helper", LOG_LEVEL_INFO);
	if (argc != 2) {
		log_error("covey-helper --clear starts this program");
		return 2;
	}
	worker.end_ms = clock_mono_ms() + CLEAR_MS;
	r = config_load(argv[1], &worker.config, &err);
	if (r == 0)
		r = clear_node(&worker, &err);
	if (r < 0)
		log_error("%s", err_text(&err, r));
	return r < 0 ? 1 : 0;
}
