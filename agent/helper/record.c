/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record is a text file of key=value lines in the slot's run directory, replaced atomically. It
 * is written last when a slot starts and removed first when it stops: whatever lies between is a
 * slot that is broken and gets cleared. Only root can write there, still every value is checked,
 * because a full disk writes half a file as well as an attacker does.
 */
#include "agent/helper/record.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

enum { RECORD_SIZE = 4096 };

void record_boot_id(char dst[40])
{
	struct bytes text = {0};

	dst[0] = 0;
	if (paths_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL) == 0)
		str_cut(dst, 37, (const char *)text.data);
	free(text.data);
}

int record_process_of(pid_t pid, struct record_process *ret_process)
{
	AUTO_FREE uint8_t *data = NULL;
	struct bytes text = {0};
	char path[64], *at, state;
	unsigned long long started;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || paths_read(path, 4096, &text, NULL))
		return -ESRCH;
	data = text.data;
	at = strrchr((char *)data, ')'); /* the program's name may hold anything */
	if (!at || sscanf(at + 1,
	                  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
	                  "%*d %llu",
	                  &state, &started) != 2)
		return -ESRCH;
	if (state == 'Z' || state == 'X')
		return -ESRCH;
	*ret_process = (struct record_process){pid, started};
	return 0;
}

bool record_alive(const struct record_process *process)
{
	struct record_process now;

	return process->pid > 0 && record_process_of(process->pid, &now) == 0 &&
	       now.started == process->started;
}

int record_write(const struct agent_config *config, const struct record *record, struct err *err)
{
	char path[PATHS_MAX], hex[DIGEST_HEX_MAX];
	AUTO_STR struct str text = {0};
	struct slot_name slot;
	int r = paths_slot(record->deployment, record->colour, &slot, err);

	if (r < 0)
		return r;
	str_hex(hex, record->release.bytes, DIGEST_SIZE);
	str_addf(&text, "boot=%s\nrelease=%s\nhost=%d\negress=%d\n", record->boot, hex,
	         record->host_network, record->egress);
	str_addf(&text, "interface=%s\naddress=%s\naddress6=%s\nport=%" PRIu32 "\n",
	         record->interface, record->address, record->address6, record->port);
	str_addf(&text, "container=%d %" PRIu64 "\nsupervisor=%d %" PRIu64 "\nend=\n",
	         (int)record->container.pid, record->container.started, (int)record->supervisor.pid,
	         record->supervisor.started);
	return paths_write(paths_slot_run(config, &slot, path, "/record"), text.data, text.size,
	                   0600, err);
}

static bool parse_process(const char *value, struct record_process *ret)
{
	int pid;

	if (sscanf(value, "%d %" SCNu64, &pid, &ret->started) != 2 || pid <= 0)
		return false;
	ret->pid = pid;
	return true;
}

/* It goes into the firewall's rules as it is. */
static bool parse_address(const char *value, int family, char *dst, size_t size)
{
	struct in6_addr address;

	if (value[0] && inet_pton(family, value, &address) != 1)
		return false;
	return str_set(dst, size, value) == 0;
}

static bool parse_line(struct record *record, const char *key, const char *value)
{
	uint64_t number;

	if (str_equal(key, "boot"))
		return STR_SET(record->boot, value) == 0;
	if (str_equal(key, "release"))
		return str_unhex(record->release.bytes, DIGEST_SIZE, value) == 0;
	if (str_equal(key, "interface"))
		return STR_SET(record->interface, value) == 0;
	if (str_equal(key, "address"))
		return parse_address(value, AF_INET, record->address,
		                     sizeof(record->address));
	if (str_equal(key, "address6"))
		return parse_address(value, AF_INET6, record->address6,
		                     sizeof(record->address6));
	if (str_equal(key, "container"))
		return parse_process(value, &record->container);
	if (str_equal(key, "supervisor"))
		return parse_process(value, &record->supervisor);
	if (str_parse_u64(value, 65535, &number))
		return false;
	if (str_equal(key, "host"))
		record->host_network = number != 0;
	else if (str_equal(key, "egress"))
		record->egress = number != 0;
	else if (str_equal(key, "port"))
		record->port = (uint32_t)number;
	else
		return false;
	return true;
}

