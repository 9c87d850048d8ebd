/* SPDX-License-Identifier: Apache-2.0 */
/* What was committed is there after a crash, what was not is not, and damage is refused. */
#include "agent/journal.h"
#include "agent/record_codec.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct place {
	char dir[64], path[96];
};

static int setup(void **state)
{
	struct place *place = mem_alloc(sizeof(*place));

	STR_CUT(place->dir, "/tmp/covey-journal-XXXXXX");
	if (!mkdtemp(place->dir))
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/journal.db", place->dir);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;
	static const char *const suffixes[] = {"", "-wal", "-shm"};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		AUTO_FREE char *path = mem_format("%s%s", place->path, suffixes[i]);

		unlink(path);
	}
	rmdir(place->dir);
	free(place);
	return 0;
}

static struct journal *open_journal(const char *path)
{
	struct journal *journal = NULL;
	struct err err = {0};

	if (journal_open(path, &journal, &err) < 0)
		fail_msg("%s", err.text);
	return journal;
}

static int count_records(void *context, const char *deployment, const void *data, size_t size,
			 struct err *err)
{
	(*(size_t *)context)++;
	return 0;
}

static size_t records(struct journal *journal)
{
	size_t count = 0;

	assert_int_equal(journal_each_record(journal, count_records, &count, NULL), 0);
	return count;
}

static int extent_counter(void *context, const struct journal_extent *extent)
{
	(*(size_t *)context)++;
	return 0;
}

static size_t extents(struct journal *journal, const struct digest *blob)
{
	size_t count = 0;

	assert_int_equal(journal_each_extent(journal, blob, extent_counter, &count, NULL), 0);
	return count;
}

static void what_is_committed_stays(void **state)
{
	struct place *place = *state;
	struct journal *journal = open_journal(place->path);
	struct journal_node node;

	assert_int_equal(journal_save_boot(journal, 5, "boot", NULL), 0);
	assert_int_equal(journal_save_generation(journal, 3, UINT64_C(1) << 40, NULL), 0);
	assert_int_equal(journal_save_record(journal, "ocr", "abc", 3, NULL), 0);
	journal_close(journal);
	journal = open_journal(place->path);
	assert_int_equal(journal_load_node(journal, &node, NULL), 0);
	assert_true(node.boot_epoch == 5 && node.epoch == 3 &&
		    node.generation == UINT64_C(1) << 40);
	assert_string_equal(node.boot_id, "boot");
	assert_int_equal(records(journal), 1);
	assert_int_equal(journal_drop_record(journal, "ocr", NULL), 0);
	assert_int_equal(records(journal), 0);
	journal_close(journal);
}

static void abandoned_transaction_leaves_nothing(void **state)
{
	struct place *place = *state;
	struct journal *journal = open_journal(place->path);

	assert_int_equal(journal_begin(journal, NULL), 0);
	assert_int_equal(journal_save_record(journal, "ocr", "abc", 3, NULL), 0);
	journal_abandon(journal);
	assert_int_equal(records(journal), 0);
	assert_int_equal(journal_begin(journal, NULL), 0);
	assert_int_equal(journal_save_record(journal, "ocr", "abc", 3, NULL), 0);
	assert_int_equal(journal_commit(journal, NULL), 0);
	journal_close(journal);
	journal = open_journal(place->path);
	assert_int_equal(records(journal), 1);
	journal_close(journal);
}

/* A writer is killed while it commits transactions of two records each, again and again. The
 * number that it finished stands in shared memory. */
static void kill_never_leaves_half_a_transaction(void **state)
{
	struct place *place = *state;
	volatile size_t *done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (unsigned round = 0; round < 20; round++) {
		size_t found, before = *done;
		pid_t pid = fork();

		if (pid == 0) {
			struct journal *journal = open_journal(place->path);

			for (size_t i = *done;; i++) {
				char name[32];

				snprintf(name, sizeof(name), "a%zu", i);
				if (journal_begin(journal, NULL) < 0 ||
				    journal_save_record(journal, name, "x", 1, NULL) < 0)
					_exit(1);
				name[0] = 'b';
				if (journal_save_record(journal, name, "x", 1, NULL) < 0 ||
				    journal_commit(journal, NULL) < 0)
					_exit(1);
				*done = i + 1;
			}
		}
		for (unsigned i = 0; *done < before + 2 && i < 10000; i++)
			usleep(1000);
		usleep(1000 * round);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		{
			struct journal *journal = open_journal(place->path);

			found = records(journal);
			journal_close(journal);
		}
		assert_int_equal(found % 2, 0);
		assert_true(found / 2 >= *done);
		assert_true(found / 2 <= *done + 1);
		*done = found / 2;
	}
	assert_true(*done > 20);
	munmap((void *)done, sizeof(*done));
}

