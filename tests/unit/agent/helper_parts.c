/* SPDX-License-Identifier: Apache-2.0 */
/* The helper's small pure parts: queue, names, logs, socket tables, netlink, addresses. */
#include "agent/helper/address.h"
#include "agent/helper/logs.h"
#include "agent/helper/netlink.h"
#include "agent/helper/queue.h"
#include "agent/helper/record.h"
#include "agent/helper/rules.h"
#include "agent/helper/slotnet.h"
#include "agent/helper/sockets.h"
#include "agent/traffic/nftables.h"
#include "base/mem.h"
#include "base/rng.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- queue ---- */

static void requests_of_one_slot_keep_their_order(void **state)
{
	struct queue queue = {0};
	size_t a1, a2, b1, place;

	(void)state;
	assert_int_equal(queue_add(&queue, "a", false, &a1), 0);
	assert_int_equal(queue_add(&queue, "a", false, &a2), 0);
	assert_int_equal(queue_add(&queue, "b", false, &b1), 0);
	assert_true(queue_next(&queue, true, &place));
	assert_int_equal(place, a1);
	assert_true(queue_next(&queue, true, &place));
	assert_int_equal(place, b1); /* beside a1, past a2 */
	assert_false(queue_next(&queue, true, &place));
	queue_remove(&queue, a1);
	assert_true(queue_has(&queue, "a"));
	assert_true(queue_next(&queue, true, &place));
	assert_int_equal(place, a2);
	queue_remove(&queue, a2);
	assert_false(queue_has(&queue, "a"));
}

static void a_start_waits_for_the_rules(void **state)
{
	struct queue queue = {0};
	size_t start, stop, other, place;

	(void)state;
	assert_int_equal(queue_add(&queue, "a", true, &start), 0);
	assert_int_equal(queue_add(&queue, "a", false, &stop), 0);
	assert_int_equal(queue_add(&queue, "b", false, &other), 0);
	assert_true(queue_next(&queue, false, &place));
	assert_int_equal(place, other);
	assert_false(queue_next(&queue, false, &place)); /* stop does not overtake start */
	assert_true(queue_next(&queue, true, &place));
	assert_int_equal(place, start);
}

static void the_queue_is_bounded(void **state)
{
	struct queue queue = {0};
	size_t place, running = 0;
	char key[16];

	(void)state;
	for (int i = 0; i < QUEUE_MAX; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(queue_add(&queue, key, false, &place), 0);
	}
	assert_int_equal(queue_add(&queue, "more", false, &place), -EBUSY);
	while (queue_next(&queue, true, &place))
		running++;
	assert_int_equal(running, QUEUE_RUNNING_MAX);
	queue_remove(&queue, place);
	assert_true(queue_next(&queue, true, &place));
}

/* ---- names ---- */

static void slots_have_names_and_come_back(void **state)
{
	char deployment[LIMIT_NAME + 1], interface[INTERFACE_MAX], prefix[INTERFACE_MAX];
	struct agent_config config;
	struct slot_name slot;
	enum colour colour;

	(void)state;
	assert_int_equal(paths_slot("a-blue", COLOUR_GREEN, &slot, NULL), 0);
	assert_string_equal(slot.text, "a-blue-green");
	assert_true(paths_slot_parse(slot.text, deployment, &colour));
	assert_string_equal(deployment, "a-blue");
	assert_int_equal(colour, COLOUR_GREEN);
	assert_false(paths_slot_parse("-blue", deployment, &colour));
	assert_false(paths_slot_parse("web-blue.lock", deployment, &colour));
	assert_false(paths_slot_parse("../x-blue", deployment, &colour));
	assert_int_equal(paths_slot("", COLOUR_BLUE, &slot, NULL), -EINVAL);
	assert_int_equal(paths_slot("a/b", COLOUR_BLUE, &slot, NULL), -EINVAL);
	assert_int_equal(paths_slot("..", COLOUR_BLUE, &slot, NULL), -EINVAL);
	assert_int_equal(paths_slot("a", (enum colour)7, &slot, NULL), -EINVAL);
	config_defaults(&config);
	paths_interface_prefix(&config, prefix);
	paths_interface(&config, true, ADDRESS_SLOTS_MAX - 1, interface);
	assert_true(strlen(interface) <= 15);
	assert_memory_equal(interface, prefix, strlen(prefix));
	assert_int_equal(interface[strlen(prefix)], 'e');
}

