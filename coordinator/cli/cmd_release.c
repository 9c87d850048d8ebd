/* SPDX-License-Identifier: Apache-2.0 */
/* Releases: made and signed here, stored at the coordinator, verified from here. */
#include "coordinator/cli/cmd.h"
#include "base/clock.h"
#include "base/mem.h"
#include "coordinator/cli/config.h"
#include "coordinator/cli/push.h"
#include "coordinator/cli/verify.h"
#include "protocol/transport/keyfile.h"

static const struct column columns[] = {
    {"RELEASE", "release", COLUMN_TEXT, false},
    {"ARCH", "arch", COLUMN_TEXT, false},
    {"SIZE", "size", COLUMN_BYTES, false},
    {"PUSHED", "pushed_at", COLUMN_AGE, false},
    {"IN USE", "in_use", COLUMN_TEXT, false},
    {"DIGEST", "digest", COLUMN_SHORT, false},
    {0},
};

static const struct column details[] = {
    {"release", "release", COLUMN_TEXT, false},
    {"digest", "digest", COLUMN_TEXT, false},
    {"architecture", "arch", COLUMN_TEXT, false},
    {"size", "size", COLUMN_BYTES, false},
    {"pushed", "pushed_at", COLUMN_AGE, false},
    {"in use", "in_use", COLUMN_TEXT, false},
    {"port", "serve.port", COLUMN_TEXT, false},
    {"container port", "serve.container_port", COLUMN_TEXT, true},
    {"protocol", "serve.protocol", COLUMN_TEXT, false},
    {"health", "health", COLUMN_TEXT, true},
    {"smoke tests", "smoke", COLUMN_COUNT, false},
    {"code", "lineage.code", COLUMN_TEXT, false},
    {"data", "lineage.data", COLUMN_TEXT, false},
    {"metrics", "lineage.metrics", COLUMN_LABELS, false},
    {"layers", "layers", COLUMN_COUNT, false},
    {"files", "files", COLUMN_COUNT, false},
    {"signatures", "signatures", COLUMN_COUNT, false},
    {0},
};

/* ---- push ---- */

struct progress {
	struct cli *cli;
	uint64_t shown_ms;
};

static void show_packing(void *arg, uint64_t bytes)
{
	struct progress *progress = arg;
	uint64_t now = clock_mono_ms();
	char text[STR_SIZE_MAX];

	if (now < progress->shown_ms + 200)
		return;
	progress->shown_ms = now;
	str_format_size(text, bytes);
	push_progress(progress->cli, "cutting and hashing %s", text);
}

static int load_release_key(struct cli *cli, struct sign_key *key)
{
	AUTO_FREE char *path = cli_home_file(cli, CONFIG_RELEASE_KEY);
	int r = keyfile_load_sign(path, key, &cli->err);

	if (r == -ENOENT)
		return cli_fail(cli, EXIT_ERROR,
		                "%s is missing, and only its owner signs releases; `covey init` "
		                "made it, COVEY_HOME says where it is looked for",
		                path);
	return r < 0 ? EXIT_ERROR : EXIT_DONE;
}

static int make_pack(struct cli *cli, const struct sign_key *key, struct image *image,
                     struct pack *pack)
{
	struct release_file file = {0};
	struct progress progress = {.cli = cli};
	int r = release_file_read(cli->options.file, true, &file, &cli->err);

	if (r < 0)
		return EXIT_USAGE;
	push_progress(cli, "reading the image");
	r = image_read(file.image, cli->options.arch, image, &cli->err);
	if (r == 0)
		r = pack_build(&file, image, key, show_packing, &progress, pack, &cli->err);
	push_progress(cli, "%s", "");
	release_file_free(&file);
	if (r == 0)
		return EXIT_DONE;
	err_prefix(&cli->err, r, "%s", cli->options.file);
	return r == -ENOSPC || r == -EIO ? EXIT_ERROR : EXIT_USAGE; /* this machine, or the input */
}

enum { FILES_SHOWN = 16 };

static json_t *show_blobs(const struct pack *pack, const struct push_result *result)
{
	json_t *files = json_array();

	for (size_t i = 0; i < pack->blobs_count; i++) {
		const struct release_blob *blob = &pack->release.blobs[i];
		const struct push_blob *sent = &result->blobs[i];

		json_array_append_new(files,
		                      json_pack("{ssss*sIsIsIsI}", "kind",
		                                blob->kind == BLOB_LAYER ? "layer" : "file", "path",
		                                blob->path, "bytes", (json_int_t)sent->bytes,
		                                "new_bytes", (json_int_t)sent->new_bytes, "chunks",
		                                (json_int_t)sent->objects, "new_chunks",
		                                (json_int_t)sent->new_objects));
	}
	return files;
}

/* What holds anything new, a line each. */
static void print_blobs(FILE *file, const struct pack *pack, const struct push_result *result)
{
	size_t shown = 0, more = 0;

	for (size_t i = 0; i < pack->blobs_count; i++) {
		const struct release_blob *blob = &pack->release.blobs[i];
		const struct push_blob *sent = &result->blobs[i];
		char new_bytes[STR_SIZE_MAX], bytes[STR_SIZE_MAX], layer[32];
		AUTO_STR struct str name = {0};

		if (!sent->new_objects || shown == FILES_SHOWN) {
			more += sent->new_objects > 0;
			continue;
		}
		shown++;
		str_format_size(new_bytes, sent->new_bytes);
		str_format_size(bytes, sent->bytes);
		snprintf(layer, sizeof(layer), "layer %zu", i + 1);
		output_safe(&name, blob->path ? blob->path : layer, false);
		fprintf(file, "  %s: %s of %s are new, %llu of %llu chunks\n", str_get(&name),
		        new_bytes, bytes, (unsigned long long)sent->new_objects,
		        (unsigned long long)sent->objects);
	}
	if (more)
		fprintf(file, "  and %zu more\n", more);
}

