/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs, following and exit codes: the real program against a coordinator's answers. */
#include "fake.h"

#include "coordinator/cli/config.h"
#include "protocol/codec_tables.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

struct place {
	char *folder, *env, *yaml;
	struct fake *fake;
};

static int setup(void **state)
{
	struct place *p = mem_alloc(sizeof(*p));

	p->folder = temp_folder();
	p->env = mem_format("COVEY_COORDINATOR=ipc://%s/socket", p->folder);
	p->yaml = mem_format("%s/d.yaml", p->folder);
	write_textf(p->yaml, "deployment: ocr\nrelease: ocr@2\nnodes: all\n");
	p->fake = fake_start(&(struct fake_setup){.folder = p->folder});
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	fake_stop(p->fake);
	free(p->env);
	free(p->yaml);
	remove_folder(p->folder);
	free(p);
	return 0;
}

#define RUN(p, ...) run_covey((p)->folder, (p)->env, __VA_ARGS__)

/* ---- usage ---- */

static void test_usage(void **state)
{
	static const struct {
		const char *arguments, *said;
	} cases[] = {
	    {"nod", "there is no verb `nod`"},
	    {"node", "`covey node` needs one more word: `covey node ls`"},
	    {"node ls extra", "covey node ls does not take `extra`"},
	    {"node show", "covey node show needs more arguments; write `covey node show NODE`"},
	    {"node ls --detach", "covey node ls: there is no option --detach"},
	    {"--frob node ls", "there is no option --frob"},
	    {"node ls -o xml", "-o does not take `xml`"},
	    {"node ls -l =x", "--selector `=x`: character 1"},
	    {"token create --label nolabel", "`nolabel` is not a label; write KEY=VALUE"},
	    {"token create --uses 0", "lets nobody join"},
	    {"plan", "write -f deployment.yaml"},
	    {"node ls --coordinator http://x", "--coordinator does not take `http://x`"},
	};
	struct place *p = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ran ran = RUN(p, "%s", cases[i].arguments);

		assert_ran(ran, 2, cases[i].said);
		assert_string_equal(ran.out, "");
		assert_null(strchr(strchr(ran.err, '\n') + 1, '\n')); /* one sentence */
		ran_free(&ran);
	}
}

static void test_help(void **state)
{
	struct place *p = *state;
	struct ran ran = RUN(p, "help");

	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "rollout promote ROLLOUT"));
	ran_free(&ran);
	ran = RUN(p, "rollout promote --help");
	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "--full"));
	ran_free(&ran);
	ran = run_covey(p->folder, NULL, "--help");
	assert_ran(ran, 0, NULL);
	ran_free(&ran);
}

/* ---- simple verbs ---- */

static void test_list(void **state)
{
	struct place *p = *state;
	struct ran ran;
	json_t *body, *json;

	fake_answer(
	    p->fake, "node.ls", 0,
	    "[{\"name\": \"n1\\u001b[31m\", \"id\": \"00\", \"labels\": {\"site\": \"lyon\"},"
	    " \"state\": \"online\", \"slots\": [{\"deployment\": \"ocr\", \"colour\": \"blue\","
	    " \"release\": \"ocr@1\", \"state\": \"serving\"}]}]");
	ran = RUN(p, "node ls -l site=lyon");
	assert_ran(ran, 0, NULL);
	assert_null(strchr(ran.out, '\033'));
	assert_non_null(strstr(ran.out, "n1\\x1b[31m"));
	assert_non_null(strstr(ran.out, "ocr/blue ocr@1 serving"));
	ran_free(&ran);
	body = fake_last(p->fake, "node.ls");
	assert_string_equal(json_string_value(json_object_get(body, "selector")), "site=lyon");
	json_decref(body);
	ran = RUN(p, "-o json node ls");
	assert_ran(ran, 0, NULL);
	json = json_loads(ran.out, 0, NULL);
	assert_int_equal(json_array_size(json), 1);
	json_decref(json);
	ran_free(&ran);
	fake_answer(p->fake, "node.ls", 0, "[]");
	ran = RUN(p, "node ls");
	assert_string_equal(ran.out, "no node has joined; `covey token create` lets one in\n");
	ran_free(&ran);
}

