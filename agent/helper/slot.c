/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot is started in an order in which every step that fails or is cut short leaves something
 * that slot_clear() finds: bundle, mounts, container, wire, and the record last. Stopping goes the
 * other way round, the record first. All of it happens under the slot's lock.
 */
#include "agent/helper/slot.h"

#include "agent/helper/bundle.h"
#include "agent/helper/idmap.h"
#include "agent/helper/runtime.h"
#include "agent/helper/slotnet.h"
#include "agent/helper/sockets.h"
#include "agent/helper/trusted.h"
#include "agent/helper/userns.h"
#include "base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

enum { KILL_WAIT_MS = 10000, SUPERVISOR_WAIT_MS = 500 };

static int lock_slot(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	AUTO_FREE char *name = mem_format("slots/%s", slot->text);
	int r = worker_lock(worker, name, false, err);

	return r < 0 ? worker_fail(worker, r, "busy") : 0; /* held until the worker ends */
}

static void reply_slot(struct worker *worker, const struct record *record)
{
	worker->reply.slots = mem_alloc(sizeof(struct helper_slot));
	worker->reply.slots_count = 1;
	record_describe(&worker->config, record, worker->reply.slots);
}

static int remove_index(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	uint32_t index;
	int r = address_find(worker, slot, &index, err);

	if (r == -ENOENT) /* then it never had an interface either */
		return 0;
	return r < 0 ? r : slotnet_down(worker, index, err);
}

int slot_clear(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	const struct agent_config *config = &worker->config;
	char path[PATHS_MAX], tail[SLOT_NAME_MAX + 8];
	int r;

	if (access(paths_slot_run(config, slot, path, ""), F_OK) < 0)
		return 0;
	unlink(paths_slot_run(config, slot, path, "/record"));
	r = runtime_delete(worker, slot, err);
	if (r == 0)
		r = remove_index(worker, slot, err);
	snprintf(tail, sizeof(tail), "/exits/%s", slot->text);
	if (r == 0)
		r = paths_remove(paths_run(config, path, tail), err);
	return r == 0 ? paths_remove(paths_slot_run(config, slot, path, ""), err) : r;
}

/* Fills in what the record says about the network; *ret_net is unused with network: host. */
static int plan_network(struct worker *worker, const struct slot_name *slot,
                        const struct release *release, struct record *record,
                        struct slotnet *ret_net, struct err *err)
{
	uint32_t index;
	int r;

	record->host_network = release->serve.network == SERVE_NETWORK_HOST;
	record->egress = release->serve.egress;
	if (record->host_network) {
		r = address_claim_port(worker, slot, &record->port, err);
		return r < 0 ? worker_fail(worker, r, "port") : 0;
	}
	record->port = release->serve.container_port;
	r = address_claim(worker, slot, &index, err);
	if (r < 0)
		return worker_fail(worker, r, "network");
	slotnet_plan(&worker->config, index, record->egress, ret_net);
	STR_CUT(record->interface, ret_net->interface);
	STR_CUT(record->address, ret_net->address.slot4);
	if (ret_net->ipv6)
		STR_CUT(record->address6, ret_net->address.slot6);
	return 0;
}

static int make_folders(struct worker *worker, const struct slot_name *slot, struct err *err)
{
	const struct agent_config *config = &worker->config;
	char path[PATHS_MAX];
	uint32_t uid;
	int r = paths_make(paths_slot_run(config, slot, path, ""), 0700, err);

	if (r == 0)
		r = paths_make(paths_log(config, slot, path, ""), 0700, err);
	if (r == 0)
		r = paths_make(paths_observe(config, slot, path), 0755, err);
	if (r == 0)
		r = config_user_id(config->user, &uid, err);
	if (r == 0 && lchown(path, uid, (gid_t)-1) < 0)
		r = err_errno(err, -errno, "%s", path);
	return r;
}

/* The first id of the slot's own, or 0: the node has none to give, or the release was allowed
 * devices, which open for groups of the node. */
static int plan_ids(struct worker *worker, const struct slot_name *slot,
                    const struct release *release, uint32_t *ret_first, struct err *err)
{
	char why[LIMIT_SHORT_TEXT + 1];
	uint32_t range;
	int r;

	*ret_first = 0;
	if (release->resources.devices_count > 0 || !userns_works(worker, why, sizeof(why)))
		return 0;
	r = address_claim_ids(worker, slot, &range, err);
	if (r < 0)
		return worker_fail(worker, r, "ids");
	*ret_first = IDMAP_FIRST + range * IDMAP_SIZE;
	return 0;
}

