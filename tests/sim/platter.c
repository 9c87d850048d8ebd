/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each tracked file has the bytes that are surely on the platter and the list of changes since its
 * last sync; each folder tree has the names that are surely there and the list of changes of names.
 * A cut draws from these lists what is left, at that moment; what the process does after it, closing
 * its files for instance, reaches the real files but not what platter_restore() makes of them.
 */
#include "platter.h"

#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512, FDS = 8192 };

struct change { /* of a file's bytes */
	uint64_t offset;
	size_t size;
	uint8_t *data; /* NULL: the file ends at offset */
};

struct file {
	struct file *next;
	struct bytes sure; /* on the platter */
	struct change *changes;
	size_t changes_count, changes_cap;
};

struct name { /* below the folder: "journal.db", "parts/4f..." */
	char *path;
	struct file *file;
};

struct rename { /* from NULL: made; to NULL: removed */
	char *from, *to;
	struct file *file;
	bool sure;
};

struct names {
	struct name *list;
	size_t count, cap;
};

struct platter {
	struct platter *next;
	char *dir;
	size_t dir_size;
	struct rng rng;
	struct file *files;
	struct names now, sure;
	struct rename *renames;
	size_t renames_count, renames_cap;
	uint64_t changes, cut_at;
	enum platter_cut cut;
	bool dark, never_sync;
	int error;
	struct {
		char *path;
		struct bytes data;
	} *left; /* after the cut */
	size_t left_count, left_cap;
};

static struct platter *platters;
static struct {
	struct platter *platter;
	struct file *file; /* NULL: a folder */
	char *path;
} fds[FDS];

/* ---- the real functions ---- */

static struct {
	int (*open)(const char *, int, ...);
	int (*openat)(int, const char *, int, ...);
	int (*close)(int);
	int (*closedir)(DIR *);
	ssize_t (*write)(int, const void *, size_t);
	ssize_t (*pwrite)(int, const void *, size_t, off_t);
	int (*ftruncate)(int, off_t);
	ssize_t (*copy)(int, off_t *, int, off_t *, size_t, unsigned);
	int (*fsync)(int);
	int (*fdatasync)(int);
	int (*syncfs)(int);
	int (*renameat)(int, const char *, int, const char *);
	int (*unlink)(const char *);
	int (*unlinkat)(int, const char *, int);
} real;

static void *find_real(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	assert(function);
	return function;
}

__attribute__((constructor)) static void load_real(void)
{
	*(void **)&real.open = find_real("open64");
	*(void **)&real.openat = find_real("openat64");
	*(void **)&real.close = find_real("close");
	*(void **)&real.closedir = find_real("closedir");
	*(void **)&real.write = find_real("write");
	*(void **)&real.pwrite = find_real("pwrite64");
	*(void **)&real.ftruncate = find_real("ftruncate64");
	*(void **)&real.copy = find_real("copy_file_range");
	*(void **)&real.fsync = find_real("fsync");
	*(void **)&real.fdatasync = find_real("fdatasync");
	*(void **)&real.syncfs = find_real("syncfs");
	*(void **)&real.renameat = find_real("renameat");
	*(void **)&real.unlink = find_real("unlink");
	*(void **)&real.unlinkat = find_real("unlinkat");
}

/* ---- names ---- */

static struct name *names_find(struct names *names, const char *path)
{
	for (size_t i = 0; i < names->count; i++)
		if (str_equal(names->list[i].path, path))
			return &names->list[i];
	return NULL;
}

static void names_drop(struct names *names, const char *path)
{
	struct name *name = path ? names_find(names, path) : NULL;

	if (!name)
		return;
	free(name->path);
	*name = names->list[--names->count];
}

static void names_set(struct names *names, const char *path, struct file *file)
{
	names_drop(names, path);
	MEM_GROW(names->list, &names->cap, names->count);
	names->list[names->count++] = (struct name){mem_str(path), file};
}

