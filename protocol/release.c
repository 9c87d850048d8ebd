/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a release must be before anybody runs it, apart from how it was signed. The checks go
 * through the manifest from top to bottom; sentences name fields as release.yaml does. A path here
 * will be joined to a folder by a privileged process, so it is judged by what it may contain, not
 * by a list of what it must not.
 */
#include "base/mem.h"
#include "base/str.h"
#include "protocol/codec_tables.h"
#include "protocol/manifest.h"

#include <inttypes.h>

enum { DAY_MS = 24 * 60 * 60 * 1000, DEPTH_MAX = 64 };
static const uint64_t blob_max = (uint64_t)LIMIT_CHUNKS * LIMIT_CHUNK;

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool name_is_valid(const char *name)
{
	size_t size = strnlen(name, LIMIT_NAME + 1);

	if (!size || size > LIMIT_NAME || name[0] == '-' || name[0] == '.')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == size;
}

bool version_is_valid(const char *version)
{
	size_t size = strnlen(version, LIMIT_VERSION + 1);

	if (!size || size > LIMIT_VERSION || !is_alnum(version[0]))
		return false;
	for (size_t i = 0; i < size; i++)
		if (!is_alnum(version[i]) && !strchr("._+-", version[i]))
			return false;
	return true;
}

static bool has_control(const char *text)
{
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			return true;
	return false;
}

/* Text that is shown to people and may be missing. */
static int check_text(const char *text, const char *field, struct err *err)
{
	if (text && has_control(text))
		return err_set(err, -EINVAL, "%s: control characters are not allowed", field);
	return 0;
}

/* Components between slashes; neither empty nor . nor .. */
static int check_components(const char *path, struct err *err)
{
	size_t depth = 0;

	for (const char *c = path;; c++) {
		size_t size = strcspn(c, "/");

		if (!size)
			return err_set(err, -EINVAL, "a path has no empty parts");
		if ((size == 1 && c[0] == '.') || (size == 2 && c[0] == '.' && c[1] == '.'))
			return err_set(err, -EINVAL, "a path has no . and .. parts");
		if (size > 255)
			return err_set(err, -EINVAL, "a part of a path has at most 255 bytes");
		if (++depth > DEPTH_MAX)
			return err_set(err, -EINVAL, "a path has at most %d parts", DEPTH_MAX);
		c += size;
		if (!*c)
			return 0;
	}
}

static int check_path(const char *path, bool absolute, struct err *err)
{
	if (!path || !*path)
		return err_set(err, -EINVAL, "the path is missing");
	if (has_control(path))
		return err_set(err, -EINVAL, "control characters are not allowed in a path");
	if (strlen(path) > LIMIT_PATH)
		return err_set(err, -EINVAL, "a path has at most %d bytes", LIMIT_PATH);
	if ((path[0] == '/') != absolute)
		return err_set(err, -EINVAL, "the path must %s with /",
		               absolute ? "begin" : "not begin");
	if (absolute && !path[1])
		return 0;
	return check_components(path + absolute, err);
}

/* ---- blobs ---- */

static int check_content(const struct release_blob *blob, struct err *err)
{
	if (blob->size > blob_max)
		return err_set(err, -EINVAL, "%" PRIu64 " bytes, at most %" PRIu64 " are allowed",
		               blob->size, blob_max);
	if (digest_is_zero(&blob->content) || digest_is_zero(&blob->index))
		return err_set(err, -EINVAL, "a digest is missing");
	if (!blob->index_size || blob->index_size > LIMIT_OBJECT)
		return err_set(err, -EINVAL, "its chunk index has an impossible size");
	return 0;
}

static int check_layer(const struct release_blob *blob, struct err *err)
{
	static const uint8_t zero[DIGEST_SIZE];

	if (blob->path || blob->mode)
		return err_set(err, -EINVAL, "a layer has neither path nor mode");
	if (memcmp(blob->diff_id, zero, sizeof(zero)) == 0)
		return err_set(err, -EINVAL, "its diff_id is missing");
	return 0;
}

static int check_file(const struct release_blob *blob, const char *previous, struct err *err)
{
	int r;

	r = check_path(blob->path, false, err);
	if (r < 0)
		return r;
	if (blob->mode > 0777)
		return err_set(err, -EINVAL, "mode 0%o has more than permission bits", blob->mode);
	if (!previous || strcmp(previous, blob->path) < 0)
		return 0;
	return err_set(err, -EINVAL, "files must be sorted by path, each once: it comes after %s",
	               previous);
}

static int compare_path(const void *key, const void *item)
{
	return strcmp(key, ((const struct release_blob *)item)->path);
}

/* "a" must not be a file and, because of "a/b", a folder. */
static int check_folders(const struct release_blob *files, size_t count, struct err *err)
{
	char folder[LIMIT_PATH + 1];

	for (size_t i = 0; i < count; i++) {
		for (const char *c = strchr(files[i].path, '/'); c; c = strchr(c + 1, '/')) {
			size_t size = (size_t)(c - files[i].path);

			memcpy(folder, files[i].path, size);
			folder[size] = 0;
			if (bsearch(folder, files, count, sizeof(*files), compare_path))
				return err_set(err, -EINVAL, "files: %s is a file and a folder",
				               folder);
		}
	}
	return 0;
}