static void test_token(void **state)
{
	struct place *p = *state;
	struct ran ran;
	json_t *body;

	fake_answer(p->fake, "token.create", 0, "{\"id\": \"aa\", \"join\": \"covey1:h:1\"}");
	ran = RUN(p, "token create --label site=a --label hw=x --ttl 2h --uses 10 --approval");
	assert_ran(ran, 0, NULL);
	assert_string_equal(ran.out, "covey1:h:1\n"); /* nothing else: it is piped */
	ran_free(&ran);
	body = fake_last(p->fake, "token.create");
	assert_int_equal(json_integer_value(json_object_get(body, "ttl_ms")), 7200000);
	assert_int_equal(json_integer_value(json_object_get(body, "uses")), 10);
	assert_true(json_is_true(json_object_get(body, "approval")));
	assert_string_equal(
	    json_string_value(json_object_get(json_object_get(body, "labels"), "hw")), "x");
	json_decref(body);
}

static void test_bodies(void **state)
{
	static const struct {
		const char *arguments, *verb, *body;
	} cases[] = {
	    {"node label n1 a=b c-", "node.label",
	     "{\"node\":\"n1\",\"remove\":[\"c\"],\"set\":{\"a\":\"b\"}}"},
	    {"node cordon n1", "node.cordon", "{\"node\":\"n1\"}"},
	    {"node revoke -y n1", "node.revoke", "{\"node\":\"n1\"}"},
	    {"token rm aa", "token.rm", "{\"id\":\"aa\"}"},
	    {"release ls ocr", "release.ls", "{\"model\":\"ocr\"}"},
	    {"release rm -y ocr@1", "release.rm", "{\"release\":\"ocr@1\"}"},
	    {"rollout ls ocr", "rollout.ls", "{\"deployment\":\"ocr\"}"},
	    {"rollout promote 12 --full", "rollout.promote", "{\"full\":true,\"rollout\":\"12\"}"},
	    {"rollout retry 12 n1", "rollout.retry", "{\"node\":\"n1\",\"rollout\":\"12\"}"},
	    {"deployment rm ocr -y", "deployment.rm", "{\"deployment\":\"ocr\"}"},
	    {"deployment history ocr", "deployment.history", "{\"deployment\":\"ocr\"}"},
	    {"logs n1 ocr --lines 7", "logs",
	     "{\"deployment\":\"ocr\",\"lines\":7,\"node\":\"n1\"}"},
	    {"events --lines 5", "events", "{\"limit\":5}"},
	    {"freeze", "freeze", "{}"},
	    {"status", "status", "{}"},
	};
	struct place *p = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = NULL;
		struct ran ran;
		json_t *body;

		fake_answer(p->fake, cases[i].verb, 0, "{}");
		ran = RUN(p, "%s", cases[i].arguments);
		assert_ran(ran, 0, NULL);
		ran_free(&ran);
		body = fake_last(p->fake, cases[i].verb);
		text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
		assert_string_equal(text, cases[i].body);
		json_decref(body);
	}
}

static void start_apply(struct place *p)
{
	fake_answer(
	    p->fake, "plan", 0,
	    "{\"deployment\": \"ocr\", \"from\": \"ocr@1\", \"to\": \"ocr@2\", \"changed\": true,"
	    " \"stages\": [{\"index\": 0, \"name\": \"canary\", \"nodes\": [\"n1\"],"
	    " \"bake_ms\": 300000}], \"removed\": [], \"excluded\": [{\"node\": \"n9\","
	    " \"why\": \"too small\"}], \"bytes_total\": 2048, \"nodes\": [{\"node\": \"n1\","
	    " \"bytes\": 2048, \"disk_bytes\": 4096}]}");
	fake_answer(
	    p->fake, "apply", 0,
	    "{\"rollout\": \"0123456789abcdef\", \"deployment\": \"ocr\", \"changed\": true}");
}

