/* SPDX-License-Identifier: Apache-2.0 */
/* The small language of the traces; a line that is not understood fails the test that wrote it. */
#include "trace.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/core/record.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { WORDS_MAX = 16, OLD = 1, NEW = 2, OTHER = 3 };

struct line {
	const char *text;
	char buffer[256];
	char *words[WORDS_MAX];
	size_t count;
};

struct digest trace_digest(uint8_t byte)
{
	struct digest digest = {{0}};

	memset(digest.bytes, byte, byte ? DIGEST_SIZE : 0);
	return digest;
}

struct node_id trace_node_id(uint32_t number)
{
	struct node_id id = {{0}};

	id.bytes[0] = (uint8_t)(number >> 8);
	id.bytes[1] = (uint8_t)number;
	return id;
}

static struct rollout_id id_of_trace(void)
{
	return (struct rollout_id){{7}};
}

void trace_begin(struct trace *trace)
{
	*trace = (struct trace){.now_ms = 1000000, .from = trace_digest(OLD), .spare = 4};
	deployment_spec_defaults(&trace->spec);
	STR_CUT(trace->spec.name, "ocr");
	STR_CUT(trace->spec.selector, "all");
	trace->spec.release = trace_digest(NEW);
}

void trace_plan(struct trace *trace, size_t count, bool first_install)
{
	static const char *const sites[] = {"a", "b", "c"};
	struct fleet_node nodes[TRACE_NODES_MAX] = {0};
	struct label labels[TRACE_NODES_MAX] = {0};
	struct rollout_id id = id_of_trace();
	struct err err = {0};

	if (first_install)
		trace->from = trace_digest(0);
	for (size_t i = 0; i < count; i++) {
		STR_CUT(labels[i].key, "site");
		STR_CUT(labels[i].value, sites[i % 3]);
		nodes[i] = (struct fleet_node){.id = trace_node_id((uint32_t)i + 1),
					       .labels = &labels[i],
					       .labels_count = 1,
					       .reachable = true,
					       .member = !first_install,
					       .release = trace->from};
	}
	if (plan_make(&trace->spec, nodes, count, &trace->plan, &err) < 0)
		fail_msg("plan: %s", err.text);
	trace->rollout = rollout_new(&id, &trace->spec, &trace->plan, &trace->from, 1,
				     trace->now_ms, trace->spare);
	trace->seen = invariants_new(trace->rollout);
}

/* ---- events ---- */

static void fail_line(const struct trace *trace, const struct line *line, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));

static void fail_line(const struct trace *trace, const struct line *line, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fail_msg("at \"%s\": %s (state %s)", line->text, text,
		 rollout_state_name(trace->rollout->state));
	abort();
}

/* As the shell does it: admitted, written down, applied. */
static bool feed(struct trace *trace, const struct line *line, const struct rollout_event *event)
{
	struct err err = {0};
	struct bytes bytes;

	if (!rollout_admits(trace->rollout, event, &err))
		return false;
	if (codec_encode(&codec_rollout_event, event, LIMIT_AGENT_MESSAGE, &bytes, &err) < 0)
		fail_line(trace, line, "%s", err.text);
	MEM_GROW(trace->journal, &trace->journal_cap, trace->journal_count);
	trace->journal[trace->journal_count++] = bytes;
	rollout_apply(trace->rollout, event);
	if (invariants_check(trace->seen, trace->rollout, &err) < 0)
		fail_line(trace, line, "%s", err.text);
	return true;
}

static void pass_time(struct trace *trace, const struct line *line, uint64_t duration_ms)
{
	uint64_t end = trace->now_ms + duration_ms;

	for (size_t ticks = 0;; ticks++) {
		uint64_t deadline = rollout_deadline(trace->rollout);
		struct rollout_event tick;

		if (deadline > end)
			break;
		if (ticks > 1000)
			fail_line(trace, line, "the deadline does not move on");
		trace->now_ms = deadline > trace->now_ms ? deadline : trace->now_ms;
		tick = rollout_event_make(EVENT_TICK, trace->now_ms, ROLLOUT_NO_NODE);
		if (!feed(trace, line, &tick))
			fail_line(trace, line, "the tick at the deadline is not admitted");
	}
	trace->now_ms = end;
}