static void addresses_lie_in_the_subnet(void **state)
{
	struct agent_config config;
	struct address first, last;
	char subnet[ADDRESS6_MAX];

	(void)state;
	config_defaults(&config);
	assert_int_equal(address_slots(&config), 16384);
	address_of(&config, 0, &first);
	address_of(&config, 16383, &last);
	assert_string_equal(first.node4, "10.213.0.1");
	assert_string_equal(first.slot4, "10.213.0.2");
	assert_string_equal(last.slot4, "10.213.255.254");
	address_subnet6(&config, subnet);
	assert_memory_equal(first.slot6, "fd", 2);
	assert_non_null(strstr(subnet, "::/48"));
	config.helper.subnet_prefix = 28;
	assert_int_equal(address_slots(&config), 4);
}

/* ---- the firewall's text ---- */

static size_t count(const char *text, const char *part)
{
	size_t found = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		found++;
	return found;
}

static void the_transaction_holds_every_route(void **state)
{
	const struct nftables_route routes[] = {{8080, "10.213.0.2", "fd01::2", 8000},
	                                        {8081, "10.213.0.6", NULL, 80},
	                                        {8082, NULL, NULL, 21000}};
	struct nftables_table table = {.name = "covey_x",
	                               .interfaces = "cvabcdef",
	                               .subnet = "10.213.0.0/16",
	                               .subnet6 = "fd01::/48",
	                               .routes = routes,
	                               .routes_count = 3};
	AUTO_STR struct str text = {0}, closed = {0};

	(void)state;
	nftables_transaction(&table, &text);
	assert_non_null(strstr(text.data, "slots4 { 8080 : 10.213.0.2 . 8000 }"));
	assert_non_null(strstr(text.data, "slots6 { 8080 : fd01::2 . 8000 }"));
	assert_non_null(strstr(text.data, "slots4 { 8081 : 10.213.0.6 . 80 }"));
	assert_non_null(strstr(text.data, "local { 8082 : 21000 }"));
	assert_int_equal(count(text.data, "add element"), 4);
	assert_int_equal(count(text.data, "flush map"), 3);
	assert_null(strchr(text.data, '%'));
	assert_null(strstr(text.data, "nfproto ipv4 drop"));
	/* hooks are never taken away: that would open a gap */
	assert_null(strstr(text.data, "delete"));
	table.closed4 = true;
	table.routes_count = 0;
	nftables_transaction(&table, &closed);
	assert_non_null(strstr(closed.data, "nfproto ipv4 drop"));
	assert_null(strstr(closed.data, "nfproto ipv6 drop"));
	assert_null(strstr(closed.data, "add element"));
}

/* ---- logs ---- */

#define HEAD "2026-11-20T10:22:32.123456789+00:00 "

static char *tail_of(const char *text, uint32_t lines, size_t max)
{
	char path[] = "/tmp/covey-log-XXXXXX";
	int fd = mkstemp(path);
	char *tail;

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	tail = logs_tail(path, lines, max);
	unlink(path);
	return tail;
}

static void entries_are_taken_apart(void **state)
{
	struct logs_line line;

	(void)state;
	assert_true(logs_parse(HEAD "stderr F text", strlen(HEAD "stderr F text"), &line));
	assert_true(line.error && !line.partial && line.size == 4);
	assert_true(logs_parse(HEAD "stdout P ", strlen(HEAD "stdout P "), &line));
	assert_true(!line.error && line.partial && line.size == 0);
	assert_false(logs_parse("nonsense", 8, &line));
	assert_false(logs_parse(HEAD "stdout X a", strlen(HEAD "stdout X a"), &line));
	assert_false(logs_parse("", 0, &line));
}

static void tails_are_whole_lines(void **state)
{
	static const char text[] =
	    HEAD "stdout F one\n" HEAD "stdout P tw\n" HEAD "stdout F o\n"
	         "damaged\n" HEAD "stderr F th\033ree\n" HEAD "stdout F half";
	AUTO_FREE char *all = tail_of(text, 10, 1000), *two = tail_of(text, 2, 1000);
	AUTO_FREE char *few = tail_of(text, 10, 8), *none = logs_tail("/no/such/file", 5, 100);
	AUTO_FREE char *empty = tail_of("", 5, 100);

	(void)state;
	assert_string_equal(all, "one\ntwo\nth?ree\n");
	assert_string_equal(two, "two\nth?ree\n");
	assert_string_equal(few, "th?ree\n");
	assert_string_equal(none, "");
	assert_string_equal(empty, "");
}