static void test_refused_by_coordinator(void **state)
{
	struct place *p = *state;
	struct ran ran;

	fake_answer(p->fake, "rollout.pause", 1, "rollout 12 has ended\033[31m: it is completed");
	ran = RUN(p, "rollout pause 12");
	assert_ran(ran, 1, "covey: rollout 12 has ended\\x1b[31m: it is completed\n");
	ran_free(&ran);
	fake_answer(p->fake, "rollout.pause", 2, "`12` names two rollouts");
	ran = RUN(p, "rollout pause 12");
	assert_ran(ran, 2, "names two rollouts");
	ran_free(&ran);
	fake_answer(p->fake, "rollout.pause", 99, "what");
	ran = RUN(p, "rollout pause 12");
	assert_ran(ran, 1, "answered with code 99");
	ran_free(&ran);
	fake_answer(p->fake, "rollout.show", 256, "an exit code that would wrap to 0");
	ran = RUN(p, "rollout watch 12");
	assert_ran(ran, 1, "answered with code 256");
	ran_free(&ran);
	start_apply(p);
	fake_answer(p->fake, "apply", 0,
	            "{\"rollout\": \"\\u001b]0;x\\u0007\", \"changed\": true}");
	ran = RUN(p, "apply --detach -f %s", p->yaml);
	assert_ran(ran, 0, NULL);
	assert_null(strchr(ran.out, '\033'));
	ran_free(&ran);
}

/* ---- following ---- */

#define STATE(state)                                                                            \
	"{\"id\": \"0123456789abcdef\", \"deployment\": \"ocr\", \"from\": \"ocr@1\", \"to\": " \
	"\"ocr@2\","                                                                            \
	" \"state\": \"" state "\", \"stages\": [], \"nodes\": [], \"gates\": [],"              \
	" \"reason\": {\"phase\": \"bake\", \"node\": \"n1\", \"text\": \"it fell over\"}}"

/* spec: CLI-1 */
static void test_apply_exit_codes(void **state)
{
	static const char *const completed[] = {STATE("staging"), STATE("canary"),
	                                        STATE("completed")};
	static const char *const rolled_back[] = {STATE("canary"), STATE("rolling_back"),
	                                          STATE("rolled_back")};
	static const char *const aborted[] = {STATE("aborted")};
	static const char *const paused[] = {STATE("canary"), STATE("paused")};
	static const char *const stuck[] = {STATE("stuck")};
	static const struct {
		const char *const *states;
		size_t count;
		int code;
		const char *said;
	} cases[] = {
	    {completed, 3, 0, NULL},
	    {rolled_back, 3, 3,
	     "rollout 0123456789ab of ocr (n1: bake: it fell over) was rolled back "
	     "to ocr@1"},
	    {aborted, 1, 4, "was aborted by an operator"},
	    {paused, 2, 5, "is paused and waits for a person"},
	    {stuck, 1, 5, "is stuck and waits for a person"},
	};
	struct place *p = *state;

	start_apply(p);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ran ran;
		json_t *json;

		fake_script(p->fake, cases[i].states, cases[i].count);
		ran = RUN(p, "apply -f %s", p->yaml);
		assert_ran(ran, cases[i].code, cases[i].said);
		assert_non_null(strstr(ran.out, "stage 1 canary: 1 node, bake 5m: n1"));
		assert_non_null(strstr(ran.out, "left out: n9: too small"));
		assert_null(strchr(ran.out, '\033'));
		ran_free(&ran);
		fake_script(p->fake, cases[i].states, cases[i].count);
		ran = RUN(p, "apply -f %s -o json", p->yaml);
		assert_int_equal(ran.code, cases[i].code);
		json = json_loads(ran.out, 0, NULL); /* one object, nothing else */
		assert_non_null(json);
		assert_string_equal(json_string_value(json_object_get(json, "deployment")), "ocr");
		json_decref(json);
		ran_free(&ran);
	}
}