static int mount_tree(struct worker *worker, const struct slot_name *slot,
                      const struct release *release, uint32_t first_id, struct err *err)
{
	const struct agent_config *config = &worker->config;
	char paths[LIMIT_LAYERS][PATHS_MAX], model[PATHS_MAX];
	const char *layers[LIMIT_LAYERS];
	struct slot_tree tree = {.layers = layers, .first_id = first_id};

	for (size_t i = 0; i < release->blobs_count; i++) {
		if (release->blobs[i].kind == BLOB_FILE)
			tree.model = paths_release(config, &worker->request.release, model,
			                           "/model");
		if (release->blobs[i].kind != BLOB_LAYER || tree.layers_count == LIMIT_LAYERS)
			continue;
		layers[tree.layers_count] = paths_layer(config, release->blobs[i].diff_id,
		                                        paths[tree.layers_count]);
		tree.layers_count++;
	}
	return slot_mount(worker, slot, &tree, err);
}

static int write_bundle(struct worker *worker, const struct slot_name *slot,
                        const struct release *release, uint32_t port, uint32_t first_id,
                        struct err *err)
{
	const struct agent_config *config = &worker->config;
	char rootfs[PATHS_MAX], model[PATHS_MAX], observe[PATHS_MAX], group[PATHS_MAX];
	char path[PATHS_MAX], host[65] = "";
	char hostname[64]; /* the kernel's limit; the slot's name may be longer */
	struct bundle_device devices[LIMIT_DEVICES];
	struct runtime_limits limits;
	struct bundle bundle = {
	    .release = release, .devices = devices, .port = port, .first_id = first_id};
	AUTO_STR struct str json = {0};
	int r = bundle_devices_find(config, release, devices, &bundle.devices_count, err);

	if (r < 0)
		return worker_fail(worker, r, "devices");
	gethostname(host, sizeof(host) - 1);
	runtime_limits(&limits);
	paths_slot_run(config, slot, rootfs, "/rootfs");
	if (first_id)
		paths_slot_run(config, slot, model, SLOT_MODEL);
	else
		paths_release(config, &worker->request.release, model, "/model");
	bundle.colour = paths_colour(worker->request.colour);
	bundle.node = config->name[0] ? config->name : host;
	STR_CUT(hostname, slot->text);
	bundle.hostname = hostname;
	bundle.rootfs = rootfs;
	bundle.model = access(model, F_OK) == 0 ? model : NULL;
	bundle.observe = paths_observe(config, slot, observe);
	bundle.cgroup = paths_cgroup(config, slot, group);
	bundle.limit_memory = limits.memory;
	bundle.limit_cpu = limits.cpu;
	bundle.limit_pids = limits.pids;
	bundle.cgroup_namespace = limits.unified;
	r = bundle_user_find(rootfs, release->user, &bundle.user, err);
	if (r == 0)
		r = bundle_format(&bundle, &json, err);
	if (r < 0)
		return worker_fail(worker, r, "image");
	return paths_write(paths_slot_run(config, slot, path, "/config.json"), json.data, json.size,
	                   0600, err);
}

static int run_container(struct worker *worker, const struct slot_name *slot,
                         const struct release *release, struct record *record,
                         const struct slotnet *net, struct err *err)
{
	uint32_t first_id;
	int r = plan_ids(worker, slot, release, &first_id, err);

	if (r < 0)
		return r;
	r = mount_tree(worker, slot, release, first_id, err);
	if (r < 0)
		return worker_fail(worker, r, "image");
	r = write_bundle(worker, slot, release, record->port, first_id, err);
	if (r < 0)
		return r;
	r = runtime_create(worker, slot, &record->container, &record->supervisor, err);
	if (r < 0)
		return worker_fail(worker, r, "runtime");
	if (!record->host_network) {
		r = slotnet_up(worker, net, record->container.pid, err);
		if (r < 0)
			return worker_fail(worker, r, "network");
	}
	r = runtime_start(worker, slot, err);
	return r < 0 ? worker_fail(worker, r, "runtime")
	             : record_write(&worker->config, record, err);
}