struct report_word {
	const char *word;
	enum node_state state;
	int release; /* that serves */
	bool staged, proven, healthy;
	const char *phase, *check, *text;
};

static const struct report_word report_words[] = {
	{"pending", NODE_STATE_PENDING, OLD, false, false, true, "", "", ""},
	{"fetching", NODE_STATE_FETCHING, OLD, false, false, true, "", "", ""},
	{"staged", NODE_STATE_STAGED, OLD, true, false, true, "", "", ""},
	{"proven", NODE_STATE_STAGED, OLD, true, true, true, "", "", ""},
	{"starting", NODE_STATE_STARTING, OLD, true, false, true, "", "", ""},
	{"down", NODE_STATE_STARTING, OLD, true, false, false, "", "", ""},
	{"baking", NODE_STATE_BAKING, NEW, true, true, true, "", "", ""},
	{"serving", NODE_STATE_SERVING, NEW, true, true, true, "", "", ""},
	{"sick", NODE_STATE_SERVING, NEW, true, true, false, "", "", ""},
	{"old", NODE_STATE_SERVING, OLD, true, false, true, "", "", ""},
	{"reverting", NODE_STATE_REVERTING, NEW, true, true, true, "", "", ""},
	{"rolled_back", NODE_STATE_ROLLED_BACK, OLD, true, false, true, "bake", "health",
	 "three probes in a row failed"},
	{"elsewhere", NODE_STATE_ROLLED_BACK, OTHER, true, false, true, "coordinator", "revert",
	 "the coordinator took this release back"}, /* it bars the old release */
	{"unfit", NODE_STATE_FAILED, OLD, false, false, true, "preflight", "disk", "disk full"},
	{"failed", NODE_STATE_FAILED, OLD, true, false, false, "start", "exited", "exit code 1"},
	{"broken", NODE_STATE_FAILED, NEW, true, false, false, "serve", "rollback",
	 "the old release is gone"},
};

enum news { NEWS_CURRENT, NEWS_STALE, NEWS_FOREIGN };

static void feed_report(struct trace *trace, const struct line *line, uint32_t node,
			const char *word, enum news news)
{
	const struct rollout_node *n = &trace->rollout->nodes[node];
	struct rollout_event e = rollout_event_make(EVENT_NODE_REPORT, trace->now_ms, node);

	for (size_t i = 0; i < ARRAY_SIZE(report_words); i++) {
		const struct report_word *w = &report_words[i];

		if (!str_equal(w->word, word))
			continue;
		e.state = w->state;
		e.release = w->release == OLD ? trace->from : trace_digest((uint8_t)w->release);
		e.target = news == NEWS_FOREIGN ? trace_digest(OTHER) : trace->spec.release;
		if (news != NEWS_FOREIGN)
			e.rollout = trace->rollout->id;
		e.attempt = n->attempt;
		e.staged = w->staged;
		e.proven = w->proven;
		e.healthy = w->healthy && !digest_is_zero(&e.release);
		e.current = news == NEWS_CURRENT;
		STR_CUT(e.why.phase, w->phase);
		STR_CUT(e.why.check, w->check);
		STR_CUT(e.why.text, w->text);
		feed(trace, line, &e);
		return;
	}
	fail_line(trace, line, "unknown report \"%s\"", word);
}

static uint32_t number(const struct trace *trace, const struct line *line, const char *word)
{
	uint64_t value;

	if (str_parse_u64(word, 1000000, &value) < 0)
		fail_line(trace, line, "\"%s\" is not a number", word);
	return (uint32_t)value;
}

static uint64_t duration(const struct trace *trace, const struct line *line, const char *word)
{
	uint64_t value;

	if (str_parse_duration(word, &value) < 0)
		fail_line(trace, line, "\"%s\" is not a duration", word);
	return value;
}