static void names_move(struct names *names, const struct rename *rename)
{
	names_drop(names, rename->from);
	if (rename->to)
		names_set(names, rename->to, rename->file);
}

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->list[i].path);
	names->count = 0;
}

static bool is_in(const char *path, const char *folder)
{
	size_t size = strlen(folder);

	if (!path)
		return false;
	if (size == 0)
		return !strchr(path, '/');
	return strncmp(path, folder, size) == 0 && path[size] == '/' && !strchr(path + size + 1, '/');
}

/* ---- what is left ---- */

static void bytes_end(struct bytes *bytes, size_t size)
{
	bytes->data = mem_resize(bytes->data, size + 1, 1);
	if (size > bytes->size)
		memset(bytes->data + bytes->size, 0, size - bytes->size);
	bytes->size = size;
}

static void bytes_write(struct bytes *bytes, uint64_t offset, const uint8_t *data, size_t size)
{
	if (offset + size > bytes->size)
		bytes_end(bytes, (size_t)offset + size);
	memcpy(bytes->data + offset, data, size);
}

static void apply(struct bytes *bytes, const struct change *change)
{
	if (change->data)
		bytes_write(bytes, change->offset, change->data, change->size);
	else
		bytes_end(bytes, (size_t)change->offset);
}

static void apply_torn(struct platter *p, struct bytes *bytes, const struct change *change)
{
	size_t size;

	for (size_t at = 0; at < change->size; at += size) {
		size = SECTOR - (size_t)((change->offset + at) % SECTOR);
		size = size < change->size - at ? size : change->size - at;
		if (rng_below(&p->rng, 2))
			bytes_write(bytes, change->offset + at, change->data + at, size);
	}
}

static struct bytes left_of(struct platter *p, const struct file *file)
{
	struct bytes left = {mem_copy(file->sure.data, file->sure.size), file->sure.size};

	for (size_t i = 0; i < file->changes_count; i++) {
		const struct change *change = &file->changes[i];
		uint64_t fate = p->cut == PLATTER_KILL ? 0 : rng_below(&p->rng, 5);

		if (fate < 2)
			apply(&left, change);
		else if (fate == 2 && change->data)
			apply_torn(p, &left, change);
	}
	return left;
}

static void draw(struct platter *p)
{
	size_t some = rng_below(&p->rng, p->renames_count + 1);

	for (size_t i = 0; i < p->renames_count; i++)
		if (p->cut == PLATTER_KILL || p->renames[i].sure || i < some)
			names_move(&p->sure, &p->renames[i]);
	for (size_t i = 0; i < p->sure.count; i++) {
		MEM_GROW(p->left, &p->left_cap, p->left_count);
		p->left[p->left_count].path = mem_str(p->sure.list[i].path);
		p->left[p->left_count++].data = left_of(p, p->sure.list[i].file);
	}
	p->dark = true;
}

/* Before each change. False: what happens now is not on the platter any more. */
static bool before_change(struct platter *p)
{
	p->changes++;
	if (!p->dark && p->cut_at && p->changes >= p->cut_at)
		draw(p);
	return !p->dark;
}

/* ---- files ---- */

static struct file *file_new(struct platter *p)
{
	struct file *file = mem_alloc(sizeof(*file));

	file->next = p->files;
	p->files = file;
	return file;
}

static void forget_changes(struct file *file)
{
	for (size_t i = 0; i < file->changes_count; i++)
		free(file->changes[i].data);
	file->changes_count = 0;
}

static void note_write(int fd, uint64_t offset, const void *data, size_t size)
{
	struct file *file = fds[fd].file;

	MEM_GROW(file->changes, &file->changes_cap, file->changes_count);
	file->changes[file->changes_count++] =
		(struct change){offset, size, data ? mem_copy(data, size) : NULL};
}

static void note_name(struct platter *p, const char *from, const char *to, struct file *file)
{
	struct rename rename = {from ? mem_str(from) : NULL, to ? mem_str(to) : NULL, file, false};

	MEM_GROW(p->renames, &p->renames_cap, p->renames_count);
	p->renames[p->renames_count++] = rename;
	names_move(&p->now, &rename);
}

