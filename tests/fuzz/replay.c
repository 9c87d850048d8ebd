/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target as an ordinary test: every file of the folders (or the files) that are named is one
 * input. Each has memory of exactly its size, so that a sanitizer sees a read behind its end.
 */
#include "fuzz.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#pragma weak LLVMFuzzerInitialize

static void replay_file(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FREE uint8_t *data = NULL;
	struct stat st;

	assert(fd >= 0 && fstat(fd, &st) == 0);
	data = malloc(st.st_size ? (size_t)st.st_size : 1);
	assert(data && read(fd, data, (size_t)st.st_size) == st.st_size);
	fprintf(stderr, "%s\n", path); /* the last line of a crash's log */
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
}

static size_t replay(const char *path)
{
	struct dirent **names = NULL;
	int count = scandir(path, &names, NULL, alphasort);
	size_t files = 0;

	if (count < 0) {
		replay_file(path);
		return 1;
	}
	for (int i = 0; i < count; i++) {
		AUTO_FREE char *file = mem_format("%s/%s", path, names[i]->d_name);

		if (names[i]->d_name[0] != '.') {
			replay_file(file);
			files++;
		}
		free(names[i]);
	}
	free(names);
	return files;
}

int main(int argc, char **argv)
{
	size_t files = 0;

	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		files += replay(argv[i]);
	printf("%zu inputs\n", files);
	return files ? 0 : 1;
}
