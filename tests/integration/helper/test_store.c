/* SPDX-License-Identifier: Apache-2.0 */
/* What the helper believes: signatures, digests, sealed blobs; what it refuses in preflight; what
 * it forgets. */
#include "tests/integration/helper/fixture.h"

#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct fixture fx;

static int setup(void **state)
{
	(void)state;
	fixture_up(&fx, "store", "instance = htstore\nallow_devices =");
	fixture_start(&fx);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_down(&fx);
	return 0;
}

static int ask(enum helper_op op, const struct digest *release, const char *check,
               const char *sentence)
{
	struct helper_request request = {.op = op, .deployment = "web", .release = *release};
	struct helper_reply reply;
	int error = fixture_ask(&fx, &request, &reply);

	printf("# %d, %s: %s\n", error, reply.check, reply.text);
	if (check)
		assert_string_equal(reply.check, check);
	if (sentence)
		assert_non_null(strstr(reply.text, sentence));
	codec_free(&codec_helper_reply, &reply);
	return error;
}

static void damage(const char *path, off_t offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char byte = 0;

	assert_true(fd >= 0 && pread(fd, &byte, 1, offset) == 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

static char *manifest_of(const struct digest *release)
{
	char hex[2 * DIGEST_SIZE + 1];

	str_hex(hex, release->bytes, DIGEST_SIZE);
	return mem_format("%s/agent/releases/%s.manifest", fx.dir, hex);
}

/* spec: SLOT-13 */
static void a_foreign_signature_is_refused(void **state)
{
	struct digest release =
	    fixture_release(&fx, &(struct fixture_release){.text = "foreign", .foreign_key = true});

	(void)state;
	assert_int_equal(ask(HELPER_UNPACK, &release, "manifest", NULL), EKEYREJECTED);
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "manifest", NULL), EKEYREJECTED);
	assert_int_equal(ask(HELPER_START, &release, "release", "not unpacked"), ENOENT);
}

static void a_manifest_that_was_changed_or_swapped_is_refused(void **state)
{
	struct digest good = fixture_release(&fx, &(struct fixture_release){.text = "good"});
	struct digest other = fixture_release(&fx, &(struct fixture_release){.text = "other"});
	AUTO_FREE char *path = manifest_of(&good), *path2 = manifest_of(&other);

	(void)state;
	damage(path, 40);
	assert_int_not_equal(ask(HELPER_UNPACK, &good, "manifest", NULL), 0);
	/* a genuine one under another one's name */
	assert_int_equal(rename(path2, path), 0);
	assert_int_not_equal(ask(HELPER_UNPACK, &good, "manifest", NULL), 0);
	/* a symlink to a genuine one */
	good = fixture_release(&fx, &(struct fixture_release){.text = "good"});
	assert_int_equal(rename(path, path2), 0);
	assert_int_equal(symlink(path2, path), 0);
	assert_int_not_equal(ask(HELPER_UNPACK, &good, "manifest", NULL), 0);
	unlink(path);
}

/* spec: SLOT-13 */
static void a_layer_that_was_changed_is_refused(void **state)
{
	struct digest release = fixture_release(&fx, &(struct fixture_release){.text = "layer"});
	AUTO_STR struct str list = {0};
	char path[300];

	(void)state;
	fixture_shell("", &list, "cd %s/agent/blobs; grep -l ^layer -r . ; grep -la layer *",
	              fx.dir);
	snprintf(path, sizeof(path), "%s/agent/blobs/%.64s", fx.dir,
	         strrchr(str_get(&list), '\n') - 64);
	damage(path, 1024 + 2); /* in the text that the server would answer */
	assert_int_equal(ask(HELPER_UNPACK, &release, "digest", "signed"), EBADMSG);
	damage(path, 1024 + 2);
	assert_int_equal(ask(HELPER_UNPACK, &release, NULL, NULL), 0);
	assert_int_not_equal(
	    fixture_shell("", NULL, "ls -A %s/helper/layers | grep -q tmp", fx.dir), 0);
}

