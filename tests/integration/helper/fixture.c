/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything lies below /dev/shm/covey-ht-<tag> and in namespaces covey-ht-<tag>-*, so that
 * fixture_down() finds all of it, also what an aborted run left behind: fixture_up() begins with
 * it.
 */
#include "tests/integration/helper/fixture.h"

#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { ASK_MS = 60000 };

uint64_t fixture_ms(uint64_t ms)
{
	const char *patience = getenv("COVEY_PATIENCE");

	return patience ? ms * strtoull(patience, NULL, 10) : ms;
}

bool fixture_usable(void)
{
	if (geteuid() == 0 && access(FIXTURE_BUSYBOX, X_OK) == 0 &&
	    access("/usr/bin/conmon", X_OK) == 0)
		return true;
	printf("1..0 # SKIP needs root, busybox-static and conmon\n");
	return false;
}

int fixture_shell(const char *netns, struct str *ret_output, const char *format, ...)
{
	AUTO_FREE char *command = NULL, *line = NULL;
	char data[4096];
	va_list args;
	size_t got;
	FILE *pipe;
	int code;

	va_start(args, format);
	assert(vasprintf(&line, format, args) >= 0);
	va_end(args);
	command = netns[0]
	              ? mem_format("exec nsenter --net=/run/netns/%s sh -c '%s' 2>&1", netns, line)
	              : mem_format("(%s) 2>&1", line);
	pipe = popen(command, "r");
	assert(pipe);
	while ((got = fread(data, 1, sizeof(data), pipe)) > 0)
		if (ret_output && ret_output->size < 65536)
			str_add_bytes(ret_output, data, got);
	code = pclose(pipe);
	return WIFEXITED(code) ? WEXITSTATUS(code) : 128;
}

static void must(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void must(const char *format, ...)
{
	AUTO_FREE char *line = NULL;
	AUTO_STR struct str output = {0};
	va_list args;

	va_start(args, format);
	assert(vasprintf(&line, format, args) >= 0);
	va_end(args);
	if (fixture_shell("", &output, "%s", line) != 0) {
		fprintf(stderr, "%s: %s\n", line, str_get(&output));
		abort();
	}
}

/* ---- the node ---- */

static void write_config(struct fixture *fixture, const char *more)
{
	const char *runtime = getenv("COVEY_HT_RUNTIME"); /* to try another one than runc */
	AUTO_FREE char *path = mem_format("%s/agent.conf", fixture->dir);
	AUTO_FREE char *text = mem_format(
	    "[agent]\nname = ht\nstate_dir = %s/agent\nrun_dir = %s/run\ntrust_dir = %s/trust\n"
	    "user = root\n[helper]\nstate_dir = %s/helper\nsocket = %s/run/helper.sock\n"
	    "group = root\nruntime = %s\n%s\n",
	    fixture->dir, fixture->dir, fixture->dir, fixture->dir, fixture->dir,
	    runtime ? runtime : "runc", more ? more : "");

	fixture_write(path, text, strlen(text), 0644);
}

static void clear_namespaces(struct fixture *fixture)
{
	fixture_shell("", NULL, "ip netns del %s; ip netns del %s", fixture->node, fixture->client);
}

int fixture_processes(const struct fixture *fixture, const char *part, int signal_number)
{
	AUTO_FREE char *home = mem_format("%s/", fixture->dir);
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	int count = 0;

	while (dir && (entry = readdir(dir))) {
		char path[300], line[8192];
		AUTO_CLOSE int fd = -1;
		ssize_t size;

		snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
		    atoi(entry->d_name) == (int)getpid())
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		size = fd < 0 ? -1 : read(fd, line, sizeof(line));
		if (size <= 0 || !memmem(line, (size_t)size, home, strlen(home)) ||
		    !memmem(line, (size_t)size, part, strlen(part)))
			continue;
		if (signal_number)
			kill(atoi(entry->d_name), signal_number);
		count++;
	}
	closedir(dir);
	return count;
}