/* spec: CLI-1 */
static void test_apply_detach_and_timeout(void **state)
{
	static const char *const going_on[] = {STATE("canary")};
	struct place *p = *state;
	struct ran ran;

	start_apply(p);
	fake_script(p->fake, going_on, 1);
	ran = RUN(p, "apply -y --detach -f %s", p->yaml);
	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "covey rollout watch 0123456789ab"));
	ran_free(&ran);
	assert_int_equal(fake_count(p->fake, "rollout.show"), 0);
	ran = RUN(p, "apply -f %s --timeout 300ms", p->yaml);
	assert_ran(ran, 6, "did not end within --timeout; it goes on");
	ran_free(&ran);
}

#define PLAN(bytes, time)                                                                       \
	"{\"deployment\": \"ocr\", \"from\": \"ocr@1\", \"to\": \"ocr@2\", \"changed\": true,"   \
	" \"stages\": [], \"bytes_total\": " #bytes ", \"chunk_bytes_total\": 4096,"            \
	" \"origin_bytes\": 1024, \"nodes\": [{\"node\": \"n1\", \"bytes\": 2048},"            \
	" {\"node\": \"n2\", \"bytes\": 1024}], \"time\": " time "}"

static void test_plan_says_bytes_and_time(void **state)
{
	static const struct {
		const char *plan, *rates, *says;
	} cases[] = {
	    {PLAN(3072, "{\"exchange_ms\": 2000, \"alone_ms\": 3000, \"origin_rate\": 1024,"
	                " \"rates_unknown\": 0}"),
	     "--rate 1KiB", "time at 1.0 KiB/s a link: 2s where nodes exchange, 3s from the "
	     "coordinator alone\n"},
	    {PLAN(3072, "{\"exchange_ms\": 2000, \"alone_ms\": 1500, \"origin_rate\": 2048,"
	                " \"rates_unknown\": 0}"),
	     "--rate 1KiB --origin-rate 2KiB", "time at 1.0 KiB/s a link, 2.0 KiB/s of the "
	     "coordinator's: 2s where"},
	    {PLAN(3072, "{\"exchange_ms\": 7000, \"alone_ms\": null, \"origin_rate\": 0,"
	                " \"rates_unknown\": 1}"),
	     "", "time at the rates that nodes had last: at least 7s, for the slowest of them (the "
	     "rates of 1 are not known)\n"},
	    {PLAN(3072, "{\"exchange_ms\": null, \"alone_ms\": null, \"origin_rate\": 0,"
	                " \"rates_unknown\": 2}"),
	     "", "time: not known before nodes have fetched for some seconds; --rate says"},
	};
	struct place *p = *state;
	struct ran ran;
	json_t *body;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_answer(p->fake, "plan", 0, cases[i].plan);
		ran = RUN(p, "plan -f %s %s", p->yaml, cases[i].rates);
		assert_ran(ran, 0, NULL);
		assert_non_null(strstr(ran.out, "to move: 3.0 KiB (1.0 KiB leave the coordinator, "
		                                "deltas save 1.0 KiB)"));
		assert_non_null(strstr(ran.out, "2.0 KiB to n1\n    1.0 KiB to n2\n"));
		if (!strstr(ran.out, cases[i].says))
			fail_msg("%s\nis not in:\n%s", cases[i].says, ran.out);
		ran_free(&ran);
	}
	ran = RUN(p, "plan -f %s --rate 8kbit --origin-rate 16kbit", p->yaml);
	ran_free(&ran);
	body = fake_last(p->fake, "plan");
	assert_int_equal(json_integer_value(json_object_get(body, "rate")), 1000);
	assert_int_equal(json_integer_value(json_object_get(body, "origin_rate")), 2000);
	json_decref(body);
	fake_answer(p->fake, "plan", 0, PLAN(0, "{}"));
	ran = RUN(p, "plan -f %s", p->yaml);
	assert_null(strstr(ran.out, "time"));
	ran_free(&ran);
}