/* What need not travel to the nodes again. */
static void print_fleet(FILE *file, const json_t *fleet)
{
	uint64_t nodes = output_number(fleet, "nodes");
	char bytes[STR_SIZE_MAX], all[STR_SIZE_MAX];

	if (!fleet)
		return;
	str_format_size(bytes, output_number(fleet, "bytes"));
	str_format_size(all, output_number(fleet, "release_bytes"));
	fprintf(file, "  the fleet has %s of %s, %llu of %llu chunks", bytes, all,
	        (unsigned long long)output_number(fleet, "chunks"),
	        (unsigned long long)output_number(fleet, "release_chunks"));
	if (nodes)
		fprintf(file, ", on %llu node%s", (unsigned long long)nodes,
		        nodes == 1 ? "" : "s");
	fputc('\n', file);
}

static void print_pushed(struct cli *cli, const struct pack *pack, struct push_result *result)
{
	char new_bytes[STR_SIZE_MAX], known[STR_SIZE_MAX];
	bool created = json_is_true(output_member(result->answer, "created"));

	if (cli->options.output == OUTPUT_JSON) {
		json_object_set_new(result->answer, "bytes",
		                    json_integer((json_int_t)result->bytes));
		json_object_set_new(result->answer, "new_bytes",
		                    json_integer((json_int_t)result->new_bytes));
		json_object_set_new(result->answer, "objects",
		                    json_integer((json_int_t)result->objects));
		json_object_set_new(result->answer, "new_objects",
		                    json_integer((json_int_t)result->new_objects));
		json_object_set_new(result->answer, "blobs", show_blobs(pack, result));
		output_json(&cli->out, result->answer);
		return;
	}
	str_format_size(new_bytes, result->new_bytes);
	str_format_size(known, result->bytes - result->new_bytes);
	fprintf(cli->out.file, "%s@%s %s: %s new in %llu objects, %s in %llu were known\n",
	        pack->release.model, pack->release.version,
	        created ? "is stored" : "was stored already", new_bytes,
	        (unsigned long long)result->new_objects, known,
	        (unsigned long long)(result->objects - result->new_objects));
	print_blobs(cli->out.file, pack, result);
	print_fleet(cli->out.file, output_member(result->answer, "fleet"));
}

int cmd_release_push(struct cli *cli)
{
	COVEY_CLEANUP(client_free_p) struct client *client = NULL;
	COVEY_CLEANUP(sign_key_wipe) struct sign_key key = {0};
	struct push_result result = {0};
	struct image image = {0};
	struct pack pack = {0};
	int code, r;

	if (!cli->options.file)
		return cli_fail(cli, EXIT_USAGE, "no file is given; write -f release.yaml");
	code = load_release_key(cli, &key);
	if (code == EXIT_DONE)
		code = make_pack(cli, &key, &image, &pack);
	if (code == EXIT_DONE) {
		r = client_open(cli, &client, &cli->err);
		code = r < 0 ? (int)client_exit_code(r) : push_send(cli, client, &pack, &result);
	}
	if (code == EXIT_DONE)
		print_pushed(cli, &pack, &result);
	json_decref(result.answer);
	free(result.blobs);
	pack_free(&pack);
	image_free(&image);
	return code;
}

/* ---- the others ---- */

int cmd_release_ls(struct cli *cli)
{
	json_t *body = cli->options.args_count ? cmd_body_of_arg(cli, "model") : NULL;

	return cmd_list(cli, "release.ls", body, columns,
	                "there is no release; `covey release push -f FILE` stores one");
}

int cmd_release_show(struct cli *cli)
{
	return cmd_object(cli, "release.show", cmd_body_of_arg(cli, "release"), details);
}

int cmd_release_verify(struct cli *cli)
{
	AUTO_JSON json_t *answer = NULL;
	struct verify_result result = {0};
	const char *name = cli->options.args[0];
	char bytes[STR_SIZE_MAX];
	int code = verify_release(cli, name, &result);

	if (code != EXIT_DONE)
		return code;
	answer = json_pack("{sssssIsIsIsb}", "release", name, "digest", result.digest, "signatures",
	                   (json_int_t)result.signatures, "objects", (json_int_t)result.objects,
	                   "bytes", (json_int_t)result.bytes, "verified", true);
	str_format_size(bytes, result.bytes);
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, answer);
	else
		fprintf(cli->out.file, "%s is what was signed: %llu objects, %s, %s\n", name,
		        (unsigned long long)result.objects, bytes, result.digest);
	return EXIT_DONE;
}

int cmd_release_rm(struct cli *cli)
{
	char question[256];

	snprintf(question, sizeof(question), "remove release %.150s?", cli->options.args[0]);
	if (!cli_confirm(cli, question))
		return cli_fail(cli, EXIT_ERROR, "nothing was changed");
	return cmd_act(cli, "release.rm", cmd_body_of_arg(cli, "release"), "release %s is removed",
	               cli->options.args[0]);
}