static const struct {
	const char *word;
	enum rollout_event_kind kind;
} event_words[] = {
	{"start", EVENT_START},		{"pause", EVENT_PAUSE},
	{"resume", EVENT_RESUME},	{"promote", EVENT_PROMOTE},
	{"abort", EVENT_ABORT},		{"promote-full", EVENT_PROMOTE_FULL},
	{"freeze", EVENT_FREEZE},	{"supersede", EVENT_SUPERSEDE},
	{"unfreeze", EVENT_UNFREEZE},	{"window-closed", EVENT_WINDOW_CLOSED},
	{"retry", EVENT_RETRY},		{"window-open", EVENT_WINDOW_OPEN},
	{"silent", EVENT_NODE_UNREACHABLE}, {"answers", EVENT_NODE_REACHABLE},
	{"gone", EVENT_NODE_GONE},	{"busy", EVENT_NODE_BUSY},
	{"free", EVENT_NODE_FREE},
};

static bool event_word(const char *word, enum rollout_event_kind *ret_kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(event_words); i++) {
		if (!str_equal(event_words[i].word, word))
			continue;
		*ret_kind = event_words[i].kind;
		return true;
	}
	return false;
}

static void must_feed(struct trace *trace, const struct line *line,
		      const struct rollout_event *event)
{
	struct err err = {0};

	if (!rollout_admits(trace->rollout, event, &err))
		fail_line(trace, line, "not admitted: %s", err.text);
	feed(trace, line, event);
}

static void feed_join(struct trace *trace, const struct line *line, uint32_t node)
{
	struct rollout_event e = rollout_event_make(EVENT_NODE_JOINED, trace->now_ms, node);

	e.id = node < trace->rollout->nodes_count ? trace->rollout->nodes[node].id
						  : trace_node_id(node + 1000);
	e.reachable = true;
	STR_CUT(e.group, line->count > 2 ? line->words[2] : "");
	must_feed(trace, line, &e);
}

static void play_node(struct trace *trace, const struct line *line, uint32_t node)
{
	enum rollout_event_kind kind;
	const char *word = line->words[1];

	if (event_word(word, &kind)) {
		struct rollout_event e = rollout_event_make(kind, trace->now_ms, node);

		must_feed(trace, line, &e);
	} else if (str_equal(word, "joins")) {
		feed_join(trace, line, node);
	} else if (str_equal(word, "stale")) {
		feed_report(trace, line, node, line->words[2], NEWS_STALE);
	} else if (str_equal(word, "foreign")) {
		feed_report(trace, line, node, line->words[2], NEWS_FOREIGN);
	} else {
		feed_report(trace, line, node, word, NEWS_CURRENT);
	}
}

static void play_nodes(struct trace *trace, const struct line *line)
{
	char list[64], *rest = list;

	STR_CUT(list, line->words[0]);
	if (str_equal(list, "all")) {
		size_t count = trace->rollout->nodes_count;

		for (uint32_t i = 0; i < count; i++)
			play_node(trace, line, i);
		return;
	}
	for (char *item = strsep(&rest, ","); item; item = strsep(&rest, ",")) {
		char *dash = strchr(item, '-');
		uint32_t first, last;

		if (dash)
			*dash = '\0';
		first = number(trace, line, item);
		last = dash ? number(trace, line, dash + 1) : first;
		for (uint32_t i = first; i <= last; i++)
			play_node(trace, line, i);
	}
}

static void play_verdict(struct trace *trace, const struct line *line)
{
	struct rollout_event e =
		rollout_event_make(EVENT_GATE_VERDICT, trace->now_ms, ROLLOUT_NO_NODE);

	e.stage = line->count > 3 ? number(trace, line, line->words[3])
				  : (uint32_t)trace->rollout->stage;
	for (enum verdict v = 0; v < VERDICT_COUNT; v++)
		if (str_equal(verdict_name(v), line->words[1]))
			e.verdict = v;
	STR_CUT(e.why.phase, "coordinator");
	STR_CUT(e.why.check, "errors");
	STR_CUT(e.why.text, line->count > 2 ? line->words[2] : "");
	must_feed(trace, line, &e);
}

