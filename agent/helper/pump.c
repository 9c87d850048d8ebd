/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify on the folder sees both appended lines and the new file that conmon renames into place
 * when the log has reached its size. The read position is kept in the slot's run directory, in
 * memory: one small write for each line that is sent, of which there are few a second, so that no
 * line is lost when the helper restarts, and only the one at which it was killed may come twice.
 * The native protocol is one datagram of NAME=value lines for each entry.
 */
#include "agent/helper/pump.h"

#include "agent/helper/logs.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define JOURNAL "/run/systemd/journal/socket"

enum { CHUNK = 16 << 10, PAUSE_MS = 250, BATCHES = 16 };

static void on_inotify(struct loop_source *source)
{
	struct pumps *pumps = source->owner;
	_Alignas(struct inotify_event) char data[4096];
	ssize_t size = read(source->fd, data, sizeof(data));

	for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= size;) {
		const struct inotify_event *event = (const void *)(data + at);
		struct pump *pump = pumps->find(pumps->context, event->wd);

		if (pump && pump->resume_ms <= clock_mono_ms())
			pump_run(pumps, pump, clock_mono_ms());
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

int pumps_open(struct pumps *pumps, struct loop *loop,
               struct pump *(*find)(void *context, int watch), void *context, struct err *err)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), r;

	*pumps = (struct pumps){.inotify.fd = -1, .find = find, .context = context};
	pumps->journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || pumps->journal < 0)
		return err_errno(err, -errno, "no inotify or no socket for the journal");
	r = loop_add(loop, &pumps->inotify, fd, on_inotify, pumps);
	return r < 0 ? err_errno(err, r, "inotify") : 0;
}

