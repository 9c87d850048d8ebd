/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function for each check, in a table, from what cannot be helped to what an administrator can
 * change. All of them only look. The manifest is the one that the agent fetched, opened and
 * verified here as everywhere.
 */
#include "agent/helper/preflight.h"

#include "agent/helper/address.h"
#include "agent/helper/bundle.h"
#include "agent/helper/record.h"
#include "agent/helper/runtime.h"
#include "agent/helper/sockets.h"
#include "agent/helper/spawn.h"
#include "agent/helper/trusted.h"
#include "agent/helper/userns.h"
#include "agent/helper/xtables.h"
#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <jansson.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

struct machine { /* uname's word and OCI's */
	const char *machine, *arch;
};

static const struct machine machines[] = {
    {"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"}, {"armv6l", "arm"},
    {"armv8l", "arm"},      {"i686", "386"},      {"i386", "386"},   {"riscv64", "riscv64"},
    {"ppc64le", "ppc64le"}, {"s390x", "s390x"},
};

static bool runs_here(const char *arch)
{
	struct utsname name;

	if (uname(&name) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (str_equal(machines[i].machine, name.machine) &&
		    str_equal(machines[i].arch, arch))
			return true;
	return str_equal(name.machine, "x86_64") && str_equal(arch, "386");
}

static int check_system(struct worker *worker, const struct release *release, struct err *err)
{
	struct utsname name = {0};

	(void)worker;
	if (str_equal(release->os, "linux") && runs_here(release->arch))
		return 0;
	if (uname(&name) < 0)
		return err_errno(err, -errno, "uname");
	return err_set(err, -ENOEXEC, "the image is for %s/%s, this node is linux on %s",
	               release->os, release->arch, name.machine);
}

static int check_runtime(struct worker *worker, const struct release *release, struct err *err)
{
	char path[PATHS_MAX];
	int r = spawn_find(worker->config.helper.runtime, path, sizeof(path), err);

	(void)release;
	if (r == 0)
		r = spawn_find(worker->config.helper.conmon, path, sizeof(path), err);
	return r == 0 ? spawn_find("ip", path, sizeof(path), err) : r;
}

/* Bytes that unpacking will write: layers that are not there yet. A block for every small file is
 * in the tar as well, so the tar's size is a fair measure. */
static uint64_t bytes_to_unpack(const struct agent_config *config, const struct release *release)
{
	uint64_t bytes = 0;
	char path[PATHS_MAX];

	for (size_t i = 0; i < release->blobs_count; i++)
		if (release->blobs[i].kind == BLOB_LAYER &&
		    access(paths_layer(config, release->blobs[i].diff_id, path), F_OK) < 0)
			bytes += release->blobs[i].size;
	return bytes;
}

static int check_disk(struct worker *worker, const struct release *release, struct err *err)
{
	const struct agent_config *config = &worker->config;
	uint64_t need = bytes_to_unpack(config, release), free, reserve;
	char needs[STR_SIZE_MAX], has[STR_SIZE_MAX];
	struct statvfs st;

	if (statvfs(config->helper.state_dir, &st) < 0)
		return err_errno(err, -errno, "%s", config->helper.state_dir);
	free = (uint64_t)st.f_bavail * st.f_frsize;
	reserve = (uint64_t)st.f_blocks * st.f_frsize / 100 * config->disk_reserve_percent;
	if (need == 0 || (free > reserve && free - reserve >= need))
		return 0;
	str_format_size(needs, need);
	str_format_size(has, free > reserve ? free - reserve : 0);
	return err_set(err, -ENOSPC, "unpacking needs %s below %s, where %s may be used", needs,
	               config->helper.state_dir, has);
}

/* A line of /proc/meminfo in bytes; 0 when it is not there. */
static uint64_t memory_line(const char *key)
{
	AUTO_FCLOSE FILE *file = fopen("/proc/meminfo", "re");
	char line[128], name[64];
	unsigned long long kib;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63[^:]: %llu kB", name, &kib) == 2 && str_equal(name, key))
			return kib * 1024;
	return 0;
}

static int check_memory(struct worker *worker, const struct release *release, struct err *err)
{
	uint64_t want = release->resources.memory_bytes, total = memory_line("MemTotal");
	uint64_t available = memory_line("MemAvailable");
	char wants[STR_SIZE_MAX], has[STR_SIZE_MAX];

	if (want == 0 || total == 0 || want <= available)
		return 0;
	str_format_size(wants, want);
	if (want > total) {
		str_format_size(has, total);
		return err_set(err, -ENOMEM, "the release may use %s, the node has %s", wants, has);
	}
	str_format_size(has, available);
	STR_CUT(worker->reply.check, "memory");
	snprintf(worker->reply.text, sizeof(worker->reply.text),
	         "the release may use %s, of which %s are free now", wants, has);
	return 0;
}

static int check_limits(struct worker *worker, const struct release *release, struct err *err)
{
	const struct release_resources *want = &release->resources;
	struct runtime_limits can;
	const char *what = NULL;

	(void)worker;
	runtime_limits(&can);
	if (want->memory_bytes && !can.memory)
		what = "memory";
	else if (want->cpu_millis && !can.cpu)
		what = "CPU";
	else if (want->pids && !can.pids)
		what = "process";
	if (!what)
		return 0;
	return err_set(err, -ENOTSUP,
	               "the release has a %s limit, this node has no control group for that", what);
}

static int check_devices(struct worker *worker, const struct release *release, struct err *err)
{
	struct bundle_device devices[LIMIT_DEVICES];
	size_t count;

	return bundle_devices_find(&worker->config, release, devices, &count, err);
}

/* ---- ports ---- */

struct port_user {
	struct worker *worker;
	uint32_t port;
	char deployment[LIMIT_NAME + 1]; /* that has the port; "" : none */
};

static int note_port(void *context, const struct slot_name *slot, const struct record *record)
{
	struct port_user *user = context;
	struct release release = {0};

	(void)slot;
	if (!record || str_equal(record->deployment, user->worker->request.deployment) ||
	    trusted_unpacked(&user->worker->config, &record->release, &release, NULL) < 0)
		return 0;
	if (release.serve.port == user->port)
		STR_CUT(user->deployment, record->deployment);
	release_free(&release);
	return 0;
}

static int check_port(struct worker *worker, const struct release *release, struct err *err)
{
	struct port_user user = {.worker = worker, .port = release->serve.port};
	uint64_t listeners;
	int r = record_each(&worker->config, note_port, &user, err);

	if (r == 0 && user.deployment[0])
		return err_set(err, -EADDRINUSE, "port %" PRIu32 " belongs to deployment %s",
		               user.port, user.deployment);
	if (r == 0)
		r = sockets_count(0, user.port, SOCKETS_LISTEN, &listeners, err);
	if (r == 0 && listeners > 0)
		return err_set(err, -EADDRINUSE,
		               "a program on this node listens on port %" PRIu32 " already",
		               user.port);
	return r;
}

static int check_subnet(struct worker *worker, const struct release *release, struct err *err)
{
	if (release->serve.network != SERVE_NETWORK_SLOT)
		return 0;
	return address_check_overlap(&worker->config, err);
}

/* ---- other people's firewalls ---- */

void preflight_foreign_drop(const char *json, const char *ours, char *dst, size_t dst_size)
{
	json_t *all = json_loads(json, 0, NULL), *item;
	size_t i;

	dst[0] = 0;
	json_array_foreach(json_object_get(all, "nftables"), i, item)
	{
		const char *family = NULL, *table = NULL, *name = NULL, *hook = NULL;
		const char *policy = NULL;

		if (json_unpack(item, "{s:{s:s, s:s, s:s, s:s, s:s}}", "chain", "family", &family,
		                "table", &table, "name", &name, "hook", &hook, "policy",
		                &policy) < 0)
			continue; /* no chain, or one that no packet comes to by itself */
		if (str_equal(hook, "forward") && str_equal(policy, "drop") &&
		    !str_equal(table, ours))
			snprintf(dst, dst_size, "%s %s %s", family, table, name);
	}
	json_decref(all);
}

static int check_firewall(struct worker *worker, const struct release *release, struct err *err)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	char chain[128] = "", table[TABLE_MAX];

	(void)err;
	paths_table(&worker->config, table);
	if (nft && release->serve.network == SERVE_NETWORK_SLOT) {
		nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_JSON);
		if (nft_ctx_buffer_output(nft) == 0 && nft_ctx_buffer_error(nft) == 0 &&
		    nft_run_cmd_from_buffer(nft, "list chains") == 0)
			preflight_foreign_drop(nft_ctx_get_output_buffer(nft), table, chain,
			                       sizeof(chain));
	}
	if (nft)
		nft_ctx_free(nft);
	if (!chain[0] && release->serve.network == SERVE_NETWORK_SLOT && xtables_drops_forward())
		STR_CUT(chain, "iptables-legacy filter FORWARD");
	if (chain[0] && !worker->reply.check[0]) {
		STR_CUT(worker->reply.check, "firewall");
		snprintf(worker->reply.text, sizeof(worker->reply.text),
		         "chain `%s` (of ufw, Docker or the like) drops forwarded packets: clients "
		         "outside reach the slots only where it accepts interfaces of Covey",
		         chain);
	}
	return 0;
}

