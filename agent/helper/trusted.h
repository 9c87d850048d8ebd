/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper's own opinion of a release: the pinned root document is read from the trust directory
 * (which must be root's own), the signed manifest is opened against it. Nobody's word is taken.
 */
#pragma once

#include "agent/helper/paths.h"
#include "protocol/manifest.h"

/* A manifest that the agent fetched: <agent state>/releases/<hex>.manifest. ret_data (may be NULL)
 * gets its bytes. -EKEYREJECTED: not signed as the root document wants; -ENOENT: not there. */
int trusted_fetched(const struct agent_config *config, const struct digest *digest,
                    struct release *ret_release, struct bytes *ret_data,
                    struct err *err) COVEY_MUST_CHECK;
/* The one that unpacking kept; signatures are checked again. -ENOENT: not unpacked. */
int trusted_unpacked(const struct agent_config *config, const struct digest *digest,
                     struct release *ret_release, struct err *err) COVEY_MUST_CHECK;
/* Opens an existing file below the agent's state directory without following any symlink. */
int trusted_open(const struct agent_config *config, const char *relative,
                 struct err *err) COVEY_MUST_CHECK;
