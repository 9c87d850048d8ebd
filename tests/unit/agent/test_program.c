/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program itself: `covey-agent join` against a coordinator's enrolment port, then the service
 * with real links, a real chunk store, real probes and smoke tests, from desired state to a
 * committed release. Coordinator and helper are played by this test, over loopback. At the end the
 * idle agent is measured: memory, wake-ups, writes.
 */
#include "site.h"

#include "agent/joined.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *agent_path;

/* ---- running the program ---- */

static pid_t spawn(struct site *site, const char *verb, const char *const *more, int input,
		   const char *output)
{
	const char *argv[16] = {agent_path, "--config", site->config, verb};
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(output, O_WRONLY | O_CREAT | O_APPEND, 0600);

		for (size_t i = 4; more && *more; i++)
			argv[i] = *more++;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (input >= 0)
			dup2(input, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(agent_path, (char *const *)argv);
		_exit(127);
	}
	return pid;
}

static void turn(struct site *site, uint64_t ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		sd_event_run(site->event, 10000);
}

/* Runs the program to its end while coordinator and helper go on; its exit code. */
static int run(struct site *site, const char *verb, const char *const *more, const char *input,
	       char output[4096])
{
	AUTO_FREE char *path = mem_format("%s/output", site->node.dir);
	AUTO_CLOSE int in = -1, out = -1;
	int status, fds[2];
	ssize_t n;
	pid_t pid;

	unlink(path);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	in = fds[0];
	assert_int_equal(write(fds[1], input, strlen(input)), strlen(input));
	close(fds[1]);
	pid = spawn(site, verb, more, in, path);
	while (waitpid(pid, &status, WNOHANG) == 0)
		sd_event_run(site->event, 10000);
	out = open(path, O_RDONLY | O_CLOEXEC);
	n = read(out, output, 4095);
	output[n > 0 ? n : 0] = '\0';
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int join(struct site *site, char output[4096])
{
	static const char *const more[] = {"-", NULL};

	return run(site, "join", more, site->join, output);
}

/* ---- joining ---- */

static void assert_says(const char *output, const char *text)
{
	if (!strstr(output, text))
		fail_msg("'%s' is not in '%s'", text, output);
}

/* spec: TRUST-9 */
static void joining_keeps_keys_identity_and_root(void **state)
{
	static const char *const again[] = {"--rejoin", "--name", "other", "-", NULL};
	struct site *site = *state;
	struct agent_config config;
	struct joined joined;
	char output[4096];
	struct stat st;
	AUTO_FREE char *root = mem_format("%s/trust/root.doc", site->node.dir);

	assert_int_equal(join(site, output), 0);
	assert_int_equal(site->enrolled, 1);
	assert_int_equal(stat(root, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(config_load(site->config, &config, NULL), 0);
	assert_int_equal(joined_load(&config, &joined, NULL), 0);
	assert_string_equal(joined.identity.name, "n1");
	joined_free(&joined);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "has joined a fleet already");
	assert_says(output, "--rejoin");
	assert_int_equal(run(site, "join", again, site->join, output), 0);
	assert_int_equal(joined_load(&config, &joined, NULL), 0);
	assert_string_equal(joined.identity.name, "other");
	joined_free(&joined);
}

static void refusals_are_sentences(void **state)
{
	static const char *const nothing[] = {NULL};
	struct site *site = *state;
	struct link_key other;
	char output[4096];

	site->secret[0] ^= 1; /* the coordinator's idea of it */
	assert_int_equal(join(site, output), 1);
	assert_says(output, "this token is not known here, or it was used up");
	site->secret[0] ^= 1;

	link_key_generate(&other);
	site_join(site, &other.public_key, site->port);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "does not have the key that the join string names");

	site_join(site, &site->server_key.public_key, 1);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "nobody answers at tcp://127.0.0.1:1");

	STR_CUT(site->join, "covey1:nonsense");
	assert_int_equal(join(site, output), 1);
	assert_says(output, "covey-agent: join: ");
	STR_CUT(site->join, "");
	assert_int_equal(join(site, output), 1);
	assert_says(output, "empty");
	assert_int_equal(run(site, "join", nothing, "", output), 2);
	assert_int_equal(site->enrolled, 0);
}

/* spec: TRUST-9 */
static void root_of_another_server_is_not_pinned(void **state)
{
	struct site *site = *state;
	AUTO_FREE char *root = mem_format("%s/trust/root.doc", site->node.dir);
	struct link_key other;
	char output[4096];

	link_key_generate(&other);
	site_root(site, &other.public_key);
	assert_int_equal(join(site, output), 1);
	assert_says(output, "another server key");
	assert_int_equal(access(root, F_OK), -1);
}

static void verbs_without_an_agent_say_so(void **state)
{
	static const char *const json[] = {"-o", "json", NULL};
	struct site *site = *state;
	char output[4096];

	assert_int_equal(run(site, "run", NULL, "", output), 78);
	assert_says(output, "has not joined");
	assert_int_equal(run(site, "status", json, "", output), 1);
	assert_says(output, "does not run");
	assert_int_equal(run(site, "health", NULL, "", output), 1);
	assert_int_equal(run(site, "nonsense", NULL, "", output), 2);
	assert_int_equal(run(site, "version", NULL, "", output), 0);
	assert_says(output, "covey-agent ");
}

/* ---- the service ---- */

