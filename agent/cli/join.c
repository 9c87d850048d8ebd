/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining a fleet. The join string comes by hand and is all that is believed at first: its server
 * key must be proved by whoever answers, and its secret never leaves this machine
 * (protocol/enrol.h).
 * What comes back is checked before anything is kept: the root document against itself and against
 * that server key, the identity against the root and against our own keys. root.doc is written
 * last: that it is there means that the node has joined.
 */
#include "agent/cli/cli.h"

#include "agent/chunks/files.h"
#include "agent/joined.h"
#include "agent/machine.h"
#include "base/mem.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/message.h"
#include "protocol/transport/zclient.h"

#include <ctype.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_MS = 20000 };

struct keys {
	struct link_key link;
	struct sign_key sign;
};

static void keys_wipe(struct keys *keys)
{
	link_key_wipe(&keys->link);
	sign_key_wipe(&keys->sign);
}

/* ---- folders and files ---- */

static int make_folders(const char *path, mode_t mode, struct err *err)
{
	AUTO_FREE char *copy = mem_str(path);

	for (char *at = strchr(copy + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return err_errno(err, -errno, "make folder %s", copy);
		*at = '/';
	}
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "make folder %s", copy);
	return 0;
}

/* Of an earlier time the keys are the service's; only their owner may read them. */
static void take_back(const char *path)
{
	if (geteuid() == 0 && lchown(path, 0, (gid_t)-1) < 0 && errno != ENOENT)
		return; /* reading it says why */
}

static int load_keys(const struct agent_config *config, struct keys *keys, struct err *err)
{
	AUTO_FREE char *link = mem_format("%s/%s", config->state_dir, JOINED_LINK_KEY);
	AUTO_FREE char *sign = mem_format("%s/%s", config->state_dir, JOINED_SIGN_KEY);
	int r = make_folders(config->state_dir, 0700, err);

	if (r == 0)
		r = make_folders(config->trust_dir, 0755, err);
	take_back(link);
	take_back(sign);
	if (r == 0)
		r = keyfile_ensure_link(link, &keys->link, err);
	if (r == 0)
		r = keyfile_ensure_sign(sign, &keys->sign, err);
	return r;
}

static int write_document(const char *dir, const char *name, const struct bytes *data, mode_t mode,
			  struct err *err)
{
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "open folder %s", dir);
	r = store_write_file(fd, name, data->data, data->size, true, err);
	if (r == 0 && fchmodat(fd, name, mode, 0) < 0)
		r = err_errno(err, -errno, "set the mode of %s/%s", dir, name);
	return r;
}

/* The service runs as its own user; joining is done by root. */
static int hand_over(const struct agent_config *config, struct err *err)
{
	static const char *const names[] = {"", "/" JOINED_LINK_KEY, "/" JOINED_SIGN_KEY,
					    "/" JOINED_IDENTITY};
	uint32_t uid;

	if (geteuid() != 0 || config_user_id(config->user, &uid, NULL) < 0)
		return 0; /* a node of one user, for development */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *path = mem_format("%s%s", config->state_dir, names[i]);

		if (lchown(path, uid, (gid_t)-1) < 0)
			return err_errno(err, -errno, "give %s to %s", path, config->user);
	}
	return 0;
}

/* ---- the conversation ---- */

static int explain(const struct join_string *join, int r, struct err *err)
{
	const char *host = join->endpoint;

	if (r == -ECONNREFUSED || r == -ETIMEDOUT)
		return err_set(err, r, "nobody answers at %s: is the coordinator running, and do "
				       "firewalls let this node reach it (ports %d to %d by "
				       "default)?",
			       host, PORT_BASE_DEFAULT, PORT_BASE_DEFAULT + PORT_OFFSET_ENROL);
	if (r == -EPROTO)
		return err_set(err, r, "who answers at %s does not have the key that the join "
				       "string names: the string is of another coordinator, or "
				       "somebody is in between",
			       host);
	return err_prefix(err, r, "%s", host);
}

static int talk(const struct join_string *join, const struct keys *keys,
		const struct msg_enrol *enrol, struct message *ret_answer, struct err *err)
{
	char endpoint[LIMIT_ENDPOINT + 1];
	struct zclient_config config = {.endpoint = endpoint,
					.key = &keys->link,
					.server_key = &join->server_key,
					.max_message_size = LIMIT_ENROL_MESSAGE};
	struct bytes question = {0}, answer = {0};
	struct zclient *client = NULL;
	int r = endpoint_channel(join->endpoint, PORT_OFFSET_ENROL, endpoint, err);

	if (r == 0)
		r = message_encode(MESSAGE_ENROL, enrol, &question, err);
	if (r < 0)
		return r;
	r = zclient_new(NULL, &config, ANSWER_MS, &client, err);
	if (r == 0)
		r = zclient_request(client, question.data, question.size, ANSWER_MS, &answer, err);
	if (r < 0)
		r = explain(join, r, err);
	else
		r = message_decode(answer.data, answer.size, CHANNEL_ENROL, FROM_COORDINATOR,
				   ret_answer, err);
	zclient_free(client);
	free(question.data);
	free(answer.data);
	return r;
}

static int check_root(const struct join_string *join, const struct msg_enrolled *enrolled,
		      struct root_document *ret_root, struct err *err)
{
	int r = root_open(enrolled->root.data, enrolled->root.size, NULL, ret_root, err);

	if (r < 0)
		return err_prefix(err, r, "the coordinator's root document");
	if (memcmp(ret_root->server_key.bytes, join->server_key.bytes, KEY_SIZE) != 0)
		return err_set(err, -EKEYREJECTED,
			       "the coordinator's root document names another server key than the "
			       "join string");
	return 0;
}

