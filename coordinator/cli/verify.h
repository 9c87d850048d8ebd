/* SPDX-License-Identifier: Apache-2.0 */
/* `release verify`: is what the coordinator stores what was signed, to the last byte? */
#pragma once

#include "coordinator/cli/client.h"

struct verify_result {
	char digest[DIGEST_TEXT_MAX];
	size_t signatures;
	uint64_t objects, bytes;
};

/* name: MODEL@VERSION or a digest. Trusts root.doc in the operator's folder alone. The exit code.
 */
int verify_release(struct cli *cli, const char *name, struct verify_result *ret_result);
