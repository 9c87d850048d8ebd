/* SPDX-License-Identifier: Apache-2.0 */
/* The list of operators' keys: read as a whole, so that a mistake in one line locks nobody out. */
#include "coordinator/operators.h"

#include "base/lines.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

static int parse_role(const char *text, enum operator_role *ret_role)
{
	static const char *const names[] = {"viewer", "operator", "admin"};

	for (size_t i = 0; text && i < ARRAY_SIZE(names); i++) {
		if (str_equal(names[i], text)) {
			*ret_role = (enum operator_role)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_line(char *line, struct operators *list, struct err *err)
{
	struct operator_entry entry = {0};
	char *state = NULL, *word;

	line[strcspn(line, "#\n")] = '\0';
	word = strtok_r(line, " \t", &state);
	if (!word)
		return 0;
	if (parse_role(word, &entry.role) < 0)
		return err_set(err, -EINVAL, "the role is viewer, operator or admin, not %.40s",
			       word);
	word = strtok_r(NULL, " \t", &state);
	if (!word || str_unhex(entry.key.bytes, KEY_SIZE, word) < 0)
		return err_set(err, -EINVAL, "the key is 64 hex digits");
	word = strtok_r(NULL, "", &state);
	if (!word || STR_SET(entry.name, word + strspn(word, " \t")) < 0 || !entry.name[0])
		return err_set(err, -EINVAL, "a name of at most %d characters is needed",
			       LIMIT_SHORT_TEXT);
	if (list->count == LIMIT_OPERATORS)
		return err_set(err, -EINVAL, "there are at most %d operators", LIMIT_OPERATORS);
	MEM_GROW(list->entries, &list->cap, list->count);
	list->entries[list->count++] = entry;
	return 0;
}

int operators_load(const char *path, struct operators *ret_operators, struct err *err)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	struct operators list = {0};
	struct lines lines = {.file = file};
	char line[512];
	int r = 0;

	if (!file && errno != ENOENT)
		return err_errno(err, -errno, "%s", path);
	while (r == 0 && file && lines_read(line, sizeof(line), &lines))
		r = parse_line(line, &list, err);
	if (r == 0 && file && ferror(file))
		r = err_set(err, -EIO, "the file cannot be read");
	if (r == 0 && lines.too_long)
		r = err_set(err, -EINVAL, "the line is longer than %zu characters",
			    sizeof(line) - 2);
	if (r < 0) {
		operators_free(&list);
		return err_prefix(err, r, "%s:%d", path, lines.number);
	}
	operators_free(ret_operators);
	*ret_operators = list;
	return 0;
}

void operators_free(struct operators *operators)
{
	free(operators->entries);
	*operators = (struct operators){0};
}

const struct operator_entry *operators_find(const struct operators *operators,
					    const struct public_key *key)
{
	for (size_t i = 0; i < operators->count; i++) {
		if (memcmp(operators->entries[i].key.bytes, key->bytes, KEY_SIZE) == 0)
			return &operators->entries[i];
	}
	return NULL;
}
