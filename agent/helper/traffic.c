/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request names slots; addresses come from their records. The nftables library gets one text
 * (agent/traffic/nftables.c) and applies it as one transaction. The request is kept as it came,
 * after it was applied: the resident helper sends it again when somebody flushed the rules.
 *
 * Forwarding: the node becomes a router for its slots. Where forwarding was off before, nothing but
 * the slots' traffic may profit from it, so the forward chain ends in a drop; the fact is written
 * down for this boot, before the switch is thrown. IPv6 forwarding makes Linux ignore router
 * advertisements unless accept_ra is 2: that is set where it was 1, or the node would lose its
 * own default route.
 */
#include "agent/helper/traffic.h"

#include "agent/helper/address.h"
#include "agent/helper/record.h"
#include "agent/helper/spawn.h"
#include "agent/traffic/nftables.h"
#include "base/mem.h"

#include <dirent.h>
#include <nftables/libnftables.h>
#include <stdio.h>

struct routes {
	struct nftables_route items[LIMIT_DEPLOYMENTS_PER_NODE];
	struct record records[LIMIT_DEPLOYMENTS_PER_NODE];
	size_t count;
};

static int resolve(struct worker *worker, const struct helper_route *route, struct record *record,
                   struct err *err)
{
	struct slot_name slot;
	int r = paths_slot(route->deployment, route->colour, &slot, err);

	if (r == 0)
		r = record_read(&worker->config, &slot, record, err);
	if (r == 0 && !digest_equal(&record->release, &route->release))
		return err_set(err, -ESTALE, "slot %s runs another release than the route says",
		               slot.text);
	return r;
}

static int add_routes(struct worker *worker, struct routes *routes, struct err *err)
{
	const struct helper_request *request = &worker->request;
	bool restoring = strcmp(worker->mode, "restore") == 0;

	for (size_t i = 0; i < request->routes_count; i++) {
		const struct helper_route *route = &request->routes[i];
		struct record *record = &routes->records[routes->count];
		int r = resolve(worker, route, record, err);

		if (r < 0 && restoring)
			continue;
		if (r < 0)
			return worker_fail(worker, r, "slot");
		if (route->port < 1 || route->port > 65535)
			return err_set(err, -EINVAL, "port %u is none", route->port);
		for (size_t k = 0; k < routes->count; k++)
			if (routes->items[k].port == route->port)
				return err_set(err, -EINVAL, "port %u stands there twice",
				               route->port);
		routes->items[routes->count++] = (struct nftables_route){
		    .port = route->port,
		    .address = record->host_network ? NULL : record->address,
		    .address6 = record->address6[0] ? record->address6 : NULL,
		    .slot_port = record->port,
		};
	}
	return 0;
}

static char read_switch(const char *path)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");

	return file ? (char)fgetc(file) : 0;
}

static int write_switch(const char *path, char value, struct err *err)
{
	AUTO_FCLOSE FILE *file = fopen(path, "we");

	if (!file || fputc(value, file) == EOF || fflush(file) != 0)
		return err_errno(err, -errno, "%s", path);
	return 0;
}

/* Turns forwarding on; *ret_ours: it was off before we came, in this boot. */
static int forwarding(struct worker *worker, const char *name, const char *path, bool *ret_ours,
                      struct err *err)
{
	char file[PATHS_MAX], boot[40];
	AUTO_FREE uint8_t *data = NULL;
	struct bytes old = {0};
	char now = read_switch(path);
	int r;

	record_boot_id(boot);
	*ret_ours = paths_read(paths_run(&worker->config, file, name), 64, &old, NULL) == 0 &&
	            strcmp((char *)old.data, boot) == 0;
	data = old.data;
	if (now == '1' || now == 0) /* 0: no such protocol here */
		return 0;
	if (!*ret_ours) {
		r = paths_write(file, boot, strlen(boot), 0600, err);
		if (r < 0)
			return r;
		*ret_ours = true;
	}
	return write_switch(path, '1', err);
}

static void keep_router_advertisements(void)
{
	static const char folder[] = "/proc/sys/net/ipv6/conf";
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		AUTO_FREE char *path = mem_format("%s/%s/accept_ra", folder, entry->d_name);

		if (entry->d_name[0] != '.' && read_switch(path) == '1' &&
		    write_switch(path, '2', NULL) < 0)
			continue; /* an interface that went away meanwhile */
	}
	if (dir)
		closedir(dir);
}

static int switch_forwarding(struct worker *worker, struct nftables_table *table, struct err *err)
{
	static const char v6[] = "/proc/sys/net/ipv6/conf/all/forwarding";
	int r = forwarding(worker, "/forwarding4", "/proc/sys/net/ipv4/ip_forward", &table->closed4,
	                   err);

	if (r == 0 && read_switch(v6) == '0')
		keep_router_advertisements();
	if (r == 0)
		r = forwarding(worker, "/forwarding6", v6, &table->closed6, err);
	return r;
}

static int run_transaction(const struct str *text, struct err *err)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	char line[256];
	int r = 0;

	if (!nft || nft_ctx_buffer_error(nft) || nft_ctx_buffer_output(nft))
		return err_set(err, -EIO, "libnftables does not start");
	if (nft_run_cmd_from_buffer(nft, str_get(text)) != 0) {
		const char *first = nft_ctx_get_error_buffer(nft);

		str_cut(line, sizeof(line), first ? first : "");
		line[strcspn(line, "\n")] = 0;
		r = err_set(err, -EIO, "nftables refused the rules: %s", line);
	}
	nft_ctx_free(nft);
	return r;
}

static int remember(struct worker *worker, struct err *err)
{
	struct helper_request kept = worker->request;
	struct bytes packet = {0};
	char path[PATHS_MAX];
	int r;

	kept.id = 0;
	r = codec_encode(&codec_helper_request, &kept, LIMIT_HELPER_MESSAGE, &packet, err);
	if (r == 0)
		r = paths_write(paths_run(&worker->config, path, "/traffic"), packet.data,
		                packet.size, 0600, err);
	free(packet.data);
	return r;
}

int traffic_apply(struct worker *worker, struct err *err)
{
	char name[TABLE_MAX], interfaces[INTERFACE_MAX], subnet4[24], subnet6[ADDRESS6_MAX];
	static struct routes routes;
	AUTO_STR struct str text = {0};
	struct nftables_table table = {
	    .name = name, .interfaces = interfaces, .subnet = subnet4, .subnet6 = subnet6};
	int r = worker_lock(worker, "rules", false, err);

	if (r >= 0)
		r = add_routes(worker, &routes, err);
	if (r < 0)
		return r;
	paths_table(&worker->config, name);
	paths_interface_prefix(&worker->config, interfaces);
	address_subnet4(&worker->config, subnet4);
	address_subnet6(&worker->config, subnet6);
	table.routes = routes.items;
	table.routes_count = routes.count;
	r = switch_forwarding(worker, &table, err);
	if (r < 0)
		return worker_fail(worker, r, "forwarding");
	nftables_transaction(&table, &text);
	r = run_transaction(&text, err);
	if (r < 0)
		return worker_fail(worker, r, "nftables");
	return strcmp(worker->mode, "restore") == 0 ? 0 : remember(worker, err);
}

/* "add" first: deleting what is not there is an error. */
int traffic_drop(struct worker *worker, struct err *err)
{
	AUTO_STR struct str text = {0};
	char name[TABLE_MAX];

	paths_table(&worker->config, name);
	str_addf(&text, "add table inet %s\ndelete table inet %s\n", name, name);
	return run_transaction(&text, err);
}
