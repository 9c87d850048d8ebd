/* SPDX-License-Identifier: Apache-2.0 */
/* A signed release as the container's config.json: whatever texts it holds, the result is JSON with
 * the confinement in it. */
#include "agent/helper/bundle.h"
#include "fuzz.h"

#include <jansson.h>

static void check(const char *text)
{
	json_t *config = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *process = json_object_get(config, "process");
	const json_t *linux_part = json_object_get(config, "linux");

	assert(json_is_true(json_object_get(process, "noNewPrivileges")));
	assert(json_is_array(json_object_get(linux_part, "namespaces")));
	assert(json_is_object(json_object_get(linux_part, "seccomp")));
	json_decref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct release release;
	struct bundle bundle = {.release = &release,
				.colour = "blue",
				.node = "edge-1",
				.hostname = "ocr-blue",
				.rootfs = "/r",
				.model = "/m",
				.observe = "/o",
				.cgroup = "/covey/x/ocr-blue",
				.port = 8000,
				.limit_memory = true,
				.limit_cpu = true,
				.limit_pids = true,
				.user = {.uid = 1000, .gid = 1000}};
	AUTO_STR struct str text = {0};
	struct err err = {0};

	if (size > LIMIT_MANIFEST || codec_decode(&codec_release, data, size, &release, NULL) < 0)
		return 0;
	if (release_check(&release, NULL) == 0) {
		if (bundle_format(&bundle, &text, &err) == 0)
			check(str_get(&text));
		else
			assert(err.text[0]);
	}
	release_free(&release);
	return 0;
}
