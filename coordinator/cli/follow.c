/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One long poll after another: the coordinator answers when the rollout changes. A coordinator that
 * restarts loses nothing of a rollout, so a broken connection is tried again for a while before the
 * command gives up. The state's name decides when to stop and with which exit code.
 */
#include "coordinator/cli/follow.h"
#include "base/clock.h"
#include "coordinator/cli/tree.h"

#include <signal.h>

enum { RECONNECT_MS = 60000, RETRY_MS = 1000, REDRAW_MS = 1000, ANSWER_MS = 30000 };

struct follow {
	struct cli *cli;
	const char *rollout;
	enum follow_style style;
	struct client *client;
	struct tree *tree;
	uint64_t deadline_ms; /* monotonic; UINT64_MAX: none */
	uint64_t give_up_ms;  /* while not connected; 0: connected */
	json_int_t change;    /* of the state that was shown; -1: none yet */
	json_t *last;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	interrupted = 1;
}

int follow_exit_code(const char *state)
{
	static const struct {
		const char *state;
		enum exit_code code;
	} ends[] = {{"completed", EXIT_DONE},
	            {"rolled_back", EXIT_ROLLED_BACK},
	            {"aborted", EXIT_ABORTED},
	            {"paused", EXIT_WAITING},
	            {"stuck", EXIT_WAITING}};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (str_equal(ends[i].state, state))
			return (int)ends[i].code;
	return -1;
}

/* ---- how it ended ---- */

static void describe(const json_t *rollout, struct str *s)
{
	const json_t *reason = output_member(rollout, "reason");

	str_addf(s, "rollout %.12s of %s", output_text(rollout, "id"),
	         output_text(rollout, "deployment"));
	if (!reason || !*output_text(reason, "text"))
		return;
	str_addf(s, " (%s%s%s%s%s)", output_text(reason, "node"),
	         *output_text(reason, "node") ? ": " : "", output_text(reason, "phase"),
	         *output_text(reason, "phase") ? ": " : "", output_text(reason, "text"));
}

static int end(struct follow *f, int code)
{
	AUTO_STR struct str what = {0};
	const char *id = output_text(f->last, "id");

	describe(f->last, &what);
	switch (code) {
	case EXIT_ROLLED_BACK:
		return cli_fail(
		    f->cli, EXIT_ROLLED_BACK,
		    "%s was rolled back to %s; `covey rollout show %.12s` has the reasons",
		    str_get(&what),
		    *output_text(f->last, "from") ? output_text(f->last, "from") : "nothing", id);
	case EXIT_ABORTED:
		return cli_fail(f->cli, EXIT_ABORTED,
		                "%s was aborted by an operator; `covey events` says who",
		                str_get(&what));
	case EXIT_WAITING:
		return cli_fail(f->cli, EXIT_WAITING,
		                "%s is %s and waits for a person; `covey rollout show %.12s` says "
		                "why, then `covey rollout %s`",
		                str_get(&what), output_text(f->last, "state"), id,
		                str_equal(output_text(f->last, "state"), "stuck")
		                    ? "retry` or `abort"
		                    : "resume`, `promote` or `abort");
	default:
		return code;
	}
}

/* ---- one step ---- */

static uint64_t left_ms(const struct follow *f)
{
	uint64_t now = clock_mono_ms();

	return f->deadline_ms > now ? f->deadline_ms - now : 0;
}

static bool live(const struct follow *f)
{
	return f->style == FOLLOW_PEOPLE && f->cli->out.terminal;
}

static uint64_t poll_ms(const struct follow *f)
{
	uint64_t wait = live(f) ? REDRAW_MS : LIMIT_POLL_WAIT_MS;

	return left_ms(f) < wait ? left_ms(f) : wait;
}

static void show(struct follow *f, json_t *rollout)
{
	json_int_t change = json_integer_value(output_member(rollout, "change"));
	bool same = f->last && change == f->change;

	json_decref(f->last);
	f->last = json_incref(rollout);
	f->change = change;
	if (f->style == FOLLOW_PEOPLE && (live(f) || !same))
		tree_show(f->tree, rollout, clock_unix_ms());
	else if (f->style == FOLLOW_STREAM && !same)
		output_json_line(&f->cli->out, rollout);
}