static void sync_file(struct file *file)
{
	for (size_t i = 0; i < file->changes_count; i++)
		apply(&file->sure, &file->changes[i]);
	forget_changes(file);
}

/* In order: what is sure at the beginning of the list moves into the names that are sure. */
static void sync_folder(struct platter *p, const char *folder)
{
	size_t done = 0;

	for (size_t i = 0; i < p->renames_count; i++)
		if (is_in(p->renames[i].from, folder) || is_in(p->renames[i].to, folder))
			p->renames[i].sure = true;
	while (done < p->renames_count && p->renames[done].sure) {
		names_move(&p->sure, &p->renames[done]);
		free(p->renames[done].from);
		free(p->renames[done++].to);
	}
	p->renames_count -= done;
	memmove(p->renames, p->renames + done, p->renames_count * sizeof(*p->renames));
}

/* ---- paths ---- */

static struct platter *platter_of(const char *path, const char **ret_below)
{
	for (struct platter *p = platters; p; p = p->next) {
		if (strncmp(path, p->dir, p->dir_size) != 0)
			continue;
		if (path[p->dir_size] == '\0') {
			*ret_below = path + p->dir_size;
			return p;
		}
		if (path[p->dir_size] == '/') {
			*ret_below = path + p->dir_size + 1;
			return p;
		}
	}
	return NULL;
}

static bool is_left_out(const char *below)
{
	size_t size = strlen(below);

	return size > 4 && str_equal(below + size - 4, "-shm");
}

/* The platter and the path below it of something that need not exist. */
static struct platter *locate(int at, const char *name, char path[PATH_MAX], const char **ret_below)
{
	char link[64];
	ssize_t size = 0;

	if (name[0] == '/') {
		str_cut(path, PATH_MAX, name);
		return platter_of(path, ret_below);
	}
	if (!platters || at < 0)
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
	size = readlink(link, path, PATH_MAX - 1);
	if (size < 0)
		return NULL;
	path[size] = '\0';
	if (!str_equal(name, "."))
		str_cut(path + size, PATH_MAX - (size_t)size, "/");
	if (!str_equal(name, "."))
		str_cut(path + size + 1, PATH_MAX - (size_t)size - 1, name);
	return platter_of(path, ret_below);
}

/* ---- the functions that everybody in this program calls ---- */

static int opened(int fd, int at, const char *name, int flags)
{
	char path[PATH_MAX];
	const char *below;
	struct platter *p = fd >= 0 ? locate(at, name, path, &below) : NULL;
	struct name *known;
	struct stat st;

	if (!p || is_left_out(below) || fstat(fd, &st) < 0)
		return fd;
	assert(fd < FDS);
	fds[fd].platter = p;
	fds[fd].path = mem_str(below);
	if (S_ISDIR(st.st_mode))
		return fd;
	known = names_find(&p->now, below);
	if (known) {
		fds[fd].file = known->file;
		if ((flags & O_TRUNC) && before_change(p))
			note_write(fd, 0, NULL, 0);
	} else {
		fds[fd].file = file_new(p);
		if (before_change(p))
			note_name(p, NULL, below, fds[fd].file);
	}
	return fd;
}

static bool is_failing(int at, const char *name, int flags)
{
	char path[PATH_MAX];
	const char *below;
	struct platter *p;

	if (!(flags & O_CREAT) || !platters)
		return false;
	p = locate(at, name, path, &below);
	if (!p || !p->error)
		return false;
	errno = p->error;
	return true;
}

#define MODE_OF(flags)                                                                             \
	mode_t mode = 0;                                                                           \
	if ((flags) & O_CREAT) {                                                                   \
		va_list args;                                                                      \
		va_start(args, flags);                                                             \
		mode = va_arg(args, mode_t);                                                       \
		va_end(args);                                                                      \
	}

