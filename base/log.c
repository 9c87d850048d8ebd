/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line, one write: lines of several processes on the same stderr do not mix. Control
 * characters (container output, labels) are shown as ?, so nothing reaches a terminal raw. For the
 * same reason a field of an event is one line, and the journal's native protocol is one datagram of
 * NAME=value lines (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): no library is needed for it.
 */
#include "base/log.h"
#include "base/cleanup.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char *log_program = "covey";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_journal;

void log_open(const char *program, enum log_level max)
{
	log_program = program;
	log_max = max;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

static void make_plain(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
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
	make_plain(line);
	strcat(line, "\n");
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return;
}

static void add_field(FILE *entry, const char *name, const char *value)
{
	char text[1024];

	if (!value || !*value)
		return;
	snprintf(text, sizeof(text), "%s", value);
	make_plain(text);
	fprintf(entry, "%s=%s\n", name, text);
}

static bool send_event(const struct log_event *event, const char *message)
{
	static const struct sockaddr_un journal = {.sun_family = AF_UNIX,
						   .sun_path = "/run/systemd/journal/socket"};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char data[8192] = "";
	AUTO_FCLOSE FILE *entry = fmemopen(data, sizeof(data), "w");

	if (fd < 0 || !entry)
		return false;
	fprintf(entry, "PRIORITY=%d\n", (int)event->level);
	add_field(entry, "MESSAGE", message);
	add_field(entry, "MESSAGE_ID", event->id);
	add_field(entry, "SYSLOG_IDENTIFIER", log_program);
	add_field(entry, "COVEY_DEPLOYMENT", event->deployment);
	add_field(entry, "COVEY_RELEASE", event->release);
	add_field(entry, "COVEY_ROLLOUT", event->rollout);
	add_field(entry, "COVEY_NODE", event->node);
	return fflush(entry) == 0 &&
	       sendto(fd, data, strlen(data), MSG_NOSIGNAL | MSG_DONTWAIT,
		      (const struct sockaddr *)&journal, sizeof(journal)) >= 0;
}

void log_event(const struct log_event *event, const char *format, ...)
{
	char message[1000];
	va_list args;

	if (event->level > log_max)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (!log_journal || !send_event(event, message))
		log_line(event->level, "%s", message);
}