/* Containers of an earlier run that was aborted are found by the bundle's path. */
static void kill_leftovers(struct fixture *fixture)
{
	fixture_processes(fixture, fixture->dir, SIGKILL);
	fixture_shell("", NULL,
	              "for s in %s/run/helper/runtime/*; do "
	              "runc --root %s/run/helper/runtime delete --force ${s##*/}; done",
	              fixture->dir, fixture->dir);
}

static void name_all(struct fixture *fixture, const char *tag)
{
	*fixture = (struct fixture){.fd = -1};
	STR_CUT(fixture->tag, tag);
	snprintf(fixture->dir, sizeof(fixture->dir), "/dev/shm/covey-ht-%s", tag);
	snprintf(fixture->node, sizeof(fixture->node), "covey-ht-%s-node", tag);
	snprintf(fixture->client, sizeof(fixture->client), "covey-ht-%s-client", tag);
}

static void make_namespaces(struct fixture *fixture)
{
	const char *node = fixture->node, *client = fixture->client;

	must("ip netns add %s && ip netns add %s", node, client);
	must("ip -n %s link set lo up && ip -n %s link set lo up", node, client);
	must("ip -n %s link add up0 type veth peer name up0 netns %s", node, client);
	must("ip -n %s addr add 10.90.0.1/24 dev up0 && ip -n %s addr add fd90::1/64 dev up0 nodad",
	     node, node);
	must("ip -n %s addr add 10.90.0.2/24 dev up0 && ip -n %s addr add fd90::2/64 dev up0 nodad",
	     client, client);
	must("ip -n %s link set up0 up && ip -n %s link set up0 up", node, client);
	/* the client's side must not answer for the slots: it has no route to them */
}

