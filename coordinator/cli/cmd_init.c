/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `covey init` makes a fleet's secrets, without a coordinator: its keys in the state folder, and
 * the operator's keys here. Release and root key are the operator's own and never touch the
 * coordinator's folder; the root document says so to every node that joins. All files are new or
 * nothing is: whatever fails, what was made before it goes again.
 */
#include "coordinator/cli/cmd.h"
#include "base/mem.h"
#include "coordinator/cli/config.h"
#include "coordinator/cli/file.h"
#include "protocol/enrol.h"
#include "protocol/transport/keyfile.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>

enum target {
	LINK_KEY,
	ONLINE_KEY,
	OPERATORS,
	ROOT,
	RELEASE_KEY,
	OPERATOR_KEY,
	FLEET,
	HOME_ROOT,
	TARGET_COUNT
};

static const struct {
	const char *name;
	bool state; /* in the coordinator's folder */
} targets[TARGET_COUNT] = {
    [LINK_KEY] = {"link.key", true},
    [ONLINE_KEY] = {"online.key", true},
    [OPERATORS] = {"operators", true},
    [ROOT] = {"root.doc", true},
    [RELEASE_KEY] = {CONFIG_RELEASE_KEY, false},
    [OPERATOR_KEY] = {CONFIG_OPERATOR_KEY, false},
    [FLEET] = {CONFIG_FLEET, false},
    [HOME_ROOT] = {CONFIG_ROOT, false},
};

struct setup {
	const char *dir;
	char *home;
	char *paths[TARGET_COUNT];
	char *made_dir, *made_home; /* first folders that were made, "" or NULL: none */
	size_t made;                /* files that are there already, in the order of targets */
	struct fleet_config fleet;
	struct link_key link, operator_key;
	struct sign_key online, release;
};

static void setup_free(struct setup *s)
{
	for (size_t i = 0; i < TARGET_COUNT; i++)
		free(s->paths[i]);
	free(s->home);
	free(s->made_dir);
	free(s->made_home);
	link_key_wipe(&s->link);
	link_key_wipe(&s->operator_key);
	sign_key_wipe(&s->online);
	sign_key_wipe(&s->release);
}

/* ---- undo ---- */

/* Removes the empty folders from `path` up to and including `first`. */
static void remove_folders(const char *path, const char *first)
{
	AUTO_FREE char *at = mem_str(path);

	if (!first || !*first)
		return;
	while (strlen(at) >= strlen(first) && rmdir(at) == 0) {
		char *slash = strrchr(at, '/');

		if (!slash || slash == at)
			return;
		*slash = 0;
	}
}

static void undo(struct setup *s)
{
	while (s->made)
		unlink(s->paths[--s->made]);
	remove_folders(s->home, s->made_home);
	remove_folders(s->dir, s->made_dir);
}

/* ---- contents ---- */

static int root_document(const struct setup *s, struct bytes *ret_data, struct err *err)
{
	struct public_key release_key = s->release.public_key, root_key = s->release.public_key;
	struct root_document root = {.version = 1,
	                             .release_threshold = 1,
	                             .root_threshold = 1,
	                             .release_keys = &release_key,
	                             .release_keys_count = 1,
	                             .root_keys = &root_key,
	                             .root_keys_count = 1,
	                             .server_key = s->link.public_key,
	                             .online_key = s->online.public_key};
	struct envelope envelope = {0};
	int r;

	memcpy(root.endpoint, s->fleet.endpoint, sizeof(root.endpoint));
	r = codec_encode(&codec_root_document, &root, LIMIT_ROOT_DOCUMENT, &envelope.payload, err);
	if (r < 0)
		return r;
	envelope_sign(&envelope, SIGNED_ROOT, &s->release);
	r = codec_encode(&codec_envelope, &envelope, LIMIT_ROOT_DOCUMENT, ret_data, err);
	codec_free(&codec_envelope, &envelope);
	return r;
}

static char *operators_text(const struct setup *s)
{
	char key[KEY_TEXT_MAX];
	const struct passwd *user = getpwuid(getuid());

	public_key_text(key, &s->operator_key.public_key);
	return mem_format("# role (viewer, operator, admin), public key, name\nadmin %s %s\n", key,
	                  user ? user->pw_name : "operator");
}

static int write_text(const char *path, mode_t mode, char *text, struct err *err)
{
	int r = file_create(path, mode, text, strlen(text), err);

	free(text);
	return r;
}

static int write_target(struct setup *s, enum target target, const struct bytes *root,
                        struct err *err)
{
	const char *path = s->paths[target];