/* The bytes of the files as they were at each step of a sequence of commits: whatever the moment of
 * the crash, the journal opens and holds a prefix. */
static void every_cut_of_the_log_is_a_prefix(void **state)
{
	struct place *place = *state;
	AUTO_FREE char *wal_path = mem_format("%s-wal", place->path);
	AUTO_FREE uint8_t *wal = mem_alloc(4 << 20);
	struct journal *journal = open_journal(place->path);
	ssize_t size;
	size_t last = 0;
	int fd;

	for (unsigned i = 0; i < 12; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%02u", i);
		assert_int_equal(journal_save_record(journal, name, "record", 6, NULL), 0);
	}
	fd = open(wal_path, O_RDONLY | O_CLOEXEC);
	size = read(fd, wal, 4 << 20);
	close(fd);
	assert_true(size > 12 * 4096);
	{
		/* the main file as it is now, the log cut at any length */
		AUTO_FREE char *copy = mem_format("%s/cut.db", place->dir);
		AUTO_FREE char *copy_wal = mem_format("%s-wal", copy);
		AUTO_FREE char *copy_shm = mem_format("%s-shm", copy);
		AUTO_FREE char *command = mem_format("cp %s %s", place->path, copy);

		for (ssize_t cut = size % 1000; cut <= size; cut += 1000) {
			struct journal *other;

			assert_int_equal(system(command), 0);
			unlink(copy_shm);
			fd = open(copy_wal, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
			assert_true(write(fd, wal, (size_t)cut) == cut);
			close(fd);
			other = open_journal(copy);
			assert_true(records(other) >= last);
			last = records(other);
			journal_close(other);
		}
		assert_int_equal(last, 12);
		unlink(copy);
		unlink(copy_wal);
		unlink(copy_shm);
	}
	journal_close(journal);
}

static void damage_is_refused_with_a_way_out(void **state)
{
	struct place *place = *state;
	struct journal *journal = open_journal(place->path);
	uint8_t noise[4096];
	struct err err = {0};
	int fd;

	for (unsigned i = 0; i < 200; i++) {
		struct digest digest = {{(uint8_t)i, 1}};
		struct journal_extent extent = {digest, 0, 1};

		assert_int_equal(journal_add_extents(journal, &digest, &extent, 1, NULL), 0);
	}
	journal_close(journal);
	memset(noise, 0xa5, sizeof(noise));
	fd = open(place->path, O_WRONLY | O_CLOEXEC);
	for (off_t at = 4096; at < 40960; at += 4096)
		assert_int_equal(pwrite(fd, noise, 2048, at), 2048);
	close(fd);
	assert_int_equal(journal_open(place->path, &journal, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "move it away"));
	fd = open(place->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, noise, sizeof(noise)), sizeof(noise));
	close(fd);
	assert_int_equal(journal_open(place->path, &journal, &err), -EBADMSG);
}

static void newer_schema_is_refused(void **state)
{
	struct place *place = *state;
	struct journal *journal = open_journal(place->path);
	struct err err = {0};
	sqlite3 *db;

	journal_close(journal);
	sqlite3_open(place->path, &db);
	sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(journal_open(place->path, &journal, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "newer"));
}

static void reader_works_beside_a_writer(void **state)
{
	struct place *place = *state;
	struct journal *journal = open_journal(place->path), *reader = NULL;

	assert_int_equal(journal_save_record(journal, "ocr", "abc", 3, NULL), 0);
	assert_int_equal(journal_open_readonly(place->path, &reader, NULL), 0);
	assert_int_equal(records(reader), 1);
	assert_int_equal(journal_save_record(journal, "two", "abc", 3, NULL), 0);
	assert_int_equal(records(reader), 2);
	assert_true(journal_save_record(reader, "three", "abc", 3, NULL) < 0);
	journal_close(reader);
	journal_close(journal);
	assert_int_equal(journal_open_readonly("/nowhere/journal.db", &reader, NULL), -ENOENT);
}