/* Two runs of one test would take each other for leftovers. */
static void wait_turn(const struct fixture *fixture)
{
	AUTO_FREE char *path = mem_format("%s.lock", fixture->dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert(fd >= 0 && flock(fd, LOCK_EX) == 0); /* held until the test ends */
}

void fixture_up(struct fixture *fixture, const char *tag, const char *more_config)
{
	assert(sodium_init() >= 0);
	signal(SIGPIPE, SIG_IGN);
	name_all(fixture, tag);
	wait_turn(fixture);
	kill_leftovers(fixture);
	clear_namespaces(fixture);
	must("rm -rf %s && mkdir -p %s/agent/blobs %s/agent/releases %s/trust", fixture->dir,
	     fixture->dir, fixture->dir, fixture->dir);
	make_namespaces(fixture);
	sign_key_generate(&fixture->key);
	fixture_root(fixture);
	write_config(fixture, more_config);
}

void fixture_down(struct fixture *fixture)
{
	if (fixture->helper)
		fixture_kill(fixture);
	kill_leftovers(fixture);
	clear_namespaces(fixture);
	fixture_shell("", NULL, "rm -rf %s; rmdir /sys/fs/cgroup/*/covey/ht%s", fixture->dir,
	              fixture->tag);
	for (size_t i = 0; i < fixture->events_count; i++)
		codec_free(&codec_helper_reply, &fixture->events[i]);
}

/* ---- the helper ---- */

static void enter(const char *netns)
{
	AUTO_FREE char *path = mem_format("/run/netns/%s", netns);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		_exit(126);
	close(fd);
}

pid_t fixture_server(const char *netns, const char *port, const char *log)
{
	pid_t pid = fork();
	int fd;

	assert(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter(netns);
		fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			_exit(126);
		execl(FIXTURE_BUSYBOX, "busybox", "httpd", "-f", "-v", "-p", port, "-h",
		      "/proc/self/task", (char *)NULL);
		_exit(127);
	}
	usleep(300000);
	return pid;
}

int fixture_dial(const char *netns, const char *address, uint32_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	const struct timeval limit = {5, 0};
	AUTO_CLOSE int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd;

	enter(netns);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(setns(here, CLONE_NEWNET) == 0 && fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	assert(inet_pton(AF_INET, address, &to.sin_addr) == 1);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

static _Noreturn void become_helper(const struct fixture *fixture, int listener)
{
	AUTO_FREE char *config = mem_format("%s/agent.conf", fixture->dir);
	const char *program = getenv("COVEY_HELPER");
	char pid[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter(fixture->node);
	if (listener >= 0) {
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "1", 1);
		if (listener != 3 && dup2(listener, 3) < 0)
			_exit(126);
		if (fcntl(3, F_SETFD, 0) < 0)
			_exit(126);
	}
	execl(program, program, "--config", config, (char *)NULL);
	_exit(127);
}

void fixture_start_with(struct fixture *fixture, int listener)
{
	assert(getenv("COVEY_HELPER"));
	fixture->helper = fork();
	assert(fixture->helper >= 0);
	if (fixture->helper == 0)
		become_helper(fixture, listener);
	fixture_connect(fixture);
}

void fixture_start(struct fixture *fixture)
{
	fixture_start_with(fixture, -1);
}

void fixture_kill(struct fixture *fixture)
{
	kill(fixture->helper, SIGKILL);
	waitpid(fixture->helper, NULL, 0);
	fixture->helper = 0;
	if (fixture->fd >= 0)
		close(fixture->fd);
	fixture->fd = -1;
}


static bool receive(struct fixture *fixture, uint64_t until, struct helper_reply *ret_reply)
{
	static uint8_t packet[LIMIT_HELPER_MESSAGE];
	struct pollfd wait = {fixture->fd, POLLIN, 0};
	uint64_t now = clock_mono_ms();
	ssize_t size;

	if (now >= until || poll(&wait, 1, (int)(until - now)) <= 0)
		return false;
	size = recv(fixture->fd, packet, sizeof(packet), 0);
	if (size <= 0)
		return false;
	assert(codec_decode(&codec_helper_reply, packet, (size_t)size, ret_reply, NULL) == 0);
	return true;
}

static void keep_event(struct fixture *fixture, const struct helper_reply *reply)
{
	assert(fixture->events_count < FIXTURE_EVENTS);
	fprintf(stderr, "# %s: %s\n", reply->text, reply->logs ? reply->logs : "");
	fixture->events[fixture->events_count++] = *reply;
}

int fixture_try(struct fixture *fixture, struct helper_request *request,
                struct helper_reply *ret_reply)
{
	uint64_t until = clock_mono_ms() + fixture_ms(ASK_MS);
	struct bytes packet = {0};
	struct helper_reply reply;
	ssize_t sent;

	request->id = ++fixture->ids;
	assert(codec_encode(&codec_helper_request, request, LIMIT_HELPER_MESSAGE, &packet, NULL) ==
	       0);
	sent = send(fixture->fd, packet.data, packet.size, 0);
	free(packet.data);
	while (sent >= 0 && receive(fixture, until, &reply)) {
		if (reply.event == HELPER_REPLY && reply.id == request->id) {
			*ret_reply = reply;
			return (int)reply.error;
		}
		if (reply.event == HELPER_EXITED)
			keep_event(fixture, &reply);
		else
			codec_free(&codec_helper_reply, &reply);
	}
	*ret_reply = (struct helper_reply){.error = ENOTCONN};
	return ENOTCONN;
}

static bool dial_helper(struct fixture *fixture)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int size = 2 * LIMIT_HELPER_MESSAGE;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/helper.sock", fixture->dir);
	fixture->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	setsockopt(fixture->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (connect(fixture->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return true;
	close(fixture->fd);
	fixture->fd = -1;
	return false;
}

/* A helper that was killed may leave a child that still holds its socket for the moment between
 * fork and exec: who connects then is hung up on. So there is a question before it counts. */
void fixture_connect(struct fixture *fixture)
{
	for (uint64_t i = 0; i < fixture_ms(500); i++) {
		struct helper_request request = {.op = HELPER_LIST};
		struct helper_reply reply;
		int error = dial_helper(fixture) ? fixture_try(fixture, &request, &reply) : -1;

		if (error == 0) {
			codec_free(&codec_helper_reply, &reply);
			return;
		}
		if (fixture->fd >= 0)
			close(fixture->fd);
		fixture->fd = -1;
		usleep(10000);
	}
	fprintf(stderr, "the helper does not listen\n");
	abort();
}

int fixture_ask(struct fixture *fixture, struct helper_request *request,
                struct helper_reply *ret_reply)
{
	int error = fixture_try(fixture, request, ret_reply);

	if (error == ENOTCONN)
		fprintf(stderr, "no reply\n");
	return error;
}

static int finish(struct fixture *fixture, struct helper_request *request)
{
	struct helper_reply reply;
	int error = fixture_ask(fixture, request, &reply);

	if (error)
		fprintf(stderr, "operation %d: error %d, check `%s`: %s\n", (int)request->op, error,
		        reply.check, reply.text);
	codec_free(&codec_helper_reply, &reply);
	return error;
}

int fixture_do(struct fixture *fixture, enum helper_op op, const char *deployment,
               enum colour colour, const struct digest *release)
{
	struct helper_request request = {.op = op, .colour = colour};

	STR_CUT(request.deployment, deployment);
	if (release)
		request.release = *release;
	return finish(fixture, &request);
}

int fixture_stop(struct fixture *fixture, const char *deployment, enum colour colour, bool kill)
{
	struct helper_request request = {
	    .op = HELPER_STOP, .colour = colour, .kill = kill, .grace_ms = 500};

	STR_CUT(request.deployment, deployment);
	return finish(fixture, &request);
}

int fixture_traffic(struct fixture *fixture, const char *deployment, enum colour colour,
                    const struct digest *release, uint32_t port)
{
	struct helper_route route = {.port = port, .colour = colour};
	struct helper_request request = {.op = HELPER_TRAFFIC, .routes = &route};

	if (release) {
		STR_CUT(route.deployment, deployment);
		route.release = *release;
		request.routes_count = 1;
	}
	return finish(fixture, &request);
}

const struct helper_reply *fixture_exited(struct fixture *fixture, uint64_t ms)
{
	static struct helper_reply event;
	uint64_t until = clock_mono_ms() + fixture_ms(ms);
	struct helper_reply reply;

	while (!fixture->events_count && receive(fixture, until, &reply)) {
		if (reply.event == HELPER_EXITED)
			keep_event(fixture, &reply);
		else
			codec_free(&codec_helper_reply, &reply);
	}
	if (!fixture->events_count)
		return NULL;
	codec_free(&codec_helper_reply, &event);
	event = fixture->events[0];
	fixture->events_count--;
	memmove(fixture->events, fixture->events + 1,
	        fixture->events_count * sizeof(fixture->events[0]));
	return &event;
}

const char *fixture_get(const char *netns, const char *address, uint32_t port)
{
	static char text[4096];
	AUTO_STR struct str output = {0};
	bool v6 = strchr(address, ':') != NULL;
	int code = fixture_shell(netns, &output, "curl -gsf -m 2 http://%s%s%s:%u/", v6 ? "[" : "",
	                         address, v6 ? "]" : "", port);

	STR_CUT(text, code == 0 ? str_get(&output) : "");
	return text;
}

bool fixture_answers(const char *netns, const char *address, uint32_t port, const char *text,
                     uint64_t ms)
{
	uint64_t until = clock_mono_ms() + fixture_ms(ms);

	do {
		if (str_equal(fixture_get(netns, address, port), text))
			return true;
		usleep(20000);
	} while (clock_mono_ms() < until);
	return false;
}
