/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks that travel in fewer bytes than they have. What cannot be decoded is handed on as nothing:
 * its digest is then wrong, like that of any other bad chunk.
 */
#include "agent/shell.h"

#include "protocol/chunk_data.h"

struct coding *coded_coder(struct agent *agent)
{
	if (!agent->coding)
		agent->coding = coding_create();
	return agent->coding;
}

uint8_t *coded_restore(struct agent *agent, struct chunk_data *data)
{
	uint8_t *owned = NULL;

	if (data->coded && chunk_data_restore(coded_coder(agent), data, &owned) < 0)
		data->size = 0;
	return owned;
}

void coded_idle(struct agent *agent)
{
	coding_free(agent->coding);
	agent->coding = NULL;
}
