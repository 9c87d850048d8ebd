/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what a node got when it joined, from the outside in: the root document against itself, the
 * identity against the root's online key, the key file against the identity. An identity that has
 * expired is no reason to stop: what serves goes on serving, the coordinator decides who may link.
 */
#include "agent/joined.h"

#include "agent/chunks/files.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>

static int read_file(const char *dir, const char *name, struct bytes *ret_bytes, struct err *err)
{
	AUTO_FREE char *path = mem_format("%s/%s", dir, name);

	return store_read_file(AT_FDCWD, path, LIMIT_ROOT_DOCUMENT, ret_bytes, err);
}

static int load_root(const struct agent_config *config, struct joined *joined, struct err *err)
{
	struct bytes bytes = {0};
	int r = read_file(config->trust_dir, JOINED_ROOT, &bytes, err);

	if (r == -ENOENT)
		return err_set(err, r, "this node has not joined a fleet yet (no %s/%s): run "
				       "`covey-agent join -`",
			       config->trust_dir, JOINED_ROOT);
	if (r < 0)
		return r;
	r = root_open(bytes.data, bytes.size, NULL, &joined->root, err);
	free(bytes.data);
	return r < 0 ? err_prefix(err, r, "%s/%s", config->trust_dir, JOINED_ROOT) : 0;
}

static int load_identity(const struct agent_config *config, struct joined *joined,
			 struct err *err)
{
	struct bytes bytes = {0};
	int r = read_file(config->state_dir, JOINED_IDENTITY, &bytes, err);

	if (r < 0)
		return r;
	r = identity_open(bytes.data, bytes.size, &joined->root, &joined->identity, err);
	free(bytes.data);
	return r < 0 ? err_prefix(err, r, "%s/%s", config->state_dir, JOINED_IDENTITY) : 0;
}

static int load_key(const struct agent_config *config, struct joined *joined, struct err *err)
{
	AUTO_FREE char *path = mem_format("%s/%s", config->state_dir, JOINED_LINK_KEY);
	int r = keyfile_load_link(path, &joined->link_key, err);

	if (r < 0)
		return r;
	if (memcmp(joined->link_key.public_key.bytes, joined->identity.link_key.bytes, KEY_SIZE) !=
	    0)
		return err_set(err, -EKEYREJECTED,
			       "%s is not the key that this node joined with: restore it, or run "
			       "`covey-agent join --rejoin -`",
			       path);
	return 0;
}

int joined_load(const struct agent_config *config, struct joined *ret_joined, struct err *err)
{
	struct joined joined = {0};
	int r = load_root(config, &joined, err);

	if (r == 0)
		r = load_identity(config, &joined, err);
	if (r == 0)
		r = load_key(config, &joined, err);
	if (r < 0) {
		joined_free(&joined);
		return r;
	}
	*ret_joined = joined;
	return 0;
}

void joined_free(struct joined *joined)
{
	codec_free(&codec_root_document, &joined->root);
	codec_free(&codec_identity, &joined->identity);
	link_key_wipe(&joined->link_key);
}
