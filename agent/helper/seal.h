/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs that nobody can change any more: a blob in the agent's store becomes root's own and
 * read-only. A layer is then verified before a byte of it is parsed; a model file is verified and
 * hard-linked to where containers see it, without a second copy. The agent may still unlink its
 * name.
 */
#pragma once

#include "agent/helper/paths.h"
#include "covey/release.h"

/* Opens and seals <agent state>/blobs/<content digest>; its bytes are not verified yet. Returns the
 * descriptor. -ETXTBSY: somebody still has the file open for writing; -EPERM: the file belongs to
 * somebody else. */
int seal_open(const struct agent_config *config, const struct release_blob *blob,
              struct err *err) COVEY_MUST_CHECK;

/* Makes <folder>/<blob path> from <agent state>/blobs/<content digest>, folders included. `folder`
 * is an open directory of root's. Where the two lie on different file systems the content is
 * copied. Errors of seal_open(); -EBADMSG: not the signed bytes. */
int seal_file(const struct agent_config *config, const struct release_blob *blob, int folder,
              struct err *err) COVEY_MUST_CHECK;