/* Called where err has the sentence about this blob. */
static int blame_blob(const struct release_blob *blob, size_t i, int r, struct err *err)
{
	if (blob->kind == BLOB_FILE && blob->path && !has_control(blob->path))
		return err_prefix(err, r, "files: %.200s", blob->path);
	return err_prefix(err, r, "%s %zu",
	                  blob->kind == BLOB_LAYER ? "image: layer" : "files: blob", i);
}

static int check_blobs(const struct release *release, struct err *err)
{
	size_t layers = 0, count = release->blobs_count;
	const char *previous = NULL;
	uint64_t total = 0;
	int r;

	while (layers < count && release->blobs[layers].kind == BLOB_LAYER)
		layers++;
	if (!layers || layers > LIMIT_LAYERS || count - layers > LIMIT_FILES)
		return err_set(err, -EINVAL,
		               "image: 1 to %d layers come first, then at most %d files",
		               LIMIT_LAYERS, LIMIT_FILES);
	for (size_t i = 0; i < count; i++) {
		const struct release_blob *blob = &release->blobs[i];

		r = check_content(blob, err);
		if (r == 0 && i >= layers && blob->kind != BLOB_FILE)
			r = err_set(err, -EINVAL, "layers come before files");
		else if (r == 0)
			r = i < layers ? check_layer(blob, err) : check_file(blob, previous, err);
		if (r == 0 && __builtin_add_overflow(total, blob->size, &total))
			r = err_set(err, -EINVAL, "the sizes add up to more than 64 bits hold");
		if (r < 0)
			return blame_blob(blob, i, r, err);
		previous = blob->path;
	}
	return check_folders(release->blobs + layers, count - layers, err);
}

/* ---- how it runs ---- */

static int check_command(const struct text_item *items, size_t count, const char *field,
                         struct err *err)
{
	if (!count || !items[0].text || !*items[0].text)
		return err_set(err, -EINVAL, "%s: a program is missing", field);
	if (count > LIMIT_ARGV)
		return err_set(err, -EINVAL, "%s: at most %d arguments are allowed", field,
		               LIMIT_ARGV);
	for (size_t i = 0; i < count; i++)
		if (!items[i].text)
			return err_set(err, -EINVAL, "%s: argument %zu is missing", field, i);
	return 0;
}

static int check_env(const struct release *release, struct err *err)
{
	for (size_t i = 0; i < release->env_count; i++) {
		const struct env_var *var = &release->env[i];

		if (!var->name || !*var->name || strchr(var->name, '=') || has_control(var->name))
			return err_set(
			    err, -EINVAL,
			    "env: variable %zu: a name has at least one character, no = and "
			    "no control characters",
			    i);
		if (!var->value)
			return err_set(err, -EINVAL, "env: %s: the value is missing", var->name);
		for (size_t k = 0; k < i; k++)
			if (str_equal(release->env[k].name, var->name))
				return err_set(err, -EINVAL, "env: %s is there twice", var->name);
	}
	return 0;
}

static int check_user_and_folder(const struct release *release, struct err *err)
{
	int r;

	r = check_text(release->user, "image: user", err);
	if (r < 0 || !release->workdir || !*release->workdir)
		return r;
	r = check_path(release->workdir, true, err);
	return r < 0 ? err_prefix(err, r, "image: working folder") : 0;
}

static int check_serve(const struct release_serve *serve, struct err *err)
{
	if (!serve->port || serve->port > UINT16_MAX)
		return err_set(err, -EINVAL, "serve.port: %u is not a port, 1 to 65535",
		               serve->port);
	if (serve->port < 1024 && !serve->privileged_port)
		return err_set(
		    err, -EINVAL,
		    "serve.port: %u is under 1024: write privileged_port: true to allow it",
		    serve->port);
	if (!serve->container_port || serve->container_port > UINT16_MAX)
		return err_set(err, -EINVAL, "serve.container_port: %u is not a port, 1 to 65535",
		               serve->container_port);
	return 0;
}

static int check_resources(const struct release_resources *resources, struct err *err)
{
	int r;

	for (size_t i = 0; i < resources->devices_count; i++) {
		const char *device = resources->devices[i].text;

		r = check_path(device, true, err);
		if (r == 0 && !str_starts(device, "/dev/"))
			r = err_set(err, -EINVAL, "a device lies under /dev");
		if (r < 0)
			return err_prefix(err, r, "resources.devices[%zu]", i);
	}
	return 0;
}

static int check_http_path(const char *path, const char *field, struct err *err)
{
	if (path && path[0] == '/' && !has_control(path) && !strchr(path, ' '))
		return 0;
	return err_set(err, -EINVAL, "%s: a path begins with / and has no spaces", field);
}

