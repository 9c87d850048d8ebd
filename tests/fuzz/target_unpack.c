/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer's tar: the check before signing, and the privileged unpacking on the node. Unpacking must
 * leave everything outside its folder alone, must make nothing that a container should not have,
 * and must take what the check let through.
 */
#include "agent/helper/unpack.h"
#include "coordinator/cli/layer.h"
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <locale.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define ROOT FUZZ_DIR "/root"
#define OUTSIDE FUZZ_DIR "/secret"

static struct stat secret;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_jail();
	fuzz_file("secret", "secret", 6);
	assert(stat(OUTSIDE, &secret) == 0);
	return 0;
}

/* Names, links and modes of what was made; the deepest first, and gone afterwards. */
static int look(const char *path, const struct stat *st, int type, struct FTW *at)
{
	bool whiteout = S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);

	assert(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode) || whiteout);
	assert(!(st->st_mode & (S_ISUID | S_ISGID)));
	assert(st->st_ino != secret.st_ino);
	return remove(path);
}

static void check_outside(void)
{
	struct stat now;
	char text[8] = "";
	AUTO_CLOSE int fd = open(OUTSIDE, O_RDONLY | O_CLOEXEC);

	assert(fd >= 0 && read(fd, text, sizeof(text)) == 6 && memcmp(text, "secret", 6) == 0);
	assert(fstat(fd, &now) == 0 && now.st_nlink == 1 && now.st_mode == secret.st_mode);
	assert(now.st_uid == secret.st_uid && now.st_mtime == secret.st_mtime);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_CLOSE int tar = open(fuzz_file("layer.tar", data, size), O_RDONLY | O_CLOEXEC);
	struct unpack_layer layer = {.tar = tar, .size = size};
	struct err refused = {0}, err = {0};
	int check, r;

	SHA256(data, size, layer.diff_id);
	setlocale(LC_CTYPE, "C.UTF-8"); /* as the command line has it */
	check = layer_check(tar, &refused);
	setlocale(LC_CTYPE, "C"); /* as the worker has it */
	assert(check == 0 || refused.text[0]);
	assert(mkdir(ROOT, 0755) == 0);
	AUTO_CLOSE int root = open(ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	layer.root = root;
	assert(root >= 0 && unpack_verify(&layer, &err) == 0);
	r = unpack_layer(&layer, &err);
	if (check == 0 && r < 0) {
		fprintf(stderr, "pushed, and then refused on every node: %s\n", err.text);
		abort();
	}
	assert(nftw(ROOT, look, 16, FTW_DEPTH | FTW_PHYS) == 0);
	check_outside();
	return 0;
}
