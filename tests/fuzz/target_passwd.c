/* SPDX-License-Identifier: Apache-2.0 */
/* An image's own etc/passwd and etc/group, and a `user` that is looked up in them as root. */
#include "agent/helper/bundle.h"
#include "fuzz.h"

#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	assert(mkdir(FUZZ_DIR "/etc", 0755) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	AUTO_FREE char *user = fuzz_text(&input);
	struct bytes passwd = fuzz_part(&input), group = fuzz_part(&input);
	struct bundle_user found = {0};
	struct err err = {0};

	fuzz_file("etc/passwd", passwd.data, passwd.size);
	fuzz_file("etc/group", group.data, group.size);
	if (bundle_user_find(FUZZ_DIR, user, &found, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	assert(found.groups_count <= BUNDLE_GROUPS);
	assert(found.uid < UINT32_MAX && found.gid < UINT32_MAX); /* (uid_t)-1 means "leave it" */
	return 0;
}
