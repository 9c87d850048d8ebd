/* SPDX-License-Identifier: Apache-2.0 */
/* Following under bad conditions: Ctrl-C, a coordinator that restarts or stays away, a terminal
 * with a person at it. */
#include "fake.h"

#include "base/clock.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>

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

	if (p->fake)
		fake_stop(p->fake);
	free(p->env);
	free(p->yaml);
	remove_folder(p->folder);
	free(p);
	return 0;
}

#define STATE(state)                                                                             \
	"{\"id\": \"0123456789abcdef\", \"deployment\": \"ocr\", \"from\": \"ocr@1\", \"to\": "  \
	"\"ocr@2\","                                                                             \
	" \"state\": \"" state "\", \"stages\": [{\"name\": \"canary\", \"state\": \"running\"," \
	" \"nodes\": [\"n1\"]}], \"nodes\": [{\"node\": \"n1\", \"stage\": 0, \"state\": "       \
	"\"baking\"}],"                                                                          \
	" \"gates\": [], \"text\": \"bakes\", \"evidence\": \"none\"}"

static const char *const going_on[] = {STATE("canary")};
static const char *const completed[] = {STATE("completed")};

static void wait_for_polls(struct fake *fake, unsigned count)
{
	for (int i = 0; i < 500 && fake_count(fake, "rollout.show") < count; i++)
		usleep(10000);
	assert_true(fake_count(fake, "rollout.show") >= count);
}

/* spec: CLI-5 */
static void test_interrupt_detaches(void **state)
{
	struct place *p = *state;
	struct running running;
	struct ran ran;

	fake_hold(p->fake, true); /* no change: the second answer does not come */
	fake_script(p->fake, going_on, 1);
	running = start_covey(p->folder, p->env, -1, "rollout watch 01");
	wait_for_polls(p->fake, 2);
	usleep(50000);
	kill(running.pid, SIGINT);
	ran = finish_covey(&running);
	assert_ran(ran, 0, "watch it again with `covey rollout watch 01`");
	assert_non_null(strstr(ran.out, "node n1: baking"));
	ran_free(&ran);
}

static void test_coordinator_restarts(void **state)
{
	struct place *p = *state;
	struct running running;
	struct ran ran;

	fake_script(p->fake, going_on, 1);
	running = start_covey(p->folder, p->env, -1, "rollout watch 01");
	wait_for_polls(p->fake, 2); /* the first answer is there */
	fake_stop(p->fake);
	usleep(300000);
	p->fake = fake_start(&(struct fake_setup){.folder = p->folder});
	fake_script(p->fake, completed, 1);
	ran = finish_covey(&running);
	assert_ran(ran, 0, "the coordinator does not answer; trying again");
	assert_non_null(
	    strstr(ran.out, "rollout 0123456789ab: completed: bakes; evidence: none\n"));
	ran_free(&ran);
}

static void test_coordinator_stays_away(void **state)
{
	struct place *p = *state;
	struct running running;
	struct ran ran;
	uint64_t start;

	fake_script(p->fake, going_on, 1);
	running = start_covey(p->folder, p->env, -1, "rollout watch 01 --timeout 2s");
	wait_for_polls(p->fake, 2); /* the first answer is there */
	fake_stop(p->fake);
	p->fake = NULL;
	ran = finish_covey(&running);
	assert_ran(ran, 6, "did not end within --timeout");
	ran_free(&ran);
	p->fake = fake_start(&(struct fake_setup){.folder = p->folder});
	fake_script(p->fake, going_on, 1);
	fake_hold(p->fake, true); /* it is there, but says nothing more */
	start = clock_mono_ms();
	ran = run_covey(p->folder, p->env, "rollout watch 01 --timeout 1s");
	assert_int_equal(ran.code, 6);
	assert_true(clock_mono_ms() < start + 8000);
	ran_free(&ran);
	fake_stop(p->fake);
	p->fake = NULL;
	ran = run_covey(p->folder, p->env, "rollout watch 01"); /* never was there: at once */
	assert_ran(ran, 7, "is covey-coordinator running");
	ran_free(&ran);
}

