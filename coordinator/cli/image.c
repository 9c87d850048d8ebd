/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a place to an image: find its parts in whichever form they come, then treat all forms alike:
 * the config says platform, process and diff_ids; each layer is uncompressed, compared with its
 * diff_id and checked entry by entry.
 */
#include "coordinator/cli/image.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/image_source.h"
#include "coordinator/cli/layer.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>

extern char **environ;

const char *image_host_arch(void)
{
	static const struct {
		const char *machine, *arch;
	} names[] = {{"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm/v7"},
	             {"armv6l", "arm/v6"},   {"i686", "386"},      {"riscv64", "riscv64"},
	             {"ppc64le", "ppc64le"}, {"s390x", "s390x"}};
	struct utsname uts;

	if (uname(&uts) == 0)
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (str_equal(names[i].machine, uts.machine))
				return names[i].arch;
	return "amd64";
}

void image_free(struct image *image)
{
	for (size_t i = 0; i < image->layers_count; i++)
		covey_close_p(&image->layers[i].fd);
	for (size_t i = 0; i < image->argv_count; i++)
		free(image->argv[i].text);
	for (size_t i = 0; i < image->env_count; i++) {
		free(image->env[i].name);
		free(image->env[i].value);
	}
	free(image->layers);
	free(image->argv);
	free(image->env);
	free(image->user);
	free(image->workdir);
	*image = (struct image){0};
}

/* ---- the config ---- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int take_platform(const char *name, const json_t *config, const char *arch,
                         struct image *image, struct err *err)
{
	const char *os = text_of(config, "os"), *have = text_of(config, "architecture");
	size_t size = strcspn(arch, "/");
	const char *variant = text_of(config, "variant");

	if (!str_equal(os, "linux"))
		return err_set(err, -EINVAL,
		               "%s: the image is for `%.50s`; Covey runs linux images", name, os);
	if (strlen(have) != size || strncmp(have, arch, size) != 0 ||
	    (arch[size] && *variant && !str_equal(arch + size + 1, variant)))
		return err_set(err, -EINVAL,
		               "%s: the image is for %.50s%s%.50s, not for %s; if that is what you "
		               "mean, write --arch %.50s",
		               name, have, *variant ? "/" : "", variant, arch, have);
	if (STR_SET(image->os, os) < 0 || STR_SET(image->arch, have) < 0)
		return err_set(err, -EINVAL, "%s: the platform's name is too long", name);
	return 0;
}

static int add_argv(const json_t *list, struct image *image)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || image->argv_count == LIMIT_ARGV)
			return -EINVAL;
		image->argv[image->argv_count++].text = mem_str(text);
	}
	return 0;
}

static int add_env(const json_t *list, struct image *image)
{
	size_t count = json_array_size(list);

	if (count > LIMIT_ENV)
		return -EINVAL;
	image->env = mem_array(count, sizeof(*image->env));
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		const char *equals = text ? strchr(text, '=') : NULL;

		if (!equals || equals == text)
			return -EINVAL;
		image->env[image->env_count++] = (struct env_var){
		    mem_format("%.*s", (int)(equals - text), text), mem_str(equals + 1)};
	}
	return 0;
}

static int take_process(const char *name, const json_t *config, struct image *image,
                        struct err *err)
{
	const json_t *process = json_object_get(config, "config");

	image->argv = mem_array(LIMIT_ARGV, sizeof(*image->argv));
	image->user = mem_str(text_of(process, "User"));
	image->workdir =
	    mem_str(*text_of(process, "WorkingDir") ? text_of(process, "WorkingDir") : "/");
	if (add_argv(json_object_get(process, "Entrypoint"), image) < 0 ||
	    add_argv(json_object_get(process, "Cmd"), image) < 0)
		return err_set(err, -EINVAL,
		               "%s: entrypoint and command are not lists of at most %d texts", name,
		               LIMIT_ARGV);
	if (add_env(json_object_get(process, "Env"), image) < 0)
		return err_set(err, -EINVAL,
		               "%s: the environment is not a list of at most %d NAME=value texts",
		               name, LIMIT_ENV);
	return 0;
}

/* ---- layers ---- */

static int take_layer(int *fd, const char *diff_id, struct image_layer *ret_layer, struct err *err)
{
	struct image_layer layer = {.fd = -1};
	uint8_t wanted[DIGEST_SIZE];
	int r = layer_inflate(fd, err);

	if (r == 0)
		r = layer_sha256(*fd, layer.diff_id, &layer.size, err);
	if (r < 0)
		return r;
	if (image_sha256_parse(diff_id, wanted) < 0 ||
	    memcmp(wanted, layer.diff_id, DIGEST_SIZE) != 0)
		return err_set(err, -EINVAL,
		               "its content does not have the diff_id that the image's config "
		               "promises; build or download the image again");
	r = layer_check(*fd, err);
	if (r < 0)
		return r;
	layer.fd = TAKE_FD(*fd);
	*ret_layer = layer;
	return 0;
}

