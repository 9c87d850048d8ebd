/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model hubs keep files as links into a cache, so links to files are followed. Links to folders are
 * not: they can make loops, and whoever reads the release should see where its bytes came from.
 */
#include "coordinator/cli/model_files.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 32 };

static void close_folder(DIR **folder)
{
	if (*folder)
		closedir(*folder);
}

void model_files_free(struct model_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free(files->items[i].path);
		free(files->items[i].name);
	}
	free(files->items);
	*files = (struct model_files){0};
}

static int walk(struct model_files *files, const char *folder, const char *prefix, unsigned depth,
                struct err *err);

static int add(struct model_files *files, const char *path, const char *name, unsigned depth,
               struct err *err)
{
	struct stat st, link;

	if (lstat(path, &link) < 0 || stat(path, &st) < 0)
		return err_errno(err, -errno, "%s", path);
	if (S_ISDIR(st.st_mode) && !S_ISLNK(link.st_mode))
		return walk(files, path, name, depth + 1, err);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: a model folder has files and folders only", path);
	if (strlen(name) > LIMIT_PATH || files->count == LIMIT_FILES)
		return err_set(err, -EINVAL,
		               "%s: at most %d files with names of %d bytes are possible", path,
		               LIMIT_FILES, LIMIT_PATH);
	MEM_GROW(files->items, &files->cap, files->count);
	files->items[files->count++] =
	    (struct model_file){mem_str(path), mem_str(name), st.st_mode & S_IXUSR ? 0755u : 0644u};
	return 0;
}

static int walk(struct model_files *files, const char *folder, const char *prefix, unsigned depth,
                struct err *err)
{
	COVEY_CLEANUP(close_folder) DIR *dir = opendir(folder);
	struct dirent *item;

	if (!dir)
		return err_errno(err, -errno, "%s", folder);
	if (depth == DEPTH_MAX)
		return err_set(err, -EINVAL, "%s: folders are nested more than %d deep", folder,
		               DEPTH_MAX);
	while ((item = readdir(dir))) {
		AUTO_FREE char *path = NULL, *name = NULL;
		int r;

		if (str_equal(item->d_name, ".") || str_equal(item->d_name, ".."))
			continue;
		path = mem_format("%s/%s", folder, item->d_name);
		name = mem_format("%s%s%s", prefix, *prefix ? "/" : "", item->d_name);
		r = add(files, path, name, depth, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct model_file *)a)->name, ((const struct model_file *)b)->name);
}

int model_files_list(const char *folder, struct model_files *ret_files, struct err *err)
{
	struct model_files files = {0};
	int r = walk(&files, folder, "", 0, err);

	if (r == 0 && !files.count)
		r = err_set(err, -EINVAL, "%s: there is no file in this folder", folder);
	if (r < 0) {
		model_files_free(&files);
		return r;
	}
	qsort(files.items, files.count, sizeof(*files.items), compare);
	*ret_files = files;
	return 0;
}