static void open_log(struct pump *pump)
{
	struct stat st;

	pump->log = open(pump->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (pump->log < 0 || fstat(pump->log, &st) < 0)
		return;
	if (pump->inode != st.st_ino || pump->offset > (uint64_t)st.st_size)
		pump->offset = 0;
	pump->inode = st.st_ino;
}

static void load_place(struct pump *pump)
{
	AUTO_FREE uint8_t *data = NULL;
	struct bytes text = {0};

	if (paths_read(pump->place, 64, &text, NULL))
		return;
	data = text.data;
	if (sscanf((char *)data, "%" SCNu64 " %" SCNu64, &pump->inode, &pump->offset) != 2)
		pump->inode = pump->offset = 0;
}

static void save_place(const struct pump *pump)
{
	AUTO_CLOSE int fd = open(pump->place, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	char text[64];
	int size = snprintf(text, sizeof(text), "%20" PRIu64 " %20" PRIu64 "\n", pump->inode,
	                    pump->offset);

	if (fd >= 0 && pwrite(fd, text, (size_t)size, 0) < 0)
		return; /* lines may come twice after a restart */
}

void pump_open(struct pumps *pumps, struct pump *pump, const struct agent_config *config,
               const struct slot_name *slot, const struct record *record)
{
	char folder[PATHS_MAX];

	*pump = (struct pump){.slot = *slot,
	                      .record = *record,
	                      .log = -1,
	                      .tokens = PUMP_BURST,
	                      .filled_ms = clock_mono_ms()};
	paths_log(config, slot, pump->path, "/log");
	paths_slot_run(config, slot, pump->place, "/logged");
	pump->watch = inotify_add_watch(pumps->inotify.fd, paths_log(config, slot, folder, ""),
	                                IN_MODIFY | IN_MOVED_TO | IN_CREATE);
	load_place(pump);
	pump_run(pumps, pump, clock_mono_ms());
}

static int send_entry(struct pumps *pumps, const struct pump *pump, const char *text, size_t size,
                      bool error)
{
	static const struct sockaddr_un journal = {.sun_family = AF_UNIX, .sun_path = JOURNAL};
	AUTO_STR struct str entry = {0};
	char hex[DIGEST_HEX_MAX];

	str_hex(hex, pump->record.release.bytes, DIGEST_SIZE);
	str_addf(&entry, "SYSLOG_IDENTIFIER=covey\nPRIORITY=6\nCOVEY_DEPLOYMENT=%s\n",
	         pump->record.deployment);
	str_addf(&entry, "COVEY_SLOT=%s\nCOVEY_RELEASE=%s\nCOVEY_STREAM=%s\nMESSAGE=",
	         paths_colour(pump->record.colour), hex, error ? "stderr" : "stdout");
	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (((unsigned char)c < ' ' && c != '\t') || c == 127)
			c = '?';
		str_add_bytes(&entry, &c, 1);
	}
	str_add(&entry, "\n");
	if (sendto(pumps->journal, entry.data, entry.size, MSG_NOSIGNAL,
	           (const struct sockaddr *)&journal, sizeof(journal)) < 0)
		return -errno;
	return 0;
}

/* 0: the line at pump->offset is dealt with; -EAGAIN: later. */
static int take_line(struct pumps *pumps, struct pump *pump, const char *entry, size_t size)
{
	struct logs_line line;
	char text[64];

	if (!logs_parse(entry, size, &line)) {
		pump->offset += size + 1;
		return 0;
	}
	if (pump->tokens == 0) {
		pump->dropped++;
		pump->offset += size + 1;
		return 0;
	}
	if (pump->dropped) {
		int told =
		    snprintf(text, sizeof(text), "(%" PRIu64 " lines left out)", pump->dropped);

		if (send_entry(pumps, pump, text, (size_t)told, line.error) == -EAGAIN)
			return -EAGAIN;
		pump->dropped = 0;
	}
	if (send_entry(pumps, pump, line.text, line.size, line.error) == -EAGAIN)
		return -EAGAIN;
	pump->tokens--;
	pump->offset += size + 1;
	save_place(pump);
	return 0;
}

/* One piece of the file. 1: there may be more; 0: that was all; -EAGAIN. */
static int take_chunk(struct pumps *pumps, struct pump *pump)
{
	static char data[CHUNK];
	ssize_t size = pread(pump->log, data, sizeof(data), (off_t)pump->offset);
	const char *at = data, *stop;
	int r = 0;

	if (size <= 0)
		return 0;
	while (r == 0 && (stop = memchr(at, '\n', (size_t)(data + size - at)))) {
		r = take_line(pumps, pump, at, (size_t)(stop - at));
		at = r == 0 ? stop + 1 : at;
	}
	if (r == 0 && at == data && size == CHUNK) { /* one line longer than all this: skip it */
		at = data + size;
		pump->offset += CHUNK;
	}
	return r < 0 ? r : at != data && size == CHUNK;
}

static bool was_replaced(const struct pump *pump)
{
	struct stat st;

	return pump->log < 0 || (stat(pump->path, &st) == 0 && st.st_ino != pump->inode);
}

static void fill_tokens(struct pump *pump, uint64_t now_ms)
{
	uint64_t more = (now_ms - pump->filled_ms) * PUMP_LINES_PER_SECOND / 1000;

	if (more == 0)
		return;
	pump->filled_ms = now_ms;
	pump->tokens = pump->tokens + more < PUMP_BURST ? pump->tokens + more : PUMP_BURST;
}

void pump_run(struct pumps *pumps, struct pump *pump, uint64_t now_ms)
{
	uint64_t inode = pump->inode, offset = pump->offset;
	int r = 1;

	fill_tokens(pump, now_ms);
	pump->resume_ms = 0;
	for (int i = 0; i < BATCHES && r > 0; i++) {
		if (pump->log < 0)
			open_log(pump);
		r = pump->log < 0 ? 0 : take_chunk(pumps, pump);
		if (r == 0 && pump->log >= 0 && was_replaced(pump)) {
			close(pump->log);
			open_log(pump);
			r = 1;
		}
	}
	if (r != 0) /* the writer gets ahead of us: in pieces, not at once */
		pump->resume_ms = now_ms + PAUSE_MS;
	if (inode != pump->inode || offset != pump->offset)
		save_place(pump);
}

void pump_close(struct pumps *pumps, struct pump *pump)
{
	if (pump->watch >= 0)
		inotify_rm_watch(pumps->inotify.fd, pump->watch);
	pump->watch = -1;
	if (pump->log >= 0)
		close(pump->log);
	pump->log = -1;
}