int open(const char *name, int flags, ...)
{
	MODE_OF(flags)
	if (is_failing(AT_FDCWD, name, flags))
		return -1;
	return opened(real.open(name, flags, mode), AT_FDCWD, name, flags);
}

int openat(int at, const char *name, int flags, ...)
{
	MODE_OF(flags)
	if (is_failing(at, name, flags))
		return -1;
	return opened(real.openat(at, name, flags, mode), at, name, flags);
}

static void closed(int fd)
{
	if (fd < 0 || fd >= FDS || !fds[fd].platter)
		return;
	free(fds[fd].path);
	memset(&fds[fd], 0, sizeof(fds[fd]));
}

int close(int fd)
{
	closed(fd);
	return real.close(fd);
}

int closedir(DIR *dir)
{
	closed(dirfd(dir));
	return real.closedir(dir);
}

static struct platter *tracked(int fd)
{
	return fd >= 0 && fd < FDS && fds[fd].file ? fds[fd].platter : NULL;
}

static bool fails(const struct platter *p)
{
	if (!p || !p->error || p->dark)
		return false;
	errno = p->error;
	return true;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	struct platter *p = tracked(fd);

	if (fails(p))
		return -1;
	if (p && before_change(p))
		note_write(fd, (uint64_t)offset, data, size);
	return real.pwrite(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
	struct platter *p = tracked(fd);

	if (fails(p))
		return -1;
	if (p && before_change(p))
		note_write(fd, (uint64_t)lseek(fd, 0, SEEK_CUR), data, size);
	return real.write(fd, data, size);
}

int ftruncate(int fd, off_t size)
{
	struct platter *p = tracked(fd);

	if (fails(p))
		return -1;
	if (p && before_change(p))
		note_write(fd, (uint64_t)size, NULL, 0);
	return real.ftruncate(fd, size);
}

ssize_t copy_file_range(int from, off_t *in, int to, off_t *out, size_t size, unsigned flags)
{
	struct platter *p = tracked(to);
	off_t at = out ? *out : lseek(to, 0, SEEK_CUR);
	ssize_t copied;
	uint8_t *data;

	if (fails(p))
		return -1;
	copied = real.copy(from, in, to, out, size, flags);
	if (!p || copied <= 0 || !before_change(p))
		return copied;
	data = mem_alloc((size_t)copied);
	if (pread(to, data, (size_t)copied, at) == copied)
		note_write(to, (uint64_t)at, data, (size_t)copied);
	free(data);
	return copied;
}

static int synced(int fd, int (*sync)(int))
{
	struct platter *p = fd >= 0 && fd < FDS ? fds[fd].platter : NULL;

	if (fails(p))
		return -1;
	if (!p)
		return sync(fd);
	if (!before_change(p) || p->never_sync)
		return 0;
	if (fds[fd].file)
		sync_file(fds[fd].file);
	else
		sync_folder(p, fds[fd].path);
	return 0;
}

int fsync(int fd)
{
	return synced(fd, real.fsync);
}

int fdatasync(int fd)
{
	return synced(fd, real.fdatasync);
}

int syncfs(int fd)
{
	struct platter *p = fd >= 0 && fd < FDS ? fds[fd].platter : NULL;

	if (fails(p))
		return -1;
	if (!p)
		return real.syncfs(fd);
	if (!before_change(p) || p->never_sync)
		return 0;
	for (struct file *file = p->files; file; file = file->next)
		sync_file(file);
	for (size_t i = 0; i < p->renames_count; i++)
		p->renames[i].sure = true;
	return 0;
}

static void name_changed(int from_at, const char *from, int to_at, const char *to)
{
	char from_path[PATH_MAX], to_path[PATH_MAX];
	const char *from_below, *to_below = NULL;
	struct platter *p = locate(from_at, from, from_path, &from_below);
	struct name *name = p ? names_find(&p->now, from_below) : NULL;

	if (to && p && locate(to_at, to, to_path, &to_below) != p)
		return;
	if (name && before_change(p))
		note_name(p, from_below, to_below, name->file);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
	int r;

	if (is_failing(to_at, to, O_CREAT))
		return -1;
	r = real.renameat(from_at, from, to_at, to);
	if (r == 0)
		name_changed(from_at, from, to_at, to);
	return r;
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int at, const char *name, int flags)
{
	int r = real.unlinkat(at, name, flags);

	if (r == 0)
		name_changed(at, name, AT_FDCWD, NULL);
	return r;
}

int unlink(const char *name)
{
	int r = real.unlink(name);

	if (r == 0)
		name_changed(AT_FDCWD, name, AT_FDCWD, NULL);
	return r;
}

/* ---- the layer itself ---- */

struct platter *platter_new(const char *dir, uint64_t seed)
{
	struct platter *p = mem_alloc(sizeof(*p));

	p->dir = mem_str(dir);
	p->dir_size = strlen(dir);
	p->rng.state = seed;
	p->next = platters;
	platters = p;
	return p;
}

static void forget_files(struct platter *p)
{
	struct file *next;

	for (int fd = 0; fd < FDS; fd++)
		assert(fds[fd].platter != p); /* still open */
	for (struct file *file = p->files; file; file = next) {
		next = file->next;
		forget_changes(file);
		free(file->changes);
		free(file->sure.data);
		free(file);
	}
	p->files = NULL;
	for (size_t i = 0; i < p->renames_count; i++) {
		free(p->renames[i].from);
		free(p->renames[i].to);
	}
	p->renames_count = 0;
	names_clear(&p->now);
	names_clear(&p->sure);
}

/* Real files go, folders stay. */
static void empty_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char below[PATH_MAX];

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= PATH_MAX)
			continue;
		if (entry->d_type == DT_DIR)
			empty_folder(below);
		else
			real.unlink(below);
	}
	closedir(dir);
}