static void history_keeps_the_newest(void **state)
{
	struct place *place = *state;
	struct journal *journal = open_journal(place->path);
	size_t count = 0;

	for (unsigned i = 0; i < JOURNAL_HISTORY_MAX + 30; i++) {
		assert_int_equal(journal_add_history(journal, "ocr", &i, sizeof(i), NULL), 0);
		if (i < 10)
			assert_int_equal(journal_add_history(journal, "b", &i, sizeof(i), NULL), 0);
	}
	assert_int_equal(journal_each_history(journal, count_records, &count, NULL), 0);
	assert_int_equal(count, JOURNAL_HISTORY_MAX + 10);
	journal_close(journal);
}

static void chunks_are_found_in_other_blobs(void **state)
{
	struct place *place = *state;
	struct journal *journal = open_journal(place->path);
	const struct digest one = {{1}}, two = {{2}}, chunk = {{9}}, other = {{8}};
	const struct journal_extent rows[] = {{chunk, 0, 100}, {other, 100, 50}};
	struct digest blob;
	uint64_t offset, size;

	assert_int_equal(journal_add_extents(journal, &one, rows, 2, NULL), 0);
	assert_int_equal(journal_add_extents(journal, &one, rows, 2, NULL), 0);
	assert_int_equal(extents(journal, &one), 2);
	assert_int_equal(journal_find_chunk(journal, &other, NULL, &blob, &offset, &size, NULL), 0);
	assert_true(digest_equal(&blob, &one) && offset == 100 && size == 50);
	assert_int_equal(journal_find_chunk(journal, &other, &one, &blob, &offset, &size, NULL),
			 -ENOENT);
	assert_int_equal(journal_add_extents(journal, &two, rows, 1, NULL), 0);
	assert_int_equal(journal_drop_blob(journal, &one, NULL), 0);
	assert_int_equal(extents(journal, &one), 0);
	assert_int_equal(journal_find_chunk(journal, &other, NULL, &blob, &offset, &size, NULL),
			 -ENOENT);
	assert_int_equal(journal_find_chunk(journal, &chunk, NULL, &blob, &offset, &size, NULL), 0);
	assert_true(digest_equal(&blob, &two));
	journal_close(journal);
}

/* ---- the record's table ---- */

static void mark(const struct codec_struct *type, uint8_t *map)
{
	static const size_t sizes[] = {[FIELD_U64] = 8, [FIELD_U32] = 4, [FIELD_BOOL] = 1,
				       [FIELD_F64] = 8, [FIELD_ENUM] = 4};

	for (size_t i = 0; i < type->fields_count; i++) {
		const struct codec_field *field = &type->fields[i];
		uint8_t *at = map + field->offset;

		if (field->kind == FIELD_STRUCT || field->kind == FIELD_ARRAY)
			for (size_t k = 0; k < field->limit; k++)
				mark(field->type, at + k * field->type->size);
		else if (field->kind == FIELD_STR)
			memset(at, 1, field->limit + 1);
		else if (field->kind == FIELD_FIXED)
			memset(at, 1, field->limit);
		else
			memset(at, 1, sizes[field->kind]);
	}
}

/* A member of struct deploy_record without a line in the table would be forgotten in a restart:
 * every byte that is not padding belongs to a field. */
static void table_covers_the_whole_record(void **state)
{
	AUTO_FREE uint8_t *map = mem_alloc(codec_deploy_record.size);

	mark(&codec_deploy_record, map);
	assert_int_equal(codec_deploy_record.size, sizeof(struct deploy_record));
	for (size_t i = 0; i < codec_deploy_record.size;) {
		size_t end = i;

		while (end < codec_deploy_record.size && !map[end])
			end++;
		/* padding ends where a 4 or 8 byte member (or the struct) begins */
		if (end > i && (end % 4 != 0 || end - i > 7))
			fail_msg("bytes %zu to %zu of deploy_record are in no field", i, end);
		i = end + 1;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_committed_stays),
		TEST(abandoned_transaction_leaves_nothing),
		TEST(kill_never_leaves_half_a_transaction),
		TEST(every_cut_of_the_log_is_a_prefix),
		TEST(damage_is_refused_with_a_way_out),
		TEST(newer_schema_is_refused),
		TEST(reader_works_beside_a_writer),
		TEST(history_keeps_the_newest),
		TEST(chunks_are_found_in_other_blobs),
		cmocka_unit_test(table_covers_the_whole_record),
	};

	return cmocka_run_group_tests_name("agent journal", tests, NULL, NULL);
}