static int check_time(uint64_t ms, uint64_t least, const char *field, struct err *err)
{
	if (ms >= least && ms <= DAY_MS)
		return 0;
	return err_set(err, -EINVAL, "%s: %s", field,
	               ms ? "at most 24h are allowed" : "0 is not allowed");
}

static int check_health(const struct release_health *health, struct err *err)
{
	int r;

	r = check_time(health->interval_ms, 1, "health.interval", err);
	if (r == 0)
		r = check_time(health->timeout_ms, 1, "health.timeout", err);
	if (r == 0)
		r = check_time(health->start_period_ms, 0, "health.start_period", err);
	if (r < 0)
		return r;
	if (!health->failures || health->failures > 1000)
		return err_set(err, -EINVAL, "health.failures: 1 to 1000 are allowed");
	switch (health->kind) {
	case HEALTH_HTTP:
		return check_http_path(health->http_path, "health.http", err);
	case HEALTH_TCP:
		return 0;
	case HEALTH_COMMAND:
		return check_command(health->command, health->command_count, "health.command", err);
	case HEALTH_KIND_COUNT:
		break;
	}
	return err_set(err, -EINVAL, "health: http, tcp or command is needed");
}

static int check_smoke(const struct release_smoke *smoke, struct err *err)
{
	size_t method = smoke->method ? strlen(smoke->method) : 0;
	int r;

	if (!method || method > 16 || strspn(smoke->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != method)
		return err_set(err, -EINVAL, "request.method: a method is written GET or POST");
	r = check_http_path(smoke->path, "request.path", err);
	if (r == 0)
		r = check_text(smoke->content_type, "request.content_type", err);
	if (r < 0)
		return r;
	if (smoke->expect_status && (smoke->expect_status < 100 || smoke->expect_status > 599))
		return err_set(err, -EINVAL, "expect.status: 100 to 599 are allowed");
	if (!(smoke->tolerance >= 0))
		return err_set(err, -EINVAL, "expect.tolerance: less than 0");
	return 0;
}

static int check_smokes(const struct release *release, struct err *err)
{
	int r;

	for (size_t i = 0; i < release->smokes_count; i++) {
		const struct release_smoke *smoke = &release->smokes[i];

		if (!smoke->name || !*smoke->name || has_control(smoke->name))
			return err_set(err, -EINVAL, "smoke[%zu].name: a name is needed", i);
		for (size_t k = 0; k < i; k++)
			if (str_equal(release->smokes[k].name, smoke->name))
				return err_set(err, -EINVAL, "smoke[%zu].name: %s is there twice",
				               i, smoke->name);
		r = check_smoke(smoke, err);
		if (r < 0)
			return err_prefix(err, r, "smoke[%zu] (%s)", i, smoke->name);
	}
	return 0;
}

static int check_lineage(const struct release *release, struct err *err)
{
	int r;

	r = check_text(release->lineage_code, "lineage.code", err);
	if (r == 0)
		r = check_text(release->lineage_data, "lineage.data", err);
	for (size_t i = 0; r == 0 && i < release->lineage_metrics_count; i++) {
		const char *name = release->lineage_metrics[i].name;

		if (!name || !*name)
			return err_set(err, -EINVAL, "lineage.metrics: a name is missing");
		r = check_text(name, "lineage.metrics", err);
	}
	return r;
}

static int check_names(const struct release *release, struct err *err)
{
	if (!name_is_valid(release->model))
		return err_set(
		    err, -EINVAL,
		    "model: a name has 1 to %d of a-z, 0-9, '-' and '.', and begins with a "
		    "letter or a digit",
		    LIMIT_NAME);
	if (!version_is_valid(release->version))
		return err_set(
		    err, -EINVAL,
		    "version: a version has 1 to %d letters, digits, '.', '_', '+' and '-', "
		    "and begins with a letter or a digit",
		    LIMIT_VERSION);
	if (!name_is_valid(release->os) || !name_is_valid(release->arch))
		return err_set(err, -EINVAL,
		               "image: it does not say for which system and architecture it is");
	return 0;
}

int release_check(const struct release *release, struct err *err)
{
	int r;

	r = check_names(release, err);
	if (r == 0)
		r = check_blobs(release, err);
	if (r == 0)
		r = check_command(release->argv, release->argv_count, "command", err);
	if (r == 0)
		r = check_env(release, err);
	if (r == 0)
		r = check_user_and_folder(release, err);
	if (r == 0)
		r = check_serve(&release->serve, err);
	if (r == 0)
		r = check_resources(&release->resources, err);
	if (r == 0)
		r = check_health(&release->health, err);
	if (r == 0)
		r = check_smokes(release, err);
	if (r == 0)
		r = check_lineage(release, err);
	return r;
}

void release_free(struct release *release)
{
	codec_free(&codec_release, release);
}

uint64_t release_size(const struct release *release)
{
	uint64_t total = 0;

	for (size_t i = 0; i < release->blobs_count; i++)
		if (__builtin_add_overflow(total, release->blobs[i].size, &total))
			return UINT64_MAX;
	return total;
}