static int parse(char *text, struct record *record)
{
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, '=');

		if (!value)
			return -EBADMSG;
		*value++ = 0;
		if (str_equal(line, "end"))
			return record->port && (record->host_network || record->address[0])
			           ? 0
			           : -EBADMSG;
		if (!parse_line(record, line, value))
			return -EBADMSG;
	}
	return -EBADMSG;
}

int record_read(const struct agent_config *config, const struct slot_name *slot,
                struct record *ret_record, struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	struct record record = {0};
	char path[PATHS_MAX], boot[40];
	struct bytes text = {0};
	int r = paths_read(paths_slot_run(config, slot, path, "/record"), RECORD_SIZE, &text, NULL);

	data = text.data;
	if (r == -ENOENT && access(paths_slot_run(config, slot, path, ""), F_OK) == 0)
		return err_set(err, -EBADMSG, "slot %s was left half made", slot->text);
	if (r == -ENOENT)
		return err_set(err, -ENOENT, "nothing runs in slot %s", slot->text);
	if (r < 0 || parse((char *)data, &record) ||
	    !paths_slot_parse(slot->text, record.deployment, &record.colour))
		return err_set(err, -EBADMSG, "the record of slot %s cannot be read", slot->text);
	record_boot_id(boot);
	if (!str_equal(boot, record.boot))
		return err_set(err, -ESTALE, "slot %s ran before the last boot", slot->text);
	*ret_record = record;
	return 0;
}

int record_exit_code(const struct agent_config *config, const struct slot_name *slot,
                     uint32_t *ret_code)
{
	AUTO_FREE uint8_t *data = NULL;
	char path[PATHS_MAX], tail[SLOT_NAME_MAX + 8];
	struct bytes text = {0};
	uint64_t code;
	int r;

	snprintf(tail, sizeof(tail), "/exits/%s", slot->text);
	r = paths_read(paths_run(config, path, tail), 16, &text, NULL);
	data = text.data;
	if (r < 0 || str_parse_u64((char *)data, 255, &code))
		return -ENOENT;
	*ret_code = (uint32_t)code;
	return 0;
}

void record_describe(const struct agent_config *config, const struct record *record,
                     struct helper_slot *ret_slot)
{
	struct slot_name slot;

	*ret_slot = (struct helper_slot){
	    .colour = record->colour, .release = record->release, .probe_port = record->port};
	STR_CUT(ret_slot->deployment, record->deployment);
	STR_CUT(ret_slot->address, record->address);
	if (record_alive(&record->container)) {
		ret_slot->state = HELPER_SLOT_RUNNING;
		return;
	}
	ret_slot->state = HELPER_SLOT_EXITED;
	if (paths_slot(record->deployment, record->colour, &slot, NULL) ||
	    record_exit_code(config, &slot, &ret_slot->exit_code))
		ret_slot->exit_code = 255;
}

int record_each(const struct agent_config *config,
                int (*visit)(void *context, const struct slot_name *slot,
                             const struct record *record),
                void *context, struct err *err)
{
	char path[PATHS_MAX];
	struct dirent **names = NULL;
	int count = scandir(paths_run(config, path, "/slots"), &names, NULL, alphasort);
	int r = 0;

	if (count < 0)
		return err_errno(err, -errno, "%s", path);
	for (int i = 0; i < count; i++) {
		struct record record = {0};
		struct slot_name slot;
		int got;

		if (r == 0 && STR_SET(slot.text, names[i]->d_name) == 0 &&
		    paths_slot_parse(slot.text, record.deployment, &record.colour)) {
			got = record_read(config, &slot, &record, NULL);
			if (got == 0 || got == -EBADMSG)
				r = visit(context, &slot, got == 0 ? &record : NULL);
		}
		free(names[i]);
	}
	free(names);
	return r;
}
