/* SPDX-License-Identifier: Apache-2.0 */
/* Whose word the helper takes: manifests that an agent, perhaps a hostile one, put on the disk. And
 * what it knows of slots after a restart. */
#include "agent/helper/trusted.h"

#include "agent/helper/record.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/unit/protocol/sample.h"

#include <fcntl.h>
#include <sodium.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char dir[] = "/tmp/covey-trusted-XXXXXX";
static struct agent_config config;
static struct sign_key key;
static struct digest digest;
static struct bytes manifest; /* signed by key */

static void make_folder(char *dst, const char *name)
{
	snprintf(dst, CONFIG_PATH_MAX, "%s/%s", dir, name);
	assert_int_equal(paths_make(dst, 0755, NULL), 0);
}

static void write_root(const struct sign_key *root_key, const struct sign_key *release_key)
{
	struct public_key root_public = root_key->public_key;
	struct public_key release_public = release_key->public_key;
	const struct sign_key *const keys[] = {root_key};
	struct root_document root = {.version = 1,
	                             .release_threshold = 1,
	                             .release_keys = &release_public,
	                             .release_keys_count = 1,
	                             .root_threshold = 1,
	                             .root_keys = &root_public,
	                             .root_keys_count = 1,
	                             .endpoint = "tcp://127.0.0.1:7400"};
	AUTO_FREE char *path = mem_format("%s/root.doc", config.trust_dir);
	struct bytes payload, document;

	memset(root.server_key.bytes, 1, KEY_SIZE);
	root.online_key = root_public;
	assert_int_equal(codec_encode(&codec_root_document, &root, LIMIT_ROOT_DOCUMENT, &payload,
	                              NULL),
	                 0);
	document = sample_signed(payload, SIGNED_ROOT, keys, 1);
	assert_int_equal(paths_write(path, document.data, document.size, 0644, NULL), 0);
	free(document.data);
}

