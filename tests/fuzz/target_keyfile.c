/* SPDX-License-Identifier: Apache-2.0 */
/* Key files. A secret half that does not belong to its public half never loads. */
#include "fuzz.h"
#include "protocol/transport/keyfile.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file("key", data, size);
	struct link_key link;
	struct sign_key sign;
	struct public_key public_key;
	struct err err = {0};
	bool is_link = keyfile_load_link(path, &link, &err) == 0;
	bool is_sign = keyfile_load_sign(path, &sign, &err) == 0;
	bool is_public = keyfile_load_public(path, &public_key, &err) == 0;

	assert(!(is_link && is_sign));
	assert(is_public || !(is_link || is_sign));
	assert(is_public || err.text[0]);
	return 0;
}
