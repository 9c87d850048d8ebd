/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that a container may make, as the OCI runtime specification wants them. */
#pragma once

#include <jansson.h>

/* linux.seccomp of an OCI config for this machine's architecture; a new reference. */
json_t *seccomp_profile(void);
