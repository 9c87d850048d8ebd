/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's end is two events: its process is gone, then its supervisor writes the exit code
 * and ends. Between them lie milliseconds; the end is announced when the code is there, or when
 * the supervisor is gone too, or after EXIT_WAIT_MS.
 */
#include "agent/helper/watch.h"

#include "agent/helper/logs.h"
#include "agent/helper/pump.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <sys/pidfd.h>

enum { EXIT_WAIT_MS = 2000 };

struct entry {
	bool used, ended;
	struct loop_source container, supervisor;
	uint64_t give_up_ms; /* waiting for the exit code until then; 0: not waiting */
	struct record record;
	struct pump pump;
	struct watch *watch;
};

struct watch {
	struct loop *loop;
	const struct agent_config *config;
	void (*tell)(void *context, struct watch_ended *ended);
	void *context;
	struct pumps pumps;
	struct entry entries[WATCH_MAX];
};

static struct pump *find_pump(void *context, int descriptor)
{
	struct watch *watch = context;

	for (size_t i = 0; i < WATCH_MAX; i++)
		if (watch->entries[i].used && watch->entries[i].pump.watch == descriptor)
			return &watch->entries[i].pump;
	return NULL;
}

int watch_create(struct loop *loop, const struct agent_config *config,
                 void (*ended)(void *context, struct watch_ended *ended), void *context,
                 struct watch **ret_watch, struct err *err)
{
	struct watch *watch = mem_alloc(sizeof(*watch));
	int r;

	*watch = (struct watch){.loop = loop, .config = config, .tell = ended, .context = context};
	r = pumps_open(&watch->pumps, loop, find_pump, watch, err);
	if (r < 0) {
		free(watch);
		return r;
	}
	*ret_watch = watch;
	return 0;
}

static void drop(struct watch *watch, struct entry *entry)
{
	loop_remove(watch->loop, &entry->container);
	loop_remove(watch->loop, &entry->supervisor);
	pump_close(&watch->pumps, &entry->pump);
	*entry = (struct entry){0};
}

void watch_free(struct watch *watch)
{
	for (size_t i = 0; i < WATCH_MAX; i++)
		if (watch->entries[i].used)
			drop(watch, &watch->entries[i]);
	loop_remove(watch->loop, &watch->pumps.inotify);
	close(watch->pumps.journal);
	free(watch);
}

static void announce(struct watch *watch, struct entry *entry, uint32_t code)
{
	struct watch_ended ended = {.record = &entry->record, .exit_code = code};
	char path[PATHS_MAX];

	entry->ended = true;
	entry->give_up_ms = 0;
	loop_remove(watch->loop, &entry->supervisor);
	pump_run(&watch->pumps, &entry->pump, clock_mono_ms());
	ended.logs = logs_tail(paths_log(watch->config, &entry->pump.slot, path, "/log"),
	                       LIMIT_LOG_TAIL_LINES, LIMIT_LOG_TAIL);
	watch->tell(watch->context, &ended);
	free(ended.logs);
}

static void look_for_code(struct watch *watch, struct entry *entry, bool last_chance)
{
	uint32_t code = 255;

	if (record_exit_code(watch->config, &entry->pump.slot, &code) && !last_chance)
		return;
	announce(watch, entry, code);
}

static void on_supervisor(struct loop_source *source)
{
	struct entry *entry = source->owner;
	struct watch *watch = entry->watch;

	loop_remove(watch->loop, source);
	if (entry->give_up_ms)
		look_for_code(watch, entry, true);
}

static void on_container(struct loop_source *source)
{
	struct entry *entry = source->owner;
	struct watch *watch = entry->watch;

	loop_remove(watch->loop, source);
	entry->give_up_ms = clock_mono_ms() + EXIT_WAIT_MS;
	look_for_code(watch, entry, entry->supervisor.fd < 0);
}

/* False: that process is gone already. */
static bool follow(struct watch *watch, struct loop_source *source,
                   const struct record_process *process, void (*ready)(struct loop_source *source),
                   struct entry *entry)
{
	int fd = pidfd_open(process->pid, 0);

	source->fd = -1;
	if (fd < 0)
		return false;
	if (!record_alive(process)) {
		close(fd);
		return false;
	}
	return loop_add(watch->loop, source, fd, ready, entry) == 0;
}

static struct entry *find(struct watch *watch, const struct slot_name *slot)
{
	struct entry *room = NULL;

	for (size_t i = 0; i < WATCH_MAX; i++) {
		struct entry *entry = &watch->entries[i];

		if (entry->used && str_equal(entry->pump.slot.text, slot->text))
			return entry;
		if (!entry->used && !room)
			room = entry;
	}
	return room;
}

static void take_up(struct watch *watch, struct entry *entry, const struct slot_name *slot,
                    const struct record *record, bool tell)
{
	bool runs;

	*entry = (struct entry){.used = true, .record = *record, .watch = watch};
	pump_open(&watch->pumps, &entry->pump, watch->config, slot, record);
	follow(watch, &entry->supervisor, &record->supervisor, on_supervisor, entry);
	runs = follow(watch, &entry->container, &record->container, on_container, entry);
	if (runs)
		return;
	if (!tell) {
		entry->ended = true;
		return;
	}
	entry->give_up_ms = clock_mono_ms() + EXIT_WAIT_MS;
	look_for_code(watch, entry, entry->supervisor.fd < 0);
}

void watch_refresh(struct watch *watch, const struct slot_name *slot)
{
	struct entry *entry = find(watch, slot);
	struct record record;
	int r = record_read(watch->config, slot, &record, NULL);

	if (!entry) /* more slots than deployments allow */
		return;
	if (r == 0 && entry->used && entry->record.container.pid == record.container.pid &&
	    entry->record.container.started == record.container.started)
		return;
	if (entry->used)
		drop(watch, entry);
	if (r == 0)
		take_up(watch, entry, slot, &record, true);
}

static int adopt_one(void *context, const struct slot_name *slot, const struct record *record)
{
	struct watch *watch = context;
	struct entry *entry = record ? find(watch, slot) : NULL;

	if (entry && !entry->used)
		take_up(watch, entry, slot, record, false);
	return 0;
}

int watch_adopt(struct watch *watch, struct err *err)
{
	return record_each(watch->config, adopt_one, watch, err);
}

void watch_tick(struct watch *watch, uint64_t now_ms)
{
	for (size_t i = 0; i < WATCH_MAX; i++) {
		struct entry *entry = &watch->entries[i];

		if (!entry->used)
			continue;
		if (entry->pump.resume_ms && entry->pump.resume_ms <= now_ms)
			pump_run(&watch->pumps, &entry->pump, now_ms);
		if (entry->give_up_ms)
			look_for_code(watch, entry, entry->give_up_ms <= now_ms);
	}
}

uint64_t watch_deadline(const struct watch *watch)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < WATCH_MAX; i++) {
		const struct entry *entry = &watch->entries[i];

		if (!entry->used)
			continue;
		if (entry->pump.resume_ms && entry->pump.resume_ms < next)
			next = entry->pump.resume_ms;
		if (entry->give_up_ms && entry->give_up_ms < next)
			next = entry->give_up_ms;
	}
	return next;
}