static void long_logs_are_read_from_their_end(void **state)
{
	AUTO_STR struct str text = {0};
	AUTO_FREE char *tail = NULL;

	(void)state;
	for (int i = 0; i < 20000; i++)
		str_addf(&text, HEAD "stdout F line %d\n", i);
	tail = tail_of(text.data, 20, 8191);
	assert_memory_equal(tail, "line 19980\n", 11);
	assert_string_equal(tail + strlen(tail) - 11, "line 19999\n");
}

/* ---- /proc/net/tcp ---- */

static void sockets_are_counted_by_port_and_state(void **state)
{
	static char table[] =
	    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
	    "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
	    "   1: 0100007F:1F40 0100007F:9C40 01 00000000:00000000 00:00000000 00000000\n"
	    "   2: 0100007F:9C40 0100007F:1F40 01 00000000:00000000 00:00000000 00000000\n"
	    "   3: 00000000000000000000000001000000:1F40 "
	    "00000000000000000000000001000000:9C41 01 00000000:00000000 00:00000000\n"
	    "   4: 0100007F:1F40 0100007F:9C42 06 00000000:00000000 00:00000000 00000000\n";
	FILE *file = fmemopen(table, sizeof(table) - 1, "r");

	(void)state;
	assert_int_equal(sockets_count_in(file, 8000, SOCKETS_ESTABLISHED), 2);
	rewind(file);
	assert_int_equal(sockets_count_in(file, 8000, SOCKETS_LISTEN), 1);
	fclose(file);
}

/* ---- what the kernel says about rules ---- */

struct message {
	struct nlmsghdr head;
	struct nfgenmsg family;
	struct nlattr attribute;
	char text[32];
};

static struct message message_of(uint16_t type, uint16_t attribute, const char *text)
{
	struct message message = {
	    .head = {.nlmsg_len = sizeof(message),
	             .nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type)},
	    .attribute = {.nla_type = attribute,
	                  .nla_len = sizeof(struct nlattr) + sizeof(message.text)}};

	str_cut(message.text, sizeof(message.text), text);
	return message;
}

static bool told(struct rules *rules, const char *table, const char *program)
{
	struct message messages[] = {message_of(NFT_MSG_DELTABLE, NFTA_TABLE_NAME, table),
	                             message_of(NFT_MSG_NEWGEN, NFTA_GEN_PROC_NAME, program)};

	return rules_take(rules, messages, sizeof(messages));
}

static void foreign_changes_of_our_table_are_noticed(void **state)
{
	struct rules rules = {.table = "covey_x", .worker = "covey-worker-tr"};
	struct message first = message_of(NFT_MSG_DELRULE, NFTA_RULE_TABLE, "covey_x");
	struct message end = message_of(NFT_MSG_NEWGEN, NFTA_GEN_PROC_NAME, "nft");

	(void)state;
	assert_true(told(&rules, "covey_x", "nft"));
	assert_false(told(&rules, "covey_x", "covey-worker-tr")); /* our own */
	assert_false(told(&rules, "filter", "nft"));              /* not ours */
	assert_false(told(&rules, "covey_xy", "nft"));
	/* a transaction in two packets */
	assert_false(rules_take(&rules, &first, sizeof(first)));
	assert_true(rules_take(&rules, &end, sizeof(end)));
	assert_false(rules_take(&rules, &end, sizeof(end)));
}

static void lengths_of_the_kernel_are_not_believed(void **state)
{
	struct rules rules = {.table = "covey_x", .worker = "covey-worker-tr"};
	struct message messages[4];
	struct rng rng = {.state = 7};

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t *copy = mem_alloc(sizeof(messages));
		size_t size = rng_below(&rng, sizeof(messages) + 1);
		uint8_t *exact = mem_alloc(size ? size : 1);

		for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
			messages[i] =
			    message_of(i % 2 ? NFT_MSG_NEWGEN : NFT_MSG_DELTABLE,
			               i % 2 ? NFTA_GEN_PROC_NAME : NFTA_TABLE_NAME, "covey_x");
		memcpy(copy, messages, sizeof(messages));
		for (int i = 0; i < 4; i++)
			copy[rng_below(&rng, sizeof(messages))] = (uint8_t)rng_next(&rng);
		memcpy(exact, copy, size); /* so that a sanitizer sees one byte too many */
		if (rules_take(&rules, exact, size))
			rules.touched = false;
		free(exact);
		free(copy);
	}
}