/* -1: go on. */
static int take(struct follow *f, const struct reply *reply)
{
	int code;

	f->give_up_ms = 0;
	if (reply->exit_code != EXIT_DONE)
		return client_reply_code(f->cli, reply);
	show(f, reply->body);
	code = follow_exit_code(output_text(reply->body, "state"));
	return code < 0 ? -1 : end(f, code);
}

/* The connection broke or never was: -1 while it is worth trying again. */
static int lost(struct follow *f, int r)
{
	uint64_t now = clock_mono_ms();
	struct err why = f->cli->err;

	client_free(f->client);
	f->client = NULL;
	f->change = -1; /* whoever answers next is asked for the whole */
	if (client_exit_code(r) != EXIT_UNREACHABLE || r == -EKEYREJECTED || r == -EPROTO ||
	    (!f->last && !f->give_up_ms))
		return (int)client_exit_code(r);
	if (!f->give_up_ms) {
		f->give_up_ms = now + RECONNECT_MS;
		fprintf(stderr,
		        "covey: the coordinator does not answer; trying again for a minute\n");
	}
	if (now >= f->give_up_ms)
		return cli_fail(f->cli, EXIT_UNREACHABLE,
		                "%s; the rollout goes on without this command, watch it with "
		                "`covey rollout watch %.12s`",
		                why.text, f->rollout);
	if (!interrupted)
		usleep(RETRY_MS * 1000);
	return -1;
}

static int step(struct follow *f)
{
	AUTO_REPLY struct reply reply = {0};
	uint64_t wait = poll_ms(f);
	json_t *body;
	int r = 0;

	f->cli->err.text[0] = 0;
	if (!f->client)
		r = client_open(f->cli, &f->client, &f->cli->err);
	if (r == 0) {
		body = json_pack("{sssI}", "rollout", f->rollout, "wait_ms", (json_int_t)wait);
		client_set_timeout(f->client, left_ms(f) < ANSWER_MS ? left_ms(f) + 1 : ANSWER_MS);
		if (f->change >= 0)
			json_object_set_new(body, "since", json_integer(f->change));
		r = client_call(f->client, "rollout.show", body, NULL, 0, wait, &reply,
		                &f->cli->err);
	}
	if (r == 0)
		return take(f, &reply);
	return interrupted ? -1 : lost(f, r);
}

static int detach(struct follow *f)
{
	AUTO_STR struct str id = {0};

	output_safe(&id, f->rollout, false);
	fprintf(stderr, "\nthe rollout goes on; watch it again with `covey rollout watch %.12s`\n",
	        str_get(&id));
	return EXIT_DONE;
}

static int loop(struct follow *f)
{
	int code = -1;

	while (code < 0) {
		if (interrupted)
			return detach(f);
		if (f->last && left_ms(f) == 0)
			return cli_fail(f->cli, EXIT_TIMEOUT,
			                "the rollout did not end within --timeout; it goes on, "
			                "watch it with `covey rollout watch %.12s`",
			                f->rollout);
		code = step(f);
	}
	return code;
}

int follow_rollout(struct cli *cli, const char *rollout, enum follow_style style)
{
	const struct sigaction catch = {.sa_handler =
	                                    on_interrupt}; /* no SA_RESTART: ends the wait */
	struct follow f = {.cli = cli,
	                   .rollout = rollout,
	                   .style = style,
	                   .change = -1,
	                   .deadline_ms = UINT64_MAX};
	struct sigaction old;
	uint64_t timeout_ms = cli->options.timeout_ms;
	int code;

	interrupted = 0;
	sigaction(SIGINT, &catch, &old);
	if (timeout_ms) {
		f.deadline_ms = clock_mono_ms() + timeout_ms;
		cli->options.timeout_ms = 0; /* from here on for the end, not for each answer */
	}
	f.tree = tree_new(cli->out.file, live(&f), cli->out.color);
	code = loop(&f);
	if (style == FOLLOW_RESULT && f.last)
		output_json(&cli->out, f.last);
	cli->options.timeout_ms = timeout_ms;
	sigaction(SIGINT, &old, NULL);
	tree_free(f.tree);
	client_free(f.client);
	json_decref(f.last);
	return code;
}