static int start_release(struct worker *worker, const struct slot_name *slot,
                         const struct release *release, struct err *err)
{
	struct record record = {.release = worker->request.release,
	                        .colour = worker->request.colour};
	struct slotnet net = {0};
	char path[PATHS_MAX];
	int r;

	STR_CUT(record.deployment, worker->request.deployment);
	record_boot_id(record.boot);
	r = slot_clear(worker, slot, err);
	if (r == 0)
		r = make_folders(worker, slot, err);
	if (r == 0)
		r = paths_remove(paths_log(&worker->config, slot, path, "/log"), err);
	if (r == 0)
		r = plan_network(worker, slot, release, &record, &net, err);
	if (r == 0)
		r = run_container(worker, slot, release, &record, &net, err);
	if (r == 0) {
		reply_slot(worker, &record);
		return 0;
	}
	if (slot_clear(worker, slot, NULL) < 0)
		return r; /* the next START or STOP tries again */
	return r;
}

int slot_start(struct worker *worker, struct err *err)
{
	struct release release = {0};
	struct record record;
	struct slot_name slot;
	int r = paths_slot(worker->request.deployment, worker->request.colour, &slot, err);

	if (r == 0)
		r = lock_slot(worker, &slot, err);
	if (r < 0)
		return r;
	if (record_read(&worker->config, &slot, &record, NULL) == 0 &&
	    digest_equal(&record.release, &worker->request.release) &&
	    record_alive(&record.container)) {
		reply_slot(worker, &record);
		return 0;
	}
	r = worker_lock(worker, "store", true, err); /* until the layers are mounted: no pruning */
	if (r >= 0)
		r = trusted_unpacked(&worker->config, &worker->request.release, &release, err);
	if (r < 0)
		return worker_fail(worker, r, "release");
	r = address_check_overlap(&worker->config, err);
	if (r < 0 && release.serve.network == SERVE_NETWORK_SLOT)
		r = worker_fail(worker, r, "subnet");
	else
		r = start_release(worker, &slot, &release, err);
	release_free(&release);
	return r;
}

int slot_stop(struct worker *worker, struct err *err)
{
	const struct helper_request *request = &worker->request;
	bool known;
	struct record record;
	struct slot_name slot;
	int r = paths_slot(request->deployment, request->colour, &slot, err);

	if (r < 0)
		return r;
	known = record_read(&worker->config, &slot, &record, NULL) == 0;
	if (known && request->kill) /* at once, before anybody's lock */
		runtime_signal(&record.container, SIGKILL);
	r = lock_slot(worker, &slot, err);
	if (r < 0)
		return r;
	known = record_read(&worker->config, &slot, &record, NULL) == 0;
	if (known && !request->kill) {
		runtime_signal(&record.container, SIGTERM);
		runtime_wait(&record.container, request->grace_ms);
	}
	if (known) {
		runtime_signal(&record.container, SIGKILL);
		if (!runtime_wait(&record.container, KILL_WAIT_MS))
			return err_set(err, -EBUSY, "the container of slot %s does not end",
			               slot.text);
		runtime_wait(&record.supervisor, SUPERVISOR_WAIT_MS);
	}
	r = slot_clear(worker, &slot, err);
	if (r == 0 && known)
		slotnet_forget(record.address, record.address6);
	return r;
}

int slot_exec(struct worker *worker, struct err *err)
{
	struct release release = {0};
	AUTO_STR struct str output = {0};
	struct record record;
	struct slot_name slot;
	int code = 0, r;

	r = paths_slot(worker->request.deployment, worker->request.colour, &slot, err);
	if (r == 0)
		r = record_read(&worker->config, &slot, &record, err);
	if (r == 0)
		r = trusted_unpacked(&worker->config, &record.release, &release, err);
	if (r < 0)
		return r;
	if (release.health.kind != HEALTH_COMMAND)
		r = err_set(err, -EINVAL, "the release has no health command");
	else
		r = runtime_exec(worker, &slot, release.health.command,
		                 release.health.command_count, release.health.timeout_ms, &code,
		                 &output, err);
	release_free(&release);
	if (r < 0)
		return worker_fail(worker, r, "health");
	worker->reply.exit_code = (uint32_t)code;
	if (code != 0)
		STR_CUT(worker->reply.text, str_get(&output));
	return 0;
}

int slot_close(struct worker *worker, struct err *err)
{
	const struct helper_request *request = &worker->request;
	struct record record;
	struct slot_name slot;
	int forgotten, r = paths_slot(request->deployment, request->colour, &slot, err);

	if (r == 0)
		r = record_read(&worker->config, &slot, &record, err);
	if (r < 0 || record.host_network)
		return r == -ENOENT ? 0 : r;
	forgotten = slotnet_forget(record.address, record.address6);
	worker->reply.connections = forgotten > 0 ? (uint64_t)forgotten : 0;
	return 0;
}