struct check {
	const char *name;
	int (*run)(struct worker *worker, const struct release *release, struct err *err);
};

static const struct check checks[] = {
    {"system", check_system},   {"runtime", check_runtime}, {"limits", check_limits},
    {"devices", check_devices}, {"memory", check_memory},   {"disk", check_disk},
    {"subnet", check_subnet},   {"port", check_port},       {"firewall", check_firewall},
};

int preflight_check(struct worker *worker, struct err *err)
{
	const struct helper_request *request = &worker->request;
	struct release release = {0};
	struct slot_name slot;
	int r = paths_slot(request->deployment, request->colour, &slot, err);

	if (r == 0)
		r = trusted_fetched(&worker->config, &request->release, &release, NULL, err);
	if (r < 0)
		return worker_fail(worker, r, "manifest");
	for (size_t i = 0; i < ARRAY_SIZE(checks) && r == 0; i++) {
		r = checks[i].run(worker, &release, err);
		if (r < 0)
			worker_fail(worker, r, checks[i].name);
	}
	release_free(&release);
	return r;
}

int preflight_hello(struct worker *worker, struct err *err)
{
	char version[64], why[LIMIT_REASON_TEXT + 1] = "";
	AUTO_FREE char *text = NULL;
	int r = runtime_version(worker, version, sizeof(version), err);

	if (r < 0)
		return r;
	text = userns_works(worker, why, sizeof(why))
	           ? mem_format("%s; user namespaces", version)
	           : mem_format("%s; no user namespaces: %s", version, why);
	STR_CUT(worker->reply.runtime, text);
	return 0;
}