static void desire(struct site *site, uint64_t generation, const struct assignment *assignment)
{
	struct desired_state desired = {.epoch = 1, .generation = generation,
					.assignments = (struct assignment *)assignment,
					.assignments_count = assignment ? 1 : 0};
	struct bytes bytes = {0};

	assert_int_equal(message_encode(MESSAGE_DESIRED, &desired, &bytes, NULL), 0);
	assert_int_equal(server_send(site->agents, site->agent_routing, site->agent_routing_size,
				     bytes.data, bytes.size),
			 0);
	free(bytes.data);
}

static bool wait_state(struct site *site, enum node_state state, uint64_t ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end) {
		turn(site, 20);
		if (site->status.deployments_count > 0 &&
		    site->status.deployments[0].state == state)
			return true;
	}
	return false;
}

static bool wait_status(struct site *site, uint64_t ms)
{
	unsigned before = site->statuses;
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end && site->statuses == before)
		turn(site, 20);
	return site->statuses > before;
}

static uint64_t number_in(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	unsigned long long value = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (str_starts(line, key))
			sscanf(line + strlen(key), " %llu", &value);
	fclose(file);
	return value;
}

/* Wake-ups of all threads of a process. */
static uint64_t wakeups(pid_t pid)
{
	AUTO_FREE char *command = mem_format(
		"cat /proc/%d/task/*/status | awk '/^voluntary/ {n += $2} END {print n}'",
		(int)pid);
	FILE *pipe = popen(command, "re");
	unsigned long long value = 0;

	assert_int_equal(fscanf(pipe, "%llu", &value), 1);
	pclose(pipe);
	return value;
}

static void measure_idle(struct site *site, pid_t pid)
{
	AUTO_FREE char *smaps = mem_format("/proc/%d/smaps_rollup", (int)pid);
	AUTO_FREE char *io = mem_format("/proc/%d/io", (int)pid);
	uint64_t written, woken;

	turn(site, 6000); /* the data channel closes, memory is given back */
	written = number_in(io, "wchar:");
	woken = wakeups(pid);
	turn(site, 10000);
	woken = wakeups(pid) - woken;
	print_message("idle agent: PSS %llu KiB (anonymous %llu KiB), %.2f wake-ups a second\n",
		      (unsigned long long)number_in(smaps, "Pss:"),
		      (unsigned long long)number_in(smaps, "Pss_Anon:"), (double)woken / 10);
	/* two heartbeats at most go through a pipe of libzmq; files get nothing */
	assert_in_range(number_in(io, "wchar:") - written, 0, 2000);
}

static void service_brings_a_release_to_its_clients(void **state)
{
	static const char *const json[] = {"-o", "json", NULL};
	struct site *site = *state;
	AUTO_FREE char *log = mem_format("%s/log", site->node.dir);
	struct digest release = node_release(&site->node, "1.0.0", 1, 6, 300000);
	struct assignment assignment = node_assignment(NULL, &release, GOAL_SERVE);
	char output[4096];
	int status;
	pid_t pid;

	assignment.bake_ms = 1500;
	assert_int_equal(join(site, output), 0);
	pid = spawn(site, "run", NULL, -1, log);
	assert_true(wait_status(site, 20000));
	desire(site, 1, &assignment);
	assert_true(wait_state(site, NODE_STATE_SERVING, 30000));
	assert_true(site->routed);
	assert_true(digest_equal(&site->route.release, &release));
	assert_int_equal(site->route.port, 8080);
	assert_int_equal(site->status.deployments[0].last.kind, OUTCOME_COMPLETED);
	assert_int_equal(run(site, "health", NULL, "", output), 0);
	assert_int_equal(run(site, "status", json, "", output), 0);
	assert_says(output, "\"deployment\":\"ocr\",\"state\":\"serving\"");
	assert_says(output, "\"linked\":true");
	assert_int_equal(run(site, "status", NULL, "", output), 0);
	assert_says(output, "serving");
	assert_int_equal(run(site, "history", json, "", output), 0);
	assert_says(output, "\"outcome\":\"completed\"");
	measure_idle(site, pid);
	kill(site->model, SIGKILL); /* the model server dies without its container */
	turn(site, 9000);
	assert_int_equal(run(site, "health", NULL, "", output), 1);
	kill(pid, SIGTERM);
	while (waitpid(pid, &status, WNOHANG) == 0)
		turn(site, 10);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void killed_service_goes_on_where_it_was(void **state)
{
	struct site *site = *state;
	AUTO_FREE char *log = mem_format("%s/log", site->node.dir);
	struct digest release = node_release(&site->node, "1.0.0", 1, 12, 400000);
	size_t objects = site->node.objects_count;
	struct assignment assignment = node_assignment(NULL, &release, GOAL_FETCH);
	char output[4096];
	unsigned kills = 0;
	pid_t pid = 0;

	assert_int_equal(join(site, output), 0);
	for (;; kills++) {
		pid = spawn(site, "run", NULL, -1, log);
		assert_true(wait_status(site, 20000));
		desire(site, 1, &assignment);
		turn(site, 15 + 5 * kills);
		if (site->gets >= objects || kills == 20)
			break;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	assert_true(wait_state(site, NODE_STATE_STAGED, 30000));
	assert_in_range(site->gets, objects, objects + kills * LIMIT_FETCH_REQUESTS);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(joining_keeps_keys_identity_and_root),
		TEST(refusals_are_sentences),
		TEST(root_of_another_server_is_not_pinned),
		TEST(verbs_without_an_agent_say_so),
		TEST(service_brings_a_release_to_its_clients),
		TEST(killed_service_goes_on_where_it_was),
	};

	if (argc != 2) {
		fputs("usage: test-agent-program covey-agent\n", stderr);
		return 2;
	}
	agent_path = argv[1];
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("agent program", tests, NULL, NULL);
}