/* spec: SLOT-14 */
static void a_model_file_is_sealed_without_a_copy(void **state)
{
	struct digest release =
	    fixture_release(&fx, &(struct fixture_release){.text = "m", .model = "sealed weights"});
	AUTO_FREE char *blob = fixture_blob(&fx, "sealed weights", 14);
	char link[300], hex[2 * DIGEST_SIZE + 1];
	struct stat a, b;

	(void)state;
	assert_int_equal(ask(HELPER_UNPACK, &release, NULL, NULL), 0);
	str_hex(hex, release.bytes, DIGEST_SIZE);
	snprintf(link, sizeof(link), "%s/helper/releases/%s/model/sub/weights", fx.dir, hex);
	assert_int_equal(stat(blob, &a), 0);
	assert_int_equal(stat(link, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_uid, 0);
	assert_int_equal(a.st_mode & 07777, 0444);
	/* the agent's name may go, the release stays */
	assert_int_equal(unlink(blob), 0);
	assert_int_equal(stat(link, &b), 0);
	assert_int_equal(ask(HELPER_UNPACK, &release, NULL, NULL), 0);
}

static void a_model_file_that_is_open_for_writing_is_refused(void **state)
{
	struct digest release =
	    fixture_release(&fx, &(struct fixture_release){.text = "m", .model = "open weights"});
	AUTO_FREE char *blob = fixture_blob(&fx, "open weights", 12);
	int fd = open(blob, O_RDWR | O_CLOEXEC);
	char *map;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ask(HELPER_UNPACK, &release, NULL, "open for writing"), ETXTBSY);
	map = mmap(NULL, 12, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	close(fd);
	assert_int_equal(ask(HELPER_UNPACK, &release, NULL, "open for writing"), ETXTBSY);
	munmap(map, 12);
	assert_int_equal(ask(HELPER_UNPACK, &release, NULL, NULL), 0);
}

/* spec: SLOT-13 */
static void a_model_file_that_was_changed_is_refused(void **state)
{
	struct digest release =
	    fixture_release(&fx, &(struct fixture_release){.text = "m", .model = "good weights"});
	AUTO_FREE char *blob = fixture_blob(&fx, "good weights", 12);

	(void)state;
	damage(blob, 3);
	assert_int_equal(ask(HELPER_UNPACK, &release, "digest", "sub/weights"), EBADMSG);
	/* not a way to other people's files either */
	assert_int_equal(unlink(blob), 0);
	assert_int_equal(symlink("/etc/hostname", blob), 0);
	assert_int_not_equal(ask(HELPER_UNPACK, &release, NULL, NULL), 0);
	unlink(blob);
}

static bool is_unpacked(const struct digest *release)
{
	char hex[2 * DIGEST_SIZE + 1], path[300];

	str_hex(hex, release->bytes, DIGEST_SIZE);
	snprintf(path, sizeof(path), "%s/helper/releases/%s/manifest", fx.dir, hex);
	return access(path, F_OK) == 0;
}

static unsigned count_layers(void)
{
	AUTO_STR struct str output = {0};

	fixture_shell("", &output, "ls -A %s/helper/layers | wc -l", fx.dir);
	return (unsigned)atoi(str_get(&output));
}

static void pruning_keeps_what_is_wanted_or_runs(void **state)
{
	struct digest runs = fixture_release(&fx, &(struct fixture_release){.text = "runs"});
	struct digest kept = fixture_release(&fx, &(struct fixture_release){.text = "kept"});
	struct digest gone = fixture_release(
	    &fx, &(struct fixture_release){.text = "gone", .model = "gone weights"});
	struct digest_item keep = {kept};
	struct helper_request request = {.op = HELPER_PRUNE, .keep = &keep, .keep_count = 1};
	struct helper_reply reply;

	(void)state;
	assert_int_equal(ask(HELPER_UNPACK, &runs, NULL, NULL), 0);
	assert_int_equal(ask(HELPER_UNPACK, &kept, NULL, NULL), 0);
	assert_int_equal(ask(HELPER_UNPACK, &gone, NULL, NULL), 0);
	assert_int_equal(ask(HELPER_START, &runs, NULL, NULL), 0);
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	codec_free(&codec_helper_reply, &reply);
	assert_true(is_unpacked(&runs));
	assert_true(is_unpacked(&kept));
	assert_false(is_unpacked(&gone));
	assert_int_equal(count_layers(), 3); /* the common one and one of each */
	assert_int_equal(ask(HELPER_START, &gone, "release", "not unpacked"), ENOENT);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	assert_int_equal(ask(HELPER_START, &kept, NULL, NULL), 0);
	assert_int_equal(fixture_stop(&fx, "web", COLOUR_BLUE, true), 0);
	request.keep_count = 0;
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	codec_free(&codec_helper_reply, &reply);
	assert_int_equal(count_layers(), 0);
}

/* spec: SLOT-11 */
static void preflight_says_what_does_not_fit(void **state)
{
	struct digest release;
	pid_t server;

	(void)state;
	release = fixture_release(&fx, &(struct fixture_release){.text = "fits"});
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "", NULL), 0);
	server = fixture_server(fx.node, "8080", "/dev/null");
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "port", "8080"), EADDRINUSE);
	kill(server, SIGKILL);
	usleep(100000);
	release = fixture_release(&fx, &(struct fixture_release){.device = "/dev/fuse"});
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "devices", "/dev/fuse"), EPERM);
	release =
	    fixture_release(&fx, &(struct fixture_release){.memory_bytes = (uint64_t)1 << 50});
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "memory", NULL), ENOMEM);
	/* another deployment's port */
	release = fixture_release(&fx, &(struct fixture_release){.text = "port", .port = 8099});
	assert_int_equal(ask(HELPER_UNPACK, &release, NULL, NULL), 0);
	assert_int_equal(fixture_do(&fx, HELPER_START, "other", COLOUR_BLUE, &release), 0);
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "port", "other"), EADDRINUSE);
	assert_int_equal(fixture_stop(&fx, "other", COLOUR_BLUE, true), 0);
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "", NULL), 0);
	/* somebody else's firewall is worth a word */
	fixture_shell(fx.node, NULL,
	              "nft \"add table ip filter; add chain ip filter FORWARD { "
	              "type filter hook forward priority 0; policy drop; }\"");
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "firewall", "ip filter FORWARD"), 0);
	fixture_shell(fx.node, NULL, "nft delete table ip filter");
	if (fixture_shell(fx.node, NULL, "iptables-legacy -P FORWARD DROP") == 0) {
		assert_int_equal(ask(HELPER_PREFLIGHT, &release, "firewall",
		                     "iptables-legacy filter FORWARD"),
		                 0);
		fixture_shell(fx.node, NULL, "iptables-legacy -P FORWARD ACCEPT");
		assert_int_equal(ask(HELPER_PREFLIGHT, &release, "", NULL), 0);
	}
	/* an overlapping network */
	fixture_shell("", NULL, "ip -n %s route add 10.213.64.0/24 dev up0", fx.node);
	assert_int_equal(ask(HELPER_PREFLIGHT, &release, "subnet", "10.213.64.0/24"), EADDRINUSE);
	assert_int_equal(ask(HELPER_START, &release, "subnet", "10.213.64.0/24"), EADDRINUSE);
	fixture_shell("", NULL, "ip -n %s route del 10.213.64.0/24 dev up0", fx.node);
}

static void hello_names_the_runtime(void **state)
{
	struct helper_request request = {.op = HELPER_HELLO};
	struct helper_reply reply;

	(void)state;
	assert_int_equal(fixture_ask(&fx, &request, &reply), 0);
	assert_non_null(strstr(reply.runtime, "runc 1."));
	codec_free(&codec_helper_reply, &reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hello_names_the_runtime),
	    cmocka_unit_test(a_foreign_signature_is_refused),
	    cmocka_unit_test(a_manifest_that_was_changed_or_swapped_is_refused),
	    cmocka_unit_test(a_layer_that_was_changed_is_refused),
	    cmocka_unit_test(a_model_file_is_sealed_without_a_copy),
	    cmocka_unit_test(a_model_file_that_is_open_for_writing_is_refused),
	    cmocka_unit_test(a_model_file_that_was_changed_is_refused),
	    cmocka_unit_test(pruning_keeps_what_is_wanted_or_runs),
	    cmocka_unit_test(preflight_says_what_does_not_fit),
	};

	if (!fixture_usable())
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
