/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model files without a second copy: a blob in the agent's store becomes root's own, read-only and
 * verified, and is then hard-linked to where containers see it. The agent may still unlink its name.
 */
#pragma once

#include "agent/helper/paths.h"
#include "covey/release.h"

/* Makes <folder>/<blob path> from <agent state>/blobs/<content digest>, folders included. `folder`
 * is an open directory of root's. Where the two lie on different file systems the content is
 * copied. -EBADMSG: not the signed bytes; -ETXTBSY: somebody still has the file open for writing;
 * -EPERM: the file belongs to somebody else. */
int seal_file(const struct agent_config *config, const struct release_blob *blob, int folder,
	      struct err *err) COVEY_MUST_CHECK;
