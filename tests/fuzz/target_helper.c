/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The privileged process' interface. Parts: a packet of the agent (as request and as reply), and
 * the record of slot a-blue; slot b-green has a good one. A traffic map is resolved by the real
 * code: what is carried out names only slots that run what it says, in rules that nftables
 * understands. The transaction itself is only tried, because the kernel takes its time for each:
 * which is why the file is included.
 */
#include "agent/helper/traffic.c"

#include "base/str.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/mount.h>

static struct worker worker;

static void write_good_record(void)
{
	struct record record = {.deployment = "b",
				.colour = COLOUR_GREEN,
				.interface = "cvaaaaaae1",
				.address = "10.213.0.2",
				.port = 8000,
				.container = {1, 1},
				.supervisor = {1, 1}};

	memset(record.release.bytes, 2, DIGEST_SIZE);
	record_boot_id(record.boot);
	assert(record_write(&worker.config, &record, NULL) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[PATHS_MAX];
	struct slot_name slot;

	fuzz_jail();
	config_defaults(&worker.config);
	STR_CUT(worker.config.run_dir, FUZZ_DIR "/run");
	STR_CUT(worker.config.helper.state_dir, FUZZ_DIR "/state");
	worker.mode = "";
	assert(paths_prepare(&worker.config, NULL) == 0);
	assert(paths_slot("a", COLOUR_BLUE, &slot, NULL) == 0);
	assert(paths_make(paths_slot_run(&worker.config, &slot, path, ""), 0700, NULL) == 0);
	assert(paths_slot("b", COLOUR_GREEN, &slot, NULL) == 0);
	assert(paths_make(paths_slot_run(&worker.config, &slot, path, ""), 0700, NULL) == 0);
	write_good_record();
	return 0;
}

/* "@boot" stands for this boot's id, which no seed can know. */
static void write_record(struct bytes text)
{
	const uint8_t *mark = text.size ? memmem(text.data, text.size, "@boot", 5) : NULL;
	AUTO_STR struct str filled = {0};
	char path[PATHS_MAX], boot[40];
	struct slot_name slot;

	record_boot_id(boot);
	if (mark) {
		str_add_bytes(&filled, text.data, (size_t)(mark - text.data));
		str_add(&filled, boot);
		str_add_bytes(&filled, mark + 5, (size_t)(text.data + text.size - mark - 5));
	} else {
		str_add_bytes(&filled, text.data, text.size);
	}
	assert(paths_slot("a", COLOUR_BLUE, &slot, NULL) == 0);
	assert(paths_write(paths_slot_run(&worker.config, &slot, path, "/record"),
			   str_get(&filled), filled.size, 0600, NULL) == 0);
}

static void check_routes(const struct helper_request *request)
{
	for (size_t i = 0; i < request->routes_count; i++) {
		const struct helper_route *route = &request->routes[i];
		struct in_addr address;
		struct record record;
		struct slot_name slot;

		assert(route->port >= 1 && route->port <= UINT16_MAX);
		assert(paths_slot(route->deployment, route->colour, &slot, NULL) == 0);
		assert(record_read(&worker.config, &slot, &record, NULL) == 0);
		assert(digest_equal(&record.release, &route->release));
		assert(record.host_network || inet_pton(AF_INET, record.address, &address) == 1);
		for (size_t k = 0; k < i; k++)
			assert(request->routes[k].port != route->port);
	}
}

static void check_rules(const struct routes *routes)
{
	const struct nftables_table table = {.name = "covey_fuzz",
					     .interfaces = "cvaaaaaa",
					     .subnet = "10.213.0.0/16",
					     .subnet6 = "fd00::/48",
					     .routes = routes->items,
					     .routes_count = routes->count};
	AUTO_STR struct str text = {0};
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

	assert(nft);
	nft_ctx_set_dry_run(nft, true);
	nftables_transaction(&table, &text);
	assert(nft_run_cmd_from_buffer(nft, str_get(&text)) == 0);
	nft_ctx_free(nft);
}

static void apply_traffic(const uint8_t *data, size_t size)
{
	AUTO_FREE struct routes *routes = mem_alloc(sizeof(*routes));
	struct err err = {0};

	if (codec_decode(&codec_helper_request, data, size, &worker.request, NULL) < 0)
		return;
	if (worker.request.op == HELPER_TRAFFIC) {
		if (add_routes(&worker, routes, &err) < 0) {
			assert(err.text[0]);
		} else {
			check_routes(&worker.request);
			check_rules(routes);
		}
	}
	codec_free(&codec_helper_request, &worker.request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct bytes packet = fuzz_part(&input), text = fuzz_part(&input);
	struct record record;
	struct slot_name slot;
	int r;

	fuzz_round_trip(&codec_helper_request, packet.data, packet.size, LIMIT_HELPER_MESSAGE);
	fuzz_round_trip(&codec_helper_reply, packet.data, packet.size, LIMIT_HELPER_MESSAGE);
	write_record(text);
	assert(paths_slot("a", COLOUR_BLUE, &slot, NULL) == 0);
	r = record_read(&worker.config, &slot, &record, NULL);
	assert(r == 0 || r == -EBADMSG || r == -ESTALE);
	if (packet.size <= LIMIT_HELPER_MESSAGE)
		apply_traffic(packet.data, packet.size);
	return 0;
}