static int take_layers(const char *name, struct image_parts *parts, struct image *image,
                       struct err *err)
{
	const json_t *rootfs = json_object_get(parts->config, "rootfs");
	const json_t *diff_ids = json_object_get(rootfs, "diff_ids");

	if (json_array_size(diff_ids) != parts->layers_count)
		return err_set(err, -EINVAL, "%s: the image has %zu layers and %zu diff_ids", name,
		               parts->layers_count, json_array_size(diff_ids));
	image->layers = mem_array(parts->layers_count, sizeof(*image->layers));
	for (size_t i = 0; i < parts->layers_count; i++) {
		int r =
		    take_layer(&parts->layers[i], json_string_value(json_array_get(diff_ids, i)),
		               &image->layers[i], err);

		if (r < 0)
			return err_prefix(err, r, "%s: layer %zu", name, i + 1);
		image->layers_count++;
	}
	return 0;
}

static int read_source(struct image_source *source, const char *arch, struct image *ret_image,
                       struct err *err)
{
	struct image_parts parts = {0};
	struct image image = {0};
	struct err docker = {0};
	int r = image_oci_parts(source, arch, &parts, err);

	if (r == -ENOENT) {
		r = image_docker_parts(source, &parts, &docker);
		if (r == -ENOENT)
			r = err_set(err, -EINVAL,
			            "%s: this is no image: it has neither index.json (OCI) nor "
			            "manifest.json (docker save)",
			            source->name);
		else if (r < 0)
			*err = docker;
	}
	if (r == 0)
		r = take_platform(source->name, parts.config, arch, &image, err);
	if (r == 0)
		r = take_process(source->name, parts.config, &image, err);
	if (r == 0)
		r = take_layers(source->name, &parts, &image, err);
	image_parts_free(&parts);
	if (r < 0)
		image_free(&image);
	else
		*ret_image = image;
	return r;
}

/* ---- registries ---- */

static int run_skopeo(char *const *argv, struct err *err)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	pid_t pid;
	int status = 0, r;

	sigaction(SIGINT, &ignore, &old); /* skopeo gets it; we clean up after it */
	r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (r == 0)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			continue;
	sigaction(SIGINT, &old, NULL);
	if (r == ENOENT)
		return err_set(err, -EINVAL,
		               "skopeo is not installed, which reads registries; `apt-get install "
		               "skopeo`, or save the image as a .tar");
	if (r != 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, -EINVAL,
		               "skopeo could not copy the image; its words are above");
	return 0;
}

static int copy_from_registry(const char *url, const char *arch, const char *path, struct err *err)
{
	AUTO_FREE char *from = mem_str(url), *to = mem_format("oci-archive:%s:image", path);
	AUTO_FREE char *name = mem_str(arch);
	AUTO_FREE char *variant = mem_str(strchr(arch, '/') ? strchr(arch, '/') + 1 : "");
	char program[] = "skopeo", os[] = "--override-os", linux_os[] = "linux";
	char arch_option[] = "--override-arch", variant_option[] = "--override-variant";
	char copy[] = "copy", quiet[] = "--quiet";
	char *with[] = {program, os,   linux_os, arch_option, name, variant_option,
	                variant, copy, quiet,    from,        to,   NULL};
	char *without[] = {program, os, linux_os, arch_option, name, copy, quiet, from, to, NULL};

	name[strcspn(name, "/")] = 0;
	return run_skopeo(*variant ? with : without, err);
}

/* The folder goes as soon as the archive in it is open. */
static int fetch(const char *url, const char *arch, struct image_source *source, struct err *err)
{
	const char *tmp = getenv("TMPDIR");
	AUTO_FREE char *folder = mem_format("%s/covey-XXXXXX", tmp && *tmp ? tmp : "/var/tmp");
	AUTO_FREE char *path = NULL;
	int r;

	if (!mkdtemp(folder))
		return err_errno(err, -errno, "%s: no temporary folder", folder);
	path = mem_format("%s/image.tar", folder);
	r = copy_from_registry(url, arch, path, err);
	if (r == 0)
		r = image_source_open(source, path, err);
	unlink(path);
	rmdir(folder);
	return r < 0 ? err_prefix(err, r, "%s", url) : 0;
}

int image_read(const char *source_name, const char *arch, struct image *ret_image, struct err *err)
{
	struct image_source source = {.folder = -1, .archive = -1};
	int r;

	if (!arch)
		arch = image_host_arch();
	if (str_starts(source_name, "docker://"))
		r = fetch(source_name, arch, &source, err);
	else
		r = image_source_open(&source, source_name, err);
	source.name = source_name;
	if (r == 0)
		r = read_source(&source, arch, ret_image, err);
	image_source_close(&source);
	return r;
}