	switch (target) {
	case LINK_KEY:
		return keyfile_create_link(path, &s->link, err);
	case ONLINE_KEY:
		return keyfile_create_sign(path, &s->online, err);
	case OPERATORS:
		return write_text(path, 0600, operators_text(s), err);
	case RELEASE_KEY:
		return keyfile_create_sign(path, &s->release, err);
	case OPERATOR_KEY:
		return keyfile_create_link(path, &s->operator_key, err);
	case FLEET:
		return write_text(path, 0644, config_format(&s->fleet), err);
	case ROOT:
	case HOME_ROOT:
		return file_create(path, 0644, root->data, root->size, err);
	case TARGET_COUNT:
		break;
	}
	return err_set(err, -EINVAL, "no such file");
}

/* The service does not run as root: what root makes in the service's folder becomes the service's.
 */
static int hand_over(const struct setup *s, enum target target, struct err *err)
{
	struct stat st;

	if (!targets[target].state || geteuid() != 0)
		return 0;
	if (stat(s->dir, &st) < 0 || lchown(s->paths[target], st.st_uid, st.st_gid) < 0)
		return err_errno(err, -errno, "%s cannot be given to the owner of %s",
		                 s->paths[target], s->dir);
	return 0;
}

static int write_all(struct setup *s, struct err *err)
{
	struct bytes root = {0};
	int r = file_make_folders(s->dir, 0700, &s->made_dir, err);

	if (r == 0)
		r = file_make_folders(s->home, 0700, &s->made_home, err);
	if (r == 0)
		r = root_document(s, &root, err);
	for (enum target t = 0; r == 0 && t < TARGET_COUNT; t++) {
		r = write_target(s, t, &root, err);
		if (r < 0)
			break;
		s->made = t + 1;
		r = hand_over(s, t, err);
	}
	free(root.data);
	if (r < 0)
		undo(s);
	return r;
}

/* ---- checks ---- */

static int check_fresh(const struct setup *s, struct cli *cli)
{
	for (size_t i = 0; i < TARGET_COUNT; i++)
		if (faccessat(AT_FDCWD, s->paths[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return cli_fail(cli, EXIT_ERROR,
			                "%s is there already and `covey init` never overwrites; "
			                "choose another %s",
			                s->paths[i],
			                targets[i].state ? "--dir" : "folder with COVEY_HOME");
	return EXIT_DONE;
}

static int prepare(struct cli *cli, struct setup *s)
{
	const char *endpoint = cli->options.endpoint;
	char channel[LIMIT_ENDPOINT + 1];

	if (!endpoint)
		return cli_fail(cli, EXIT_USAGE,
		                "covey init needs --endpoint tcp://HOST:PORT: where nodes will "
		                "reach the coordinator");
	if (!str_starts(endpoint, "tcp://") || STR_SET(s->fleet.endpoint, endpoint) < 0 ||
	    endpoint_channel(endpoint, PORT_OFFSET_OPERATORS, channel, &cli->err) < 0)
		return cli_fail(
		    cli, EXIT_USAGE,
		    "--endpoint does not take `%s`; write tcp://HOST:PORT with a port under 65533",
		    endpoint);
	s->dir = cli->options.dir ? cli->options.dir : "/var/lib/covey/coordinator";
	s->home = cli_home(cli);
	for (size_t i = 0; i < TARGET_COUNT; i++)
		s->paths[i] =
		    mem_format("%s/%s", targets[i].state ? s->dir : s->home, targets[i].name);
	link_key_generate(&s->link);
	link_key_generate(&s->operator_key);
	sign_key_generate(&s->online);
	sign_key_generate(&s->release);
	s->fleet.server_key = s->link.public_key;
	return check_fresh(s, cli);
}

static void report(struct cli *cli, const struct setup *s)
{
	char key[KEY_TEXT_MAX];
	AUTO_JSON json_t *result = NULL;

	public_key_text(key, &s->link.public_key);
	if (cli->options.output == OUTPUT_JSON) {
		result = json_pack("{ssssssss}", "dir", s->dir, "home", s->home, "endpoint",
		                   s->fleet.endpoint, "server_key", key);
		output_json(&cli->out, result);
		return;
	}
	printf("the coordinator's keys are in %s, yours in %s\n"
	       "keep a copy of %s in a safe place: only it can sign releases for this fleet\n"
	       "next: start covey-coordinator, then `covey token create`\n",
	       s->dir, s->home, s->paths[RELEASE_KEY]);
}

int cmd_init(struct cli *cli)
{
	COVEY_CLEANUP(setup_free) struct setup s = {0};
	int code = prepare(cli, &s);

	if (code != EXIT_DONE)
		return code;
	if (write_all(&s, &cli->err) < 0)
		return EXIT_ERROR;
	report(cli, &s);
	return EXIT_DONE;
}
