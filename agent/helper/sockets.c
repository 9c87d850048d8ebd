/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables have one line a socket: "sl local:port remote:port state ...", numbers in hex. A table
 * that is not there (IPv6 switched off) has no sockets.
 */
#include "agent/helper/sockets.h"

#include "base/cleanup.h"

uint64_t sockets_count_in(FILE *table, uint32_t port, enum sockets_state state)
{
	char line[512];
	uint64_t count = 0;

	while (fgets(line, sizeof(line), table)) {
		unsigned local, is;

		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local, &is) == 2 &&
		    local == port && is == (unsigned)state)
			count++;
	}
	return count;
}

int sockets_count(pid_t pid, uint32_t port, enum sockets_state state, uint64_t *ret_count,
                  struct err *err)
{
	static const char *const tables[] = {"tcp", "tcp6"};
	char path[64];

	*ret_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		AUTO_FCLOSE FILE *table = NULL;

		if (pid)
			snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, tables[i]);
		else
			snprintf(path, sizeof(path), "/proc/self/net/%s", tables[i]);
		table = fopen(path, "re");
		if (table)
			*ret_count += sockets_count_in(table, port, state);
		else if (errno != ENOENT || i == 0)
			return err_errno(err, -errno, "%s", path);
	}
	return 0;
}