/* ---- a terminal ---- */

struct screen {
	int master, slave;
	struct str text;
};

static struct screen open_screen(void)
{
	struct winsize size = {.ws_col = 80, .ws_row = 24};
	struct screen screen = {0};

	assert_int_equal(openpty(&screen.master, &screen.slave, NULL, NULL, &size), 0);
	return screen;
}

/* Reads what the terminal shows until text is there, for five seconds. */
static void expect(struct screen *screen, const char *text)
{
	uint64_t end = clock_mono_ms() + 5000;

	while (!strstr(str_get(&screen->text), text)) {
		struct pollfd poll_fd = {.fd = screen->master, .events = POLLIN};
		char buffer[1024];
		ssize_t n;

		if (clock_mono_ms() > end)
			fail_msg("`%s` is not in: %s", text, str_get(&screen->text));
		if (poll(&poll_fd, 1, 100) <= 0)
			continue;
		n = read(screen->master, buffer, sizeof(buffer));
		if (n > 0)
			str_add_bytes(&screen->text, buffer, (size_t)n);
	}
}

static void close_screen(struct screen *screen)
{
	close(screen->master);
	close(screen->slave);
	str_free(&screen->text);
}

/* spec: CLI-6 */
static void test_live_tree(void **state)
{
	static const char *const states[] = {STATE("canary"), STATE("widening"),
	                                     STATE("completed")};
	struct place *p = *state;
	struct screen screen = open_screen();
	struct running running;
	struct ran ran;

	fake_script(p->fake, states, 3);
	running = start_covey(p->folder, p->env, screen.slave, "rollout watch 01");
	expect(&screen, "\033[32mcompleted");
	expect(&screen, "\033[4A\r\033[J");
	assert_non_null(strstr(screen.text.data, "stage 1 canary"));
	ran = finish_covey(&running);
	assert_int_equal(ran.code, 0);
	ran_free(&ran);
	close_screen(&screen);
}

/* spec: CLI-6 */
static void test_no_color(void **state)
{
	struct place *p = *state;
	struct screen screen = open_screen();
	struct running running;
	struct ran ran;

	fake_script(p->fake, completed, 1);
	running = start_covey(p->folder, "NO_COLOR=1", screen.slave,
	                      "rollout watch 01 --coordinator ipc://%s/socket", p->folder);
	expect(&screen, "completed");
	ran = finish_covey(&running);
	assert_int_equal(ran.code, 0);
	assert_null(strchr(screen.text.data, '\033'));
	ran_free(&ran);
	close_screen(&screen);
}

static void answer_question(struct place *p, const char *answer, int code)
{
	struct screen screen = open_screen();
	struct running running;
	struct ran ran;

	running = start_covey(p->folder, p->env, screen.slave, "apply -f %s", p->yaml);
	expect(&screen, "start this rollout? [y/N] ");
	assert_int_equal(write(screen.master, answer, strlen(answer)), strlen(answer));
	ran = finish_covey(&running);
	assert_int_equal(ran.code, code);
	ran_free(&ran);
	close_screen(&screen);
}

static void test_question(void **state)
{
	struct place *p = *state;

	fake_answer(p->fake, "plan", 0,
	            "{\"deployment\": \"ocr\", \"to\": \"ocr@2\", \"changed\": true}");
	fake_answer(p->fake, "apply", 0, "{\"rollout\": \"0123456789abcdef\", \"changed\": true}");
	fake_script(p->fake, completed, 1);
	answer_question(p, "n\n", 1);
	answer_question(p, "\n", 1);
	assert_int_equal(fake_count(p->fake, "apply"), 0);
	answer_question(p, "y\n", 0);
	assert_int_equal(fake_count(p->fake, "apply"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_interrupt_detaches, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_coordinator_restarts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_coordinator_stays_away, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_live_tree, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_no_color, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_question, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