static void test_apply_of_nothing(void **state)
{
	struct place *p = *state;
	struct ran ran;

	fake_answer(p->fake, "plan", 0,
	            "{\"deployment\": \"ocr\", \"from\": \"ocr@2\", \"to\": \"ocr@2\", "
	            "\"changed\": false}");
	fake_answer(p->fake, "apply", 0,
	            "{\"rollout\": null, \"deployment\": \"ocr\", \"changed\": false}");
	ran = RUN(p, "apply -f %s", p->yaml);
	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "nothing changes"));
	ran_free(&ran);
	assert_int_equal(fake_count(p->fake, "rollout.show"), 0);
}

static void test_apply_refused(void **state)
{
	struct place *p = *state;
	struct ran ran;
	json_t *body;

	start_apply(p);
	fake_answer(p->fake, "apply", 1,
	            "rollout 77 of ocr is under way; wait, or add --supersede");
	ran = RUN(p, "apply -f %s --allow-removal", p->yaml);
	assert_ran(ran, 1, "add --supersede");
	ran_free(&ran);
	body = fake_last(p->fake, "apply");
	assert_true(json_is_false(json_object_get(body, "supersede")));
	assert_true(json_is_true(json_object_get(body, "allow_removal")));
	json_decref(body);
	write_textf(p->yaml, "deployment: ocr\nrelease: ocr@2\nnodes: all\nspeed: 1\n");
	ran = RUN(p, "apply -f %s", p->yaml);
	assert_ran(ran, 2, "d.yaml:4: speed");
	ran_free(&ran);
	assert_int_equal(fake_count(p->fake, "apply"), 1); /* nothing was asked with a bad file */
}

/* spec: CLI-4 */
static void test_watch_streams_json(void **state)
{
	static const char *const states[] = {STATE("canary"), STATE("widening"),
	                                     STATE("completed")};
	struct place *p = *state;
	struct ran ran;
	size_t lines = 0;

	fake_script(p->fake, states, 3);
	ran = RUN(p, "rollout watch 01 -o json");
	assert_ran(ran, 0, NULL);
	for (char *line = strtok(ran.out, "\n"); line; line = strtok(NULL, "\n"), lines++) {
		json_t *json = json_loads(line, 0, NULL);

		assert_non_null(json);
		json_decref(json);
	}
	assert_int_equal(lines, 3);
	ran_free(&ran);
	fake_answer(p->fake, "rollout.show", 1, "there is no rollout ff");
	ran = RUN(p, "rollout watch ff");
	assert_ran(ran, 1, "there is no rollout ff");
	ran_free(&ran);
}

static void test_undo_follows(void **state)
{
	static const char *const states[] = {STATE("canary"), STATE("rolled_back")};
	struct place *p = *state;
	struct ran ran;

	fake_answer(p->fake, "rollout.undo", 0, "{\"rollout\": \"fedcba9876543210\"}");
	fake_script(p->fake, states, 2);
	ran = RUN(p, "rollout undo 01 -y");
	assert_ran(ran, 3, "was rolled back");
	ran_free(&ran);
	ran = RUN(p, "rollout undo 01 -y --detach");
	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "rollout fedcba987654 has begun"));
	ran_free(&ran);
}

/* The last lines of a failed node's container are shown, and harmless. */
static void test_show_logs(void **state)
{
	static const char *const states[] = {
	    "{\"id\": \"01\", \"deployment\": \"ocr\", \"from\": null, \"to\": \"ocr@2\", "
	    "\"state\":"
	    " \"rolled_back\", \"stages\": [], \"nodes\": [{\"node\": \"n1\", \"stage\": 0, "
	    "\"state\":"
	    " \"rolled_back\", \"reason\": {\"phase\": \"start\", \"check\": \"exited\", \"text\": "
	    "\"code 1\","
	    " \"log\": \"one\\ntwo\\u001b[2J\"}}], \"gates\": []}"};
	struct place *p = *state;
	struct ran ran;

	fake_script(p->fake, states, 1);
	ran = RUN(p, "rollout show 01");
	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "last lines on n1:\none\ntwo\\x1b[2J\n"));
	ran_free(&ran);
}

/* ---- connections ---- */