static void forget_left(struct platter *p)
{
	for (size_t i = 0; i < p->left_count; i++) {
		free(p->left[i].path);
		free(p->left[i].data.data);
	}
	p->left_count = 0;
}

void platter_free(struct platter *p)
{
	struct platter **link = &platters;

	if (!p)
		return;
	while (*link != p)
		link = &(*link)->next;
	*link = p->next;
	forget_files(p);
	forget_left(p);
	free(p->left);
	free(p->renames);
	free(p->now.list);
	free(p->sure.list);
	free(p->dir);
	free(p);
}

void platter_arm(struct platter *p, enum platter_cut cut, uint64_t changes)
{
	p->cut = cut;
	p->cut_at = changes ? p->changes + changes : 0;
}

void platter_cut(struct platter *p, enum platter_cut cut)
{
	if (p->dark)
		return;
	p->cut = cut;
	draw(p);
}

static int make_file(struct platter *p, const char *below, struct bytes *data)
{
	char path[PATH_MAX];
	struct file *file;
	int fd, r = 0;

	if (snprintf(path, sizeof(path), "%s/%s", p->dir, below) >= PATH_MAX)
		return -ENAMETOOLONG;
	fd = real.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (real.write(fd, data->data, data->size) != (ssize_t)data->size)
		r = -EIO;
	real.close(fd);
	file = file_new(p);
	file->sure = (struct bytes){TAKE_PTR(data->data), data->size};
	names_set(&p->now, below, file);
	names_set(&p->sure, below, file);
	return r;
}

int platter_restore(struct platter *p)
{
	int r = 0;

	assert(p->dark);
	forget_files(p);
	empty_folder(p->dir);
	for (size_t i = 0; i < p->left_count && r == 0; i++)
		r = make_file(p, p->left[i].path, &p->left[i].data);
	forget_left(p);
	p->dark = false;
	p->cut_at = 0;
	return r;
}

void platter_fail(struct platter *p, int error)
{
	p->error = error;
}

void platter_never_sync(struct platter *p)
{
	p->never_sync = true;
}

bool platter_is_dark(const struct platter *p)
{
	return p->dark;
}

uint64_t platter_changes(const struct platter *p)
{
	return p->changes;
}
