/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail is read from the end of the file in one bounded piece: an entry that starts before the
 * piece is left out. Pieces of long lines are joined as long as they fit.
 */
#include "agent/helper/logs.h"

#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

bool logs_parse(const char *entry, size_t size, struct logs_line *ret_line)
{
	const char *end = entry + size, *at = memchr(entry, ' ', size);
	struct logs_line line = {0};

	if (!at || end - at < 10 || (memcmp(at, " stdout ", 8) && memcmp(at, " stderr ", 8)))
		return false;
	line.error = at[4] == 'e';
	at += 8;
	if ((*at != 'F' && *at != 'P') || at[1] != ' ')
		return false;
	line.partial = *at == 'P';
	line.text = at + 2;
	line.size = (size_t)(end - line.text);
	*ret_line = line;
	return true;
}

static void add_text(struct str *text, const struct logs_line *line)
{
	size_t start = text->size;

	str_add_bytes(text, line->text, line->size);
	for (size_t i = start; i < text->size; i++) {
		unsigned char c = (unsigned char)text->data[i];

		if ((c < ' ' && c != '\t') || c == 127)
			text->data[i] = '?';
	}
	if (!line->partial)
		str_add(text, "\n");
}

static size_t read_end(const char *path, char *data, size_t size, bool *ret_cut)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	size_t done = 0;
	struct stat st;
	off_t from;
	ssize_t got;

	*ret_cut = false;
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	from = st.st_size > (off_t)size ? st.st_size - (off_t)size : 0;
	*ret_cut = from > 0;
	while (done < size && (got = pread(fd, data + done, size - done, from + (off_t)done)) > 0)
		done += (size_t)got;
	return done;
}

char *logs_tail(const char *path, uint32_t lines, size_t max)
{
	const size_t window = 2 * max + 4096; /* entries have a head of some 45 bytes */
	AUTO_FREE char *data = mem_alloc(window);
	AUTO_STR struct str text = {0};
	bool cut;
	size_t size = read_end(path, data, window, &cut), start;
	const char *at = data, *end = data + size, *stop;
	char *tail;

	if (cut) {
		at = memchr(data, '\n', size);
		at = at ? at + 1 : end;
	}
	for (; (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
		struct logs_line line;

		if (logs_parse(at, (size_t)(stop - at), &line))
			add_text(&text, &line);
	}
	for (start = text.size; start > 0 && text.size - start < max; start--)
		if (start < text.size && text.data[start - 1] == '\n' && lines-- <= 1)
			break;
	if (start > 0 && text.data[start - 1] != '\n') { /* cut by max: begin with a whole line */
		tail = memchr(text.data + start, '\n', text.size - start);
		start = tail && tail + 1 < text.data + text.size ? (size_t)(tail + 1 - text.data)
		                                                 : start;
	}
	return mem_str(str_get(&text) + start);
}