static void play_operator(struct trace *trace, const struct line *line,
			  enum rollout_event_kind kind)
{
	struct rollout_event e = rollout_event_make(kind, trace->now_ms, ROLLOUT_NO_NODE);

	if (kind == EVENT_RETRY && !str_equal(line->words[1], "all"))
		e.node = number(trace, line, line->words[1]);
	must_feed(trace, line, &e);
}

/* ---- expectations ---- */

static char goal_letter(const struct rollout_goal *goal)
{
	static const char letters[GOAL_COUNT] = {'.', 'F', 'P', 'S'};

	if (!goal->owned)
		return '-';
	return goal->revert ? 'R' : letters[goal->goal];
}

static void expect_text(const struct trace *trace, const struct line *line, const char *want,
			const char *got)
{
	if (!str_equal(want, got))
		fail_line(trace, line, "it is \"%s\"", got);
}

static void expect_number(const struct trace *trace, const struct line *line, uint64_t want,
			  uint64_t got)
{
	if (want != got)
		fail_line(trace, line, "it is %llu", (unsigned long long)got);
}

static void expect_goals(const struct trace *trace, const struct line *line)
{
	char goals[TRACE_NODES_MAX + 1] = "";

	for (uint32_t i = 0; i < trace->rollout->nodes_count; i++) {
		struct rollout_goal goal;

		rollout_goal(trace->rollout, i, &goal);
		goals[i] = goal_letter(&goal);
	}
	expect_text(trace, line, line->words[2], goals);
}

static void expect_note(const struct trace *trace, const struct line *line)
{
	for (size_t i = 0; i < trace->rollout->notes_count; i++) {
		const struct rollout_note *note = &trace->rollout->notes[i];

		if (str_equal(rollout_note_name(note->kind), line->words[2]) &&
		    (line->count < 4 || strstr(note->text, line->words[3])))
			return;
	}
	fail_line(trace, line, "there is no such note");
}

static void expect_reason(const struct trace *trace, const struct line *line)
{
	const struct rollout_why *why = &trace->rollout->why;

	expect_text(trace, line, line->words[2], why->phase);
	expect_text(trace, line, line->words[3], why->check);
	for (size_t i = 4; i < line->count; i++)
		if (!strstr(why->text, line->words[i]))
			fail_line(trace, line, "the text is \"%s\"", why->text);
}

static void expect_refused(const struct trace *trace, const struct line *line)
{
	struct rollout_event e = rollout_event_make(EVENT_COUNT, trace->now_ms, ROLLOUT_NO_NODE);
	struct err err = {0};

	if (!event_word(line->words[2], &e.kind))
		fail_line(trace, line, "no such event");
	if (line->count > 3)
		e.node = number(trace, line, line->words[3]);
	if (rollout_admits(trace->rollout, &e, &err))
		fail_line(trace, line, "it is admitted");
	if (!err.text[0])
		fail_line(trace, line, "refused without a sentence");
}

static void expect_deadline(const struct trace *trace, const struct line *line)
{
	uint64_t deadline = rollout_deadline(trace->rollout);

	if (str_equal(line->words[2], "none"))
		expect_number(trace, line, UINT64_MAX, deadline);
	else
		expect_number(trace, line, duration(trace, line, line->words[2]),
			      deadline - trace->now_ms);
}

static void expect_says(const struct trace *trace, const struct line *line)
{
	struct rollout_goal goals[TRACE_NODES_MAX];
	struct rollout_effects effects = {.goals = goals};

	rollout_decide(trace->rollout, trace->now_ms, &effects);
	if (!strstr(effects.text, strstr(line->text, "says ") + 5))
		fail_line(trace, line, "it says \"%s\"", effects.text);
}

static const char *node_state_text(enum node_state state)
{
#define X(name, text) text,
	static const char *const names[] = {NODE_STATES(X)};
#undef X
	return names[state];
}