static void the_wire_is_planned_for_both_ends(void **state)
{
	struct agent_config config;
	AUTO_STR struct str node = {0}, slot = {0};
	struct slotnet net;

	(void)state;
	config_defaults(&config);
	slotnet_plan(&config, 5, false, &net);
	net.ipv6 = false;
	slotnet_node_batch(&net, 4711, &node);
	slotnet_slot_batch(&net, &slot);
	assert_non_null(strstr(node.data, "peer name eth0 netns 4711\n"));
	assert_non_null(strstr(node.data, "addr add 10.213.0.21/30"));
	assert_non_null(strstr(slot.data, "addr add 10.213.0.22/30 dev eth0"));
	assert_non_null(strstr(slot.data, "route add default via 10.213.0.21\n"));
	assert_null(strstr(node.data, "fd"));
	net.ipv6 = true;
	slotnet_slot_batch(&net, &slot);
	assert_non_null(strstr(slot.data, "nodad"));
}

/* ---- records of slots ---- */

#define HEX16 "0123456789abcdef"
#define RELEASE "release=" HEX16 HEX16 HEX16 HEX16 "\n"
#define REST "port=8000\ncontainer=1 2\nsupervisor=3 4\nend=\n"

/* What record_read() says to this text behind the line with the boot id. */
static int read_record(const char *text, struct record *ret_record)
{
	char folder[] = "/tmp/covey-record-XXXXXX", path[PATHS_MAX], boot[40];
	AUTO_FREE char *whole = NULL;
	struct agent_config config;
	struct slot_name slot;
	int r;

	config_defaults(&config);
	assert_non_null(mkdtemp(folder));
	STR_CUT(config.run_dir, folder);
	record_boot_id(boot);
	whole = mem_format("boot=%s\n%s", boot, text);
	assert_int_equal(paths_slot("a", COLOUR_BLUE, &slot, NULL), 0);
	assert_int_equal(paths_make(paths_slot_run(&config, &slot, path, ""), 0700, NULL), 0);
	assert_int_equal(paths_write(paths_slot_run(&config, &slot, path, "/record"), whole,
	                             strlen(whole), 0600, NULL),
	                 0);
	r = record_read(&config, &slot, ret_record, NULL);
	assert_int_equal(paths_remove(folder, NULL), 0);
	return r;
}

static void records_are_whole_and_make_sense(void **state)
{
	static const char *const bad[] = {
	    RELEASE "address=10.0.0.2\nport=8000\ncontainer=1 2\n", /* half a file */
	    RELEASE "address=10.0.0.2 drop\n" REST,
	    RELEASE "address=10.0.0\n" REST,
	    RELEASE "address=10.0.0.2\naddress6=10.0.0.2\n" REST,
	    RELEASE REST, /* neither an address nor the host's */
	    RELEASE "host=1\nport=0\nend=\n",
	    RELEASE "host=1\ncolour=1\n" REST,
	    "release=01\nhost=1\n" REST,
	    RELEASE "host=1\nport=70000\nend=\n",
	    RELEASE "host=1\ncontainer=-1 2\n" REST,
	    RELEASE "host=1\nnonsense\n" REST,
	};
	struct record record;

	(void)state;
	assert_int_equal(read_record(RELEASE "address=10.0.0.2\naddress6=fd00::2\n" REST, &record),
	                 0);
	assert_string_equal(record.deployment, "a");
	assert_string_equal(record.address, "10.0.0.2");
	assert_int_equal(record.port, 8000);
	assert_int_equal(record.supervisor.started, 4);
	assert_int_equal(read_record(RELEASE "host=1\n" REST, &record), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(read_record(bad[i], &record), -EBADMSG);
	assert_int_equal(read_record("boot=yesterday\nhost=1\n" RELEASE REST, &record), -ESTALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(requests_of_one_slot_keep_their_order),
	    cmocka_unit_test(a_start_waits_for_the_rules),
	    cmocka_unit_test(the_queue_is_bounded),
	    cmocka_unit_test(slots_have_names_and_come_back),
	    cmocka_unit_test(addresses_lie_in_the_subnet),
	    cmocka_unit_test(the_transaction_holds_every_route),
	    cmocka_unit_test(entries_are_taken_apart),
	    cmocka_unit_test(tails_are_whole_lines),
	    cmocka_unit_test(long_logs_are_read_from_their_end),
	    cmocka_unit_test(sockets_are_counted_by_port_and_state),
	    cmocka_unit_test(foreign_changes_of_our_table_are_noticed),
	    cmocka_unit_test(lengths_of_the_kernel_are_not_believed),
	    cmocka_unit_test(the_wire_is_planned_for_both_ends),
	    cmocka_unit_test(records_are_whole_and_make_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
