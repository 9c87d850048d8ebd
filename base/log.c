/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line, one write: lines of several processes on the same stderr do not mix. Control
 * characters (container output, labels) are shown as ?, so nothing reaches a terminal raw.
 */
#include "base/log.h"
#include "base/cleanup.h"

#include <stdbool.h>
#include <string.h>

static const char *log_program = "covey";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_journal;

void log_open(const char *program, enum log_level max)
{
	log_program = program;
	log_max = max;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[1024];
	va_list args;
	int used;

	if (level > log_max)
		return;
	used = log_journal ? snprintf(line, sizeof(line), "<%d>", (int)level)
			   : snprintf(line, sizeof(line), "%s: ", log_program);
	va_start(args, format);
	vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
	va_end(args);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	strcat(line, "\n");
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return;
}
