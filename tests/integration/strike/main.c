/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaches, says `ready`, then lists the steps it sees, or waits for one and kills the daemon at
 * that moment of it. LOST and TORN take from the database's log, after the kill, what the disk
 * would not have got: nobody had been promised it, because the call had not come back.
 */
#include "tests/integration/strike/strike.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
	"usage: covey-strike --pid PID [--database FILE] [--seconds N]\n"
	"                    [--at STEP --when MOMENT] [--all]\n"
	"Lists the steps of a daemon, or kills it at one. FILE: its journal.db or coordinator.db; none: it\n"
	"is the helper. MOMENT: lost torn written after acted (of a commit), before after (of the\n"
	"rest). --all: with a worker of the helper, the helper too.\n"
	"Exit code 0: struck; 3: the step did not come.\n";

enum { NEVER_CAME = 3 };

struct options {
	pid_t pid;
	const char *database, *at;
	enum moment when;
	uint64_t seconds;
	bool all;
};

static int parse_moment(const char *text, enum moment *ret_when)
{
	for (enum moment m = 0; m < MOMENT_COUNT; m++)
		if (str_equal(text, moment_names[m])) {
			*ret_when = m;
			return 0;
		}
	return -EINVAL;
}

static int parse(int argc, char **argv, struct options *o)
{
	uint64_t pid = 0;
	int r = 0;

	for (int i = 1; r == 0 && i < argc; i++) {
		const char *next = i + 1 < argc ? argv[i + 1] : "";

		if (str_equal(argv[i], "--all")) {
			o->all = true;
			continue;
		}
		i++;
		if (str_equal(argv[i - 1], "--pid"))
			r = str_parse_u64(next, INT32_MAX, &pid);
		else if (str_equal(argv[i - 1], "--database"))
			o->database = next;
		else if (str_equal(argv[i - 1], "--seconds"))
			r = str_parse_u64(next, 3600, &o->seconds);
		else if (str_equal(argv[i - 1], "--at"))
			o->at = next;
		else if (str_equal(argv[i - 1], "--when"))
			r = parse_moment(next, &o->when);
		else
			r = -EINVAL;
	}
	o->pid = (pid_t)pid;
	return r < 0 || pid == 0 ? -EINVAL : 0;
}

/* ---- the kill ---- */

static bool has_word(const char *words, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = words; (at = strstr(at, word)); at++)
		if ((at == words || at[-1] == ' ') && at[size] == ' ')
			return true;
	return false;
}

static bool is_at_entry(const struct options *o, const struct step *step)
{
	return o->when == MOMENT_BEFORE ||
	       (step->durable && (o->when == MOMENT_LOST || o->when == MOMENT_TORN ||
				  o->when == MOMENT_WRITTEN));
}

static int cut_log(const struct options *o, const struct steps *steps)
{
	uint64_t size = o->when == MOMENT_LOST ? steps->from : (steps->from + steps->to) / 2;

	if (o->when != MOMENT_LOST && o->when != MOMENT_TORN)
		return 0;
	return truncate(steps->wal, (off_t)size) < 0 ? -errno : 0;
}

static int strike(const struct options *o, struct steps *steps, pid_t victim, struct err *err)
{
	const pid_t daemon = o->pid;
	enum trace_news news;
	struct call call;
	bool gone = false;
	int r = 0;

	if (o->all)
		kill(daemon, SIGKILL);
	kill(victim, SIGKILL);
	while (r == 0 && !gone) {
		r = trace_next(clock_mono_ms() + 10000, &news, &call);
		gone = r == 0 && news == TRACE_GONE && call.pid == victim;
	}
	if (r < 0)
		return err_errno(err, r, "process %d does not die", (int)victim);
	r = cut_log(o, steps);
	return r < 0 ? err_errno(err, r, "%s", steps->wal) : 0;
}

/* ---- the loop ---- */

static bool is_worker(pid_t pid)
{
	char link[64], path[512] = "";
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	n = readlink(link, path, sizeof(path) - 1);
	return n > 0 && strstr(path, "/covey-worker-");
}

/* 1: now, kill that process; 0: go on. */
static int look(const struct options *o, struct steps *steps, const struct call *call,
		bool *due, bool *acted, struct err *err)
{
	struct step step;
	bool here;
	int r = steps_of(steps, call, &step, err);

	if (r == 0 && step.names.size > 0 && !o->at) {
		printf("%s\n", str_get(&step.names));
		fflush(stdout);
	}
	here = r == 0 && o->at && has_word(str_get(&step.names), o->at);
	str_free(&step.names);
	if (r < 0 || !o->at)
		return r;
	if (*acted)
		return !call->entered && steps_sends(steps, call);
	if (here && (is_at_entry(o, &step) || !call->entered))
		return 1;
	if (here)
		*due = true;
	else if (*due && !call->entered && call->pid == steps->pid) {
		*due = false;
		*acted = o->when == MOMENT_ACTED;
		return !*acted;
	}
	return 0;
}

static int run(const struct options *o, struct steps *steps, struct err *err)
{
	uint64_t deadline = clock_mono_ms() + o->seconds * 1000;
	bool due = false, acted = false;
	enum trace_news news;
	struct call call;
	int r;

	for (;;) {
		r = trace_next(deadline, &news, &call);
		if (r == -ETIMEDOUT || r == -ECHILD)
			return NEVER_CAME;
		if (r < 0)
			return err_errno(err, r, "trace");
		if (news == TRACE_EXEC && !is_worker(call.pid))
			trace_detach(call.pid);
		if (news == TRACE_GONE && call.pid == o->pid)
			return NEVER_CAME;
		if (news != TRACE_CALL)
			continue;
		r = look(o, steps, &call, &due, &acted, err);
		if (r != 0)
			break;
	}
	return r < 0 ? r : strike(o, steps, call.pid, err);
}

int main(int argc, char **argv)
{
	struct options options = {.seconds = 60};
	struct steps steps = {0};
	struct err err = {0};
	int r = parse(argc, argv, &options);

	if (r < 0) {
		fputs(usage, stderr);
		return 2;
	}
	r = steps_open(options.pid, options.database, &steps, &err);
	if (r == 0)
		r = trace_begin(options.pid, !options.database, &err);
	if (r == 0) {
		printf("ready\n");
		fflush(stdout);
		r = run(&options, &steps, &err);
	}
	if (r < 0)
		fprintf(stderr, "covey-strike: %s\n", err_text(&err, r));
	else if (r == 0)
		printf("struck\n");
	trace_end();
	steps_close(&steps);
	return r < 0 ? 1 : r;
}