static int setup(void **state)
{
	const struct sign_key *const keys[] = {&key};
	struct release release;
	struct bytes payload;

	(void)state;
	assert_true(sodium_init() >= 0);
	assert_non_null(mkdtemp(strcpy(dir, "/tmp/covey-trusted-XXXXXX")));
	config_defaults(&config);
	make_folder(config.trust_dir, "trust");
	make_folder(config.state_dir, "agent");
	make_folder(config.helper.state_dir, "helper");
	make_folder(config.run_dir, "run");
	sign_key_generate(&key);
	write_root(&key, &key);
	sample_release(&release);
	assert_int_equal(release_encode(&release, &payload, &digest, NULL), 0);
	release_free(&release);
	manifest = sample_signed(payload, SIGNED_RELEASE, keys, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(manifest.data);
	return paths_remove(dir, NULL);
}

static char *manifest_path(void)
{
	char hex[DIGEST_HEX_MAX];
	AUTO_FREE char *folder = mem_format("%s/releases", config.state_dir);

	str_hex(hex, digest.bytes, DIGEST_SIZE);
	assert_int_equal(paths_make(folder, 0755, NULL), 0);
	return mem_format("%s/%s.manifest", folder, hex);
}

static void put_manifest(const void *data, size_t size)
{
	AUTO_FREE char *path = manifest_path();

	assert_int_equal(paths_write(path, data, size, 0644, NULL), 0);
}

/* The result for the release as it lies there, with words that the sentence must have. */
static int fetched(const char *words)
{
	struct bytes data = {0};
	struct release release;
	struct err err = {0};
	int r = trusted_fetched(&config, &digest, &release, &data, &err);

	if (r == 0) {
		assert_string_equal(release.model, "ocr");
		assert_int_equal(data.size, manifest.size);
		assert_memory_equal(data.data, manifest.data, data.size);
		release_free(&release);
		free(data.data);
	} else if (!strstr(err.text, words)) {
		fail_msg("%s", err.text);
	}
	return r;
}

static void signed_manifests_are_taken(void **state)
{
	(void)state;
	assert_int_equal(fetched("No such file"), -ENOENT);
	put_manifest(manifest.data, manifest.size);
	assert_int_equal(fetched(""), 0);
}

static void nothing_else_is(void **state)
{
	struct sign_key other;

	(void)state;
	put_manifest(manifest.data, manifest.size - 1);
	assert_int_equal(fetched("manifest of release"), -EBADMSG);
	put_manifest(manifest.data, manifest.size);
	digest.bytes[0] ^= 1; /* another release asked for, these bytes under its name */
	put_manifest(manifest.data, manifest.size);
	assert_true(fetched("manifest of release") < 0);
	digest.bytes[0] ^= 1;
	sign_key_generate(&other);
	write_root(&key, &other);
	assert_int_equal(fetched("manifest of release"), -EKEYREJECTED);
}

static void the_agents_folder_leads_nowhere(void **state)
{
	AUTO_FREE char *path = manifest_path();
	AUTO_FREE char *elsewhere = mem_format("%s/elsewhere", dir);
	AUTO_FREE char *releases = mem_format("%s/releases", config.state_dir);
	AUTO_FREE uint8_t *large = mem_alloc(LIMIT_MANIFEST + 1);

	(void)state;
	assert_int_equal(paths_write(elsewhere, manifest.data, manifest.size, 0644, NULL), 0);
	assert_int_equal(symlink(elsewhere, path), 0);
	assert_int_equal(fetched("symbolic links"), -ELOOP);
	unlink(path);
	assert_int_equal(mkfifo(path, 0644), 0); /* opening it must not wait either */
	assert_int_equal(fetched("not a plain file"), -EINVAL);
	unlink(path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(fetched("not a plain file"), -EINVAL);
	rmdir(path);
	put_manifest(large, LIMIT_MANIFEST + 1);
	assert_int_equal(fetched("larger than"), -EFBIG);
	unlink(path);
	rmdir(releases);
	assert_int_equal(symlink(dir, releases), 0);
	assert_int_equal(fetched("symbolic links"), -ELOOP);
	STR_CUT(config.state_dir, "/nonexistent");
	assert_int_equal(fetched("/nonexistent"), -ENOENT);
}

static void the_root_document_is_roots_own(void **state)
{
	AUTO_FREE char *path = mem_format("%s/root.doc", config.trust_dir);
	struct stat st;

	(void)state;
	put_manifest(manifest.data, manifest.size);
	assert_int_equal(chmod(path, 0664), 0);
	assert_int_equal(fetched("writable by root alone"), -EPERM);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(chmod(config.trust_dir, 0777), 0);
	assert_true(fetched("trust") < 0);
	assert_int_equal(chmod(config.trust_dir, 0755), 0);
	assert_int_equal(fetched(""), 0);
	assert_int_equal(paths_write(path, "garbage", 7, 0644, NULL), 0);
	assert_int_equal(fetched("root.doc"), -EBADMSG);
	assert_int_equal(stat(path, &st), 0);
	unlink(path);
	assert_int_equal(fetched("has not joined"), -ENOENT);
}

static void what_was_unpacked_is_checked_again(void **state)
{
	char path[PATHS_MAX];
	struct release release;
	struct err err = {0};

	(void)state;
	assert_int_equal(trusted_unpacked(&config, &digest, &release, &err), -ENOENT);
	assert_non_null(strstr(err.text, "not unpacked"));
	assert_int_equal(paths_make(paths_release(&config, &digest, path, ""), 0755, NULL), 0);
	paths_release(&config, &digest, path, "/manifest");
	assert_int_equal(paths_write(path, manifest.data, manifest.size, 0600, NULL), 0);
	assert_int_equal(trusted_unpacked(&config, &digest, &release, &err), 0);
	release_free(&release);
	manifest.data[manifest.size - 1] ^= 1;
	assert_int_equal(paths_write(path, manifest.data, manifest.size, 0600, NULL), 0);
	assert_int_equal(trusted_unpacked(&config, &digest, &release, &err), -EKEYREJECTED);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(trusted_unpacked(&config, &digest, &release, &err) < 0);
}

/* ---- slots ---- */

static void write_record(struct record *record, pid_t pid)
{
	struct slot_name slot;
	char path[PATHS_MAX];

	*record = (struct record){.deployment = "ocr", .host_network = true, .port = 8000};
	record_boot_id(record->boot);
	record->release = digest;
	record->container.pid = record->supervisor.pid = pid;
	record->container.started = record->supervisor.started = 1;
	if (pid == getpid())
		assert_int_equal(record_process_of(pid, &record->container), 0);
	assert_int_equal(paths_slot("ocr", COLOUR_BLUE, &slot, NULL), 0);
	assert_int_equal(paths_make(paths_slot_run(&config, &slot, path, ""), 0700, NULL), 0);
	assert_int_equal(record_write(&config, record, NULL), 0);
}

struct seen {
	unsigned whole, broken;
	struct helper_slot slot;
};

static int see(void *context, const struct slot_name *slot, const struct record *record)
{
	struct seen *seen = context;

	seen->whole += record != NULL;
	seen->broken += record == NULL;
	if (record)
		record_describe(&config, record, &seen->slot);
	else
		assert_string_equal(slot->text, "half-green");
	return 0;
}

static struct seen look(void)
{
	struct seen seen = {0};

	assert_int_equal(record_each(&config, see, &seen, NULL), 0);
	return seen;
}

static void slots_are_found_again(void **state)
{
	char path[PATHS_MAX];
	struct record record;
	struct slot_name half;
	struct seen seen;

	(void)state;
	assert_true(record_each(&config, see, &seen, NULL) < 0); /* no folder yet */
	write_record(&record, getpid());
	assert_int_equal(paths_slot("half", COLOUR_GREEN, &half, NULL), 0);
	assert_int_equal(paths_make(paths_slot_run(&config, &half, path, ""), 0700, NULL), 0);
	seen = look();
	assert_int_equal(seen.whole, 1);
	assert_int_equal(seen.broken, 1);
	assert_string_equal(seen.slot.deployment, "ocr");
	assert_int_equal(seen.slot.state, HELPER_SLOT_RUNNING);
	assert_int_equal(seen.slot.probe_port, 8000);
	assert_true(digest_equal(&seen.slot.release, &digest));
}

static void ended_containers_have_a_code(void **state)
{
	char path[PATHS_MAX];
	struct record record;
	struct seen seen;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	write_record(&record, pid);
	assert_false(record_alive(&record.container)); /* it began at another time */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(record_process_of(pid, &record.container), -ESRCH);
	seen = look();
	assert_int_equal(seen.slot.state, HELPER_SLOT_EXITED);
	assert_int_equal(seen.slot.exit_code, 255); /* nobody wrote one down */
	assert_int_equal(paths_make(paths_run(&config, path, "/exits"), 0700, NULL), 0);
	paths_run(&config, path, "/exits/ocr-blue");
	assert_int_equal(paths_write(path, "137", 3, 0600, NULL), 0);
	assert_int_equal(look().slot.exit_code, 137);
	assert_int_equal(paths_write(path, "lots", 4, 0600, NULL), 0);
	assert_int_equal(look().slot.exit_code, 255);
	record.deployment[0] = '/';
	assert_int_equal(record_write(&config, &record, NULL), -EINVAL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(signed_manifests_are_taken),
	    T(nothing_else_is),
	    T(the_agents_folder_leads_nowhere),
	    T(the_root_document_is_roots_own),
	    T(what_was_unpacked_is_checked_again),
	    T(slots_are_found_again),
	    T(ended_containers_have_a_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
