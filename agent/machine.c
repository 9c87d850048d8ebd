/* SPDX-License-Identifier: Apache-2.0 */
/* Small questions to the kernel, each answered from one file or call. */
#include "agent/machine.h"

#include "base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

static ssize_t read_small(const char *path, char *dst, size_t size)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, dst, size - 1) : -1;

	dst[n > 0 ? n : 0] = '\0';
	return n;
}

void machine_boot_id(char ret_text[40])
{
	read_small("/proc/sys/kernel/random/boot_id", ret_text, 40);
	ret_text[strcspn(ret_text, "\n")] = '\0';
}

static uint64_t meminfo(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	unsigned long long kib = 0;

	if (!at || sscanf(at + strlen(name), ": %llu kB", &kib) != 1)
		return 0;
	return (uint64_t)kib << 10;
}

/* As OCI names architectures. */
static const char *arch_name(const char *machine)
{
	static const char *const names[][2] = {
		{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"},
		{"i686", "386"},     {"riscv64", "riscv64"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_equal(machine, names[i][0]))
			return names[i][1];
	return machine;
}

void machine_inventory(struct inventory *ret_inventory)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES);
	struct utsname name = {0};

	*ret_inventory = (struct inventory){
		.cpus = cpus > 0 ? (uint32_t)cpus : 0,
		.memory_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0,
	};
	uname(&name);
	STR_CUT(ret_inventory->hostname, name.nodename);
	STR_CUT(ret_inventory->os, "linux");
	STR_CUT(ret_inventory->arch, arch_name(name.machine));
	STR_CUT(ret_inventory->kernel, name.release);
}

bool machine_memory_is_short(void)
{
	char text[512];

	read_small("/proc/meminfo", text, sizeof(text));
	return meminfo(text, "MemAvailable") * 20 < meminfo(text, "MemTotal");
}

int machine_sibling(const char *name, char *dst, size_t size, struct err *err)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	int length;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		length = snprintf(dst, size, "%s/%s", self, name);
		if (length > 0 && (size_t)length < size && access(dst, X_OK) == 0)
			return 0;
	}
	length = snprintf(dst, size, "%s/%s", COVEY_LIBEXECDIR, name);
	if (length > 0 && (size_t)length < size && access(dst, X_OK) == 0)
		return 0;
	return err_set(err, -ENOENT, "%s is neither beside covey-agent nor in %s", name,
		       COVEY_LIBEXECDIR);
}