static void expect(const struct trace *trace, const struct line *line)
{
	static const char *const holds[HOLD_COUNT] = {"none", "operator", "promote",
						      "inconclusive"};
	const struct rollout *r = trace->rollout;
	const char *what = line->words[1];
	uint32_t first = line->count > 2 && line->words[2][0] >= '0' && line->words[2][0] <= '9' &&
					 !str_equal(what, "deadline") && !str_equal(what, "paused")
				 ? number(trace, line, line->words[2])
				 : 0;

	if (line->count == 2) {
		expect_text(trace, line, what, rollout_state_name(r->state));
	} else if (str_equal(what, "goals")) {
		expect_goals(trace, line);
	} else if (str_equal(what, "stage")) {
		expect_text(trace, line, line->words[3], stage_state_name(r->stages[first].state));
	} else if (str_equal(what, "hold")) {
		expect_text(trace, line, line->words[2], holds[r->hold]);
	} else if (str_equal(what, "reason")) {
		expect_reason(trace, line);
	} else if (str_equal(what, "reason-node")) {
		expect_number(trace, line, first, r->why_node);
	} else if (str_equal(what, "note")) {
		expect_note(trace, line);
	} else if (str_equal(what, "node")) {
		expect_text(trace, line, line->words[3],
			    node_state_text(rollout_node_state(r, first)));
	} else if (str_equal(what, "places")) {
		uint32_t places = 0;

		for (size_t i = 0; i < r->nodes_count; i++)
			places += r->nodes[i].place;
		expect_number(trace, line, first, places);
	} else if (str_equal(what, "deadline")) {
		expect_deadline(trace, line);
	} else if (str_equal(what, "paused")) {
		expect_number(trace, line, duration(trace, line, line->words[2]),
			      rollout_paused_ms(r, trace->now_ms));
	} else if (str_equal(what, "refused")) {
		expect_refused(trace, line);
	} else if (str_equal(what, "attempt")) {
		expect_number(trace, line, number(trace, line, line->words[3]),
			      r->nodes[first].attempt);
	} else if (str_equal(what, "says")) {
		expect_says(trace, line);
	} else {
		fail_line(trace, line, "not understood");
	}
}

/* ---- playing ---- */

static void play_line(struct trace *trace, const char *text)
{
	struct line line = {.text = text};
	enum rollout_event_kind kind;
	char *rest = line.buffer;

	STR_CUT(line.buffer, text);
	for (char *word = strsep(&rest, " "); word && line.count < WORDS_MAX;
	     word = strsep(&rest, " "))
		if (word[0])
			line.words[line.count++] = word;
	if (str_equal(line.words[0], "="))
		expect(trace, &line);
	else if (str_equal(line.words[0], "after"))
		pass_time(trace, &line, duration(trace, &line, line.words[1]));
	else if (str_equal(line.words[0], "verdict"))
		play_verdict(trace, &line);
	else if (event_word(line.words[0], &kind))
		play_operator(trace, &line, kind);
	else
		play_nodes(trace, &line);
}

void trace_play(struct trace *trace, const char *const *lines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		play_line(trace, lines[i]);
}

void trace_end(struct trace *trace)
{
	struct rollout_id id = id_of_trace();
	COVEY_CLEANUP(rollout_free_p) struct rollout *again = rollout_new(
		&id, &trace->spec, &trace->plan, &trace->from, 1, 1000000, trace->spare);

	for (size_t i = 0; i < trace->journal_count; i++) {
		struct rollout_event event;
		struct err err = {0};

		if (codec_decode(&codec_rollout_event, trace->journal[i].data,
				 trace->journal[i].size, &event, &err) < 0)
			fail_msg("journal: %s", err.text);
		rollout_apply(again, &event);
	}
	assert_int_equal(rollout_hash(again), rollout_hash(trace->rollout));
	trace_drop(trace);
}

void trace_drop(struct trace *trace)
{
	for (size_t i = 0; i < trace->journal_count; i++)
		free(trace->journal[i].data);
	free(trace->journal);
	rollout_free(trace->rollout);
	invariants_free(trace->seen);
	plan_free(&trace->plan);
	deployment_spec_free(&trace->spec);
}