/* spec: CLI-1 */
static void test_not_reachable(void **state)
{
	struct place *p = *state;
	struct ran ran =
	    run_covey(p->folder, NULL, "node ls --coordinator ipc://%s/none", p->folder);

	assert_ran(ran, 7, "is covey-coordinator running");
	ran_free(&ran);
	ran = run_covey(p->folder, NULL, "node ls --coordinator tcp://127.0.0.1:1");
	assert_ran(ran, 2, "fleet.conf is missing");
	ran_free(&ran);
	fake_mute_after_puts(p->fake, 0);
	write_textf(p->yaml, "[fleet]\nendpoint = tcp://h:1\nserver_key = zz\n");
	rename(p->yaml, strcat(strcpy((char[256]){0}, p->folder), "/fleet.conf"));
	ran = RUN(p, "node ls");
	assert_ran(ran, 2, "fleet.conf:3: ");
	ran_free(&ran);
	write_textf(p->yaml, "[fleet]\nendpoint = ;h:1\n");
	rename(p->yaml, strcat(strcpy((char[256]){0}, p->folder), "/fleet.conf"));
	ran = RUN(p, "node ls");
	assert_ran(ran, 2, "fleet.conf:2: ");
	ran_free(&ran);
}

static int free_port(void)
{
	for (;;) {
		struct sockaddr_in address = {.sin_family = AF_INET,
		                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t size = sizeof(address);
		int fd = socket(AF_INET, SOCK_STREAM, 0), port;

		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
		close(fd);
		port = ntohs(address.sin_port);
		if (port > 2000 && port < 65000)
			return port - PORT_OFFSET_OPERATORS;
	}
}

/* Over TCP both keys count, and each wrong one has its own sentence and exit code 7. */
static void test_curve(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *home = mem_format("%s/home", p->folder);
	AUTO_FREE char *other = mem_format("%s/other", p->folder);
	AUTO_FREE char *link_path = mem_format("%s/s/link.key", p->folder);
	AUTO_FREE char *operator_path = mem_format("%s/operator.key", home);
	AUTO_FREE char *mix = mem_format("cp %s/fleet.conf %s/fleet.conf", home, other);
	struct fake_setup curve = {.curve = true, .base_port = free_port()};
	struct link_key op = {0};
	struct fake *fake;
	struct ran ran;

	ran = run_covey(home, NULL, "init --dir %s/s --endpoint tcp://127.0.0.1:%d", p->folder,
	                curve.base_port);
	assert_ran(ran, 0, NULL);
	ran_free(&ran);
	ran = run_covey(other, NULL, "init --dir %s/s2 --endpoint tcp://127.0.0.1:%d", p->folder,
	                curve.base_port);
	assert_ran(ran, 0, NULL);
	ran_free(&ran);
	assert_int_equal(keyfile_load_link(link_path, &curve.server, NULL), 0);
	assert_int_equal(keyfile_load_link(operator_path, &op, NULL), 0);
	curve.admitted = op.public_key;
	fake = fake_start(&curve);
	fake_answer(fake, "node.ls", 0, "[]");
	ran = run_covey(home, NULL, "node ls -o json"); /* the place is fleet.conf's */
	assert_ran(ran, 0, NULL);
	assert_string_equal(ran.out, "[]\n");
	ran_free(&ran);
	ran = run_covey(other, NULL, "node ls --timeout 5s"); /* expects another server key */
	assert_ran(ran, 7, "compare server_key in");
	ran_free(&ran);
	assert_int_equal(system(mix), 0);
	ran = run_covey(other, NULL, "node ls --timeout 5s"); /* a key that nobody knows */
	assert_ran(ran, 7, "ask its administrator for the line `operator ");
	ran_free(&ran);
	assert_int_equal(fake_count(fake, "node.ls"), 1);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_help, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_list, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_token, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refused_by_coordinator, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_apply_exit_codes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_apply_detach_and_timeout, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_apply_of_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_plan_says_bytes_and_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_apply_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_watch_streams_json, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_undo_follows, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_show_logs, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_not_reachable, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_curve, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