static int check_identity(const struct keys *keys, const struct root_document *root,
			  const struct msg_enrolled *enrolled, struct identity *ret_identity,
			  struct err *err)
{
	struct node_id id;
	int r = identity_open(enrolled->identity.data, enrolled->identity.size, root, ret_identity,
			      err);

	if (r < 0)
		return err_prefix(err, r, "the identity that the coordinator gave");
	node_id_of_key(&id, &keys->sign.public_key);
	if (!node_id_equal(&id, &ret_identity->id) ||
	    memcmp(ret_identity->link_key.bytes, keys->link.public_key.bytes, KEY_SIZE) != 0 ||
	    memcmp(ret_identity->sign_key.bytes, keys->sign.public_key.bytes, KEY_SIZE) != 0)
		return err_set(err, -EKEYREJECTED,
			       "the identity that the coordinator gave is of another node");
	return 0;
}

static int keep(const struct agent_config *config, const struct join_string *join,
		const struct keys *keys, const struct msg_enrolled *enrolled, struct err *err)
{
	struct root_document root = {0};
	struct identity identity = {0};
	int r;

	if (enrolled->error[0] != '\0')
		return err_set(err, -EACCES, "the coordinator refused: %s", enrolled->error);
	r = check_root(join, enrolled, &root, err);
	if (r == 0)
		r = check_identity(keys, &root, enrolled, &identity, err);
	if (r == 0)
		r = write_document(config->state_dir, JOINED_IDENTITY, &enrolled->identity, 0600,
				   err);
	if (r == 0)
		r = hand_over(config, err);
	if (r == 0)
		r = write_document(config->trust_dir, JOINED_ROOT, &enrolled->root, 0644, err);
	codec_free(&codec_root_document, &root);
	codec_free(&codec_identity, &identity);
	return r;
}

static int fill_name(struct msg_enrol *enrol, const char *wish, const struct agent_config *config,
		     struct err *err)
{
	const char *name = wish ? wish : config->name;

	if (name[0] == '\0') {
		STR_CUT(enrol->name, enrol->inventory.hostname);
		for (char *at = enrol->name; *at; at++)
			*at = (char)tolower((unsigned char)*at);
	} else if (STR_SET(enrol->name, name) < 0) {
		return err_set(err, -EINVAL, "name '%s': longer than %d characters", name,
			       LIMIT_NAME);
	}
	if (!name_is_valid(enrol->name))
		return err_set(err, -EINVAL, "name '%s': only a-z, 0-9, - and . are allowed: use "
					     "--name",
			       enrol->name);
	return 0;
}

static int enrol(const struct join_string *join, const char *name, const struct keys *keys,
		 const struct agent_config *config, struct err *err)
{
	struct msg_enrol question = {.protocol_version = PROTOCOL_VERSION,
				     .link_key = keys->link.public_key,
				     .sign_key = keys->sign.public_key};
	struct message answer = {0};
	int r;

	machine_inventory(&question.inventory);
	STR_CUT(question.token_id, join->token_id);
	enrol_proof(question.proof, join->secret, &question.link_key, &question.sign_key,
		    &join->server_key);
	r = fill_name(&question, name, config, err);
	if (r == 0)
		r = talk(join, keys, &question, &answer, err);
	if (r < 0)
		return r;
	r = answer.type == MESSAGE_ENROLLED
		    ? keep(config, join, keys, answer.body, err)
		    : err_set(err, -EPROTO, "the coordinator answered something else");
	message_free(&answer);
	return r;
}

int join_run(const char *join_text, const char *name, bool rejoin,
	     const struct agent_config *config, struct err *err)
{
	AUTO_FREE char *root = mem_format("%s/%s", config->trust_dir, JOINED_ROOT);
	struct join_string join = {0};
	struct keys keys = {0};
	int r = join_string_parse(join_text, &join, err);

	if (r == 0 && !rejoin && access(root, F_OK) == 0)
		r = err_set(err, -EEXIST, "this node has joined a fleet already (%s): use --rejoin "
					  "to join another one",
			    root);
	if (r == 0)
		r = load_keys(config, &keys, err);
	if (r == 0)
		r = enrol(&join, name, &keys, config, err);
	keys_wipe(&keys);
	sodium_memzero(&join, sizeof(join));
	return r;
}

/* ---- the verb ---- */

static int read_join_string(const struct cli_options *options, char dst[JOIN_STRING_MAX],
			    struct err *err)
{
	AUTO_CLOSE int fd = -1;
	size_t size = 0;
	ssize_t n;

	if (options->file)
		fd = open(options->file, O_RDONLY | O_CLOEXEC);
	else
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_errno(err, -errno, "%s", options->file ? options->file : "stdin");
	while ((n = read(fd, dst + size, JOIN_STRING_MAX - 1 - size)) > 0)
		size += (size_t)n;
	if (n < 0)
		return err_errno(err, -errno, "reading the join string");
	while (size > 0 && isspace((unsigned char)dst[size - 1]))
		size--;
	dst[size] = '\0';
	return size > 0 ? 0 : err_set(err, -EINVAL, "the join string is empty");
}

int cli_join(const struct cli_options *options, const struct agent_config *config)
{
	char text[JOIN_STRING_MAX] = "";
	struct err err = {0};
	int r;

	if (options->from_stdin == (options->file != NULL)) {
		cli_fail("join: give the join string on standard input (`covey-agent join -`) or "
			 "in a file (`--file FILE`)");
		return CLI_USAGE;
	}
	r = read_join_string(options, text, &err);
	if (r == 0)
		r = join_run(text, options->name, options->rejoin, config, &err);
	sodium_memzero(text, sizeof(text));
	if (r < 0)
		return cli_fail("join: %s", err_text(&err, r));
	puts("joined: start the agent with `systemctl enable --now covey-agent`");
	return CLI_OK;
}
