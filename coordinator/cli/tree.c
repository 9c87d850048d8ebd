/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drawing is a function from the rollout's JSON to text; only tree_show() knows about cursors. On a
 * large fleet the tree shows the nodes in which something happens and counts the others, so that it
 * always fits the screen: what does not fit could not be redrawn in place.
 */
#include "coordinator/cli/tree.h"
#include "base/mem.h"

#include <string.h>
#include <sys/ioctl.h>

enum { NAME_WIDTH = 20, STATE_WIDTH = 12, RATE_SPAN_MS = 1500 };

struct tree {
	FILE *file;
	bool live, color;
	size_t drawn;   /* lines on the screen that are ours */
	json_t *before; /* for tree_changes */
	json_t *rates;  /* node -> {bytes, at, rate} */
};

struct tree *tree_new(FILE *file, bool live, bool color)
{
	struct tree *tree = mem_alloc(sizeof(*tree));

	*tree = (struct tree){.file = file, .live = live, .color = color, .rates = json_object()};
	return tree;
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	json_decref(tree->before);
	json_decref(tree->rates);
	free(tree);
}

/* ---- lines ---- */

/* Cuts text to width characters, in whole UTF-8 characters. */
static void add_cut(struct str *s, const char *text, size_t width)
{
	size_t used = 0, i = 0;

	for (; text[i]; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && used++ == width)
			break;
	str_add_bytes(s, text, i);
}

static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* "  name      state   rest", where only the state has a colour; never wider than width. */
static void add_line(const struct tree *tree, struct str *s, size_t width, size_t indent,
                     const char *name, const char *state, const char *rest)
{
	AUTO_STR struct str plain_name = {0}, plain_state = {0}, plain_rest = {0};
	size_t used = indent, room;

	output_safe(&plain_name, name, false);
	output_safe(&plain_state, state, false);
	output_safe(&plain_rest, rest, false);
	str_addf(s, "%*s", (int)indent, "");
	room = width > used ? width - used : 0;
	add_cut(s, str_get(&plain_name), room);
	used += width_of(str_get(&plain_name));
	for (; used < NAME_WIDTH + 4 && used + 1 < width; used++)
		str_add(s, " ");
	str_add(s, " ");
	used++;
	if (used + STATE_WIDTH < width) {
		str_addf(s, "%s%-*s%s", tree->color ? output_state_color(state) : "", STATE_WIDTH,
		         str_get(&plain_state), tree->color ? "\033[0m" : "");
		used += width_of(str_get(&plain_state)) > STATE_WIDTH
		            ? width_of(str_get(&plain_state))
		            : STATE_WIDTH;
		if (plain_rest.size && used + 2 < width) {
			str_add(s, " ");
			add_cut(s, str_get(&plain_rest), width - used - 1);
		}
	}
	while (s->size && s->data[s->size - 1] == ' ')
		s->data[--s->size] = 0;
	str_add(s, "\n");
}

/* ---- what stands in a line ---- */

static const char *node_name(const json_t *node)
{
	const char *name = output_text(node, "name");

	return *name ? name : output_text(node, "node");
}

static void add_reason(struct str *s, const json_t *object)
{
	const json_t *reason = output_member(object, "reason");

	if (!reason || !*output_text(reason, "text"))
		return;
	str_addf(s, "%s%s%s%s%s: %s", s->size ? "  " : "", output_text(reason, "phase"),
	         *output_text(reason, "check") ? " (" : "", output_text(reason, "check"),
	         *output_text(reason, "check") ? ")" : "", output_text(reason, "text"));
}

/* Bytes a second of one node, smoothed over RATE_SPAN_MS. */
static double rate_of(struct tree *tree, const char *node, uint64_t bytes, uint64_t now_ms)
{
	json_t *old = json_object_get(tree->rates, node);
	uint64_t old_bytes = (uint64_t)json_integer_value(json_object_get(old, "bytes"));
	uint64_t old_at = (uint64_t)json_integer_value(json_object_get(old, "at"));
	double rate = json_real_value(json_object_get(old, "rate"));

	if (old && bytes >= old_bytes && now_ms < old_at + RATE_SPAN_MS)
		return rate;
	if (old && bytes >= old_bytes && now_ms > old_at)
		rate = (double)(bytes - old_bytes) * 1000 / (double)(now_ms - old_at);
	json_object_set_new(tree->rates, node,
	                    json_pack("{sIsIsf}", "bytes", (json_int_t)bytes, "at",
	                              (json_int_t)now_ms, "rate", rate));
	return rate;
}

static void add_bytes(struct tree *tree, struct str *s, const json_t *node, uint64_t now_ms)
{
	uint64_t done = (uint64_t)json_integer_value(output_member(node, "bytes_done"));
	uint64_t total = (uint64_t)json_integer_value(output_member(node, "bytes_total"));
	uint64_t peers = (uint64_t)json_integer_value(output_member(node, "bytes_from_peers"));
	uint64_t said = (uint64_t)json_integer_value(output_member(node, "fetch_rate"));
	char done_text[STR_SIZE_MAX], total_text[STR_SIZE_MAX], rate_text[STR_SIZE_MAX];
	char left[STR_DURATION_MAX];
	double rate;

	if (!total || done >= total)
		return;
	str_format_size(done_text, done);
	str_format_size(total_text, total);
	str_addf(s, "%s of %s", done_text, total_text);
	if (peers && done)
		str_addf(s, ", %u %% from nodes",
		         (unsigned)(peers < done ? peers * 100 / done : 100));
	rate = said ? (double)said : rate_of(tree, node_name(node), done, now_ms);
	if (rate < 1)
		return;
	str_format_size(rate_text, (uint64_t)rate);
	str_format_duration(left, (uint64_t)((double)(total - done) / rate) * 1000);
	str_addf(s, "  %s/s  %s left", rate_text, str_equal(left, "0ms") ? "1s" : left);
}

static void add_time_left(struct str *s, const json_t *stage, uint64_t now_ms)
{
	uint64_t end = output_parse_time(output_text(stage, "bake_ends_at"));
	char text[STR_DURATION_MAX];

	if (end <= now_ms)
		return;
	str_format_duration(text, (end - now_ms + 999) / 1000 * 1000);
	str_addf(s, "  %s left", text);
}

static bool is_interesting(const json_t *node)
{
	const char *state = output_text(node, "state");

	return !str_equal(state, "pending") && !str_equal(state, "serving");
}

static json_int_t stage_of(const json_t *node)
{
	const json_t *stage = output_member(node, "stage");

	return json_is_integer(stage) ? json_integer_value(stage) : -1;
}

/* ---- the tree ---- */

struct drawing {
	struct tree *tree;
	const json_t *rollout;
	uint64_t now_ms;
	size_t width, rows; /* rows that are left for nodes */
	struct str *text;
};

static void draw_nodes(struct drawing *d, json_int_t stage, bool boring)
{
	const json_t *nodes = output_member(d->rollout, "nodes");

	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);
		AUTO_STR struct str rest = {0};

		if (stage_of(node) != stage || (!boring && !is_interesting(node)) || !d->rows)
			continue;
		add_bytes(d->tree, &rest, node, d->now_ms);
		add_reason(&rest, node);
		if (!rest.size)
			str_add(&rest, output_text(node, "release"));
		add_line(d->tree, d->text, d->width, 4, node_name(node), output_text(node, "state"),
		         str_get(&rest));
		d->rows--;
	}
}

static size_t count_nodes(const json_t *stage)
{
	const json_t *nodes = output_member(stage, "nodes");

	return json_is_integer(nodes) ? (size_t)json_integer_value(nodes) : json_array_size(nodes);
}

static void draw_stage(struct drawing *d, const json_t *stage, json_int_t index, bool boring)
{
	AUTO_STR struct str name = {0}, rest = {0};
	size_t count = count_nodes(stage);

	str_addf(&name, "stage %lld %s", (long long)index + 1, output_text(stage, "name"));
	str_addf(&rest, "%zu node%s", count, count == 1 ? "" : "s");
	if (str_equal(output_text(stage, "state"), "baking"))
		add_time_left(&rest, stage, d->now_ms);
	add_line(d->tree, d->text, d->width, 2, str_get(&name), output_text(stage, "state"),
	         str_get(&rest));
	draw_nodes(d, index, boring);
}

static void draw_gates(struct drawing *d)
{
	const json_t *gates = output_member(d->rollout, "gates");

	for (size_t i = 0; i < json_array_size(gates) && d->rows; i++, d->rows--) {
		const json_t *gate = json_array_get(gates, i);
		AUTO_STR struct str name = {0}, rest = {0};

		str_addf(&name, "gate %s", output_text(gate, "name"));
		str_add(&rest, output_text(gate, "text"));
		if (str_equal(output_text(gate, "evidence"), "none"))
			str_addf(&rest, "%sevidence: none", rest.size ? "  " : "");
		add_line(d->tree, d->text, d->width, 2, str_get(&name),
		         output_text(gate, "verdict"), str_get(&rest));
	}
}

static void draw_head(struct drawing *d)
{
	const char *from = output_text(d->rollout, "from");
	AUTO_STR struct str rest = {0};

	str_addf(&rest, "%s -> %s  rollout %.12s", *from ? from : "(nothing)",
	         output_text(d->rollout, "to"), output_text(d->rollout, "id"));
	add_reason(&rest, d->rollout);
	add_line(d->tree, d->text, d->width, 0, output_text(d->rollout, "deployment"),
	         output_text(d->rollout, "state"), str_get(&rest));
}

/* What goes on, in the coordinator's words, unless the reason has said it. */
static void add_summary(struct str *s, const json_t *rollout)
{
	const char *text = output_text(rollout, "text"),
	           *evidence = output_text(rollout, "evidence");

	if (*text && !str_equal(text, output_text(rollout, "reason.text")))
		str_addf(s, "%s%s%s", text, *evidence ? "; evidence: " : "", evidence);
}

static void draw_summary(struct drawing *d)
{
	AUTO_STR struct str words = {0}, safe = {0};

	add_summary(&words, d->rollout);
	if (!words.size || d->width < 4)
		return;
	output_safe(&safe, str_get(&words), false);
	str_add(d->text, "  ");
	add_cut(d->text, str_get(&safe), d->width - 2);
	str_add(d->text, "\n");
}

void tree_draw(struct tree *tree, const json_t *rollout, uint64_t now_ms, size_t width, size_t rows,
               struct str *text)
{
	const json_t *stages = output_member(rollout, "stages");
	size_t nodes = json_array_size(output_member(rollout, "nodes"));
	size_t fixed = 3 + json_array_size(stages);
	struct drawing d = {tree, rollout, now_ms, width, rows > fixed ? rows - fixed : 0, text};
	bool all_fit = nodes + json_array_size(output_member(rollout, "gates")) <= d.rows;

	draw_head(&d);
	draw_summary(&d);
	for (size_t i = 0; i < json_array_size(stages) && i + 3 < rows; i++)
		draw_stage(&d, json_array_get(stages, i), (json_int_t)i, all_fit);
	draw_gates(&d);
}

/* ---- changes ---- */

static const json_t *find_node(const json_t *rollout, const char *name)
{
	const json_t *nodes = output_member(rollout, "nodes");

	for (size_t i = 0; i < json_array_size(nodes); i++)
		if (str_equal(node_name(json_array_get(nodes, i)), name))
			return json_array_get(nodes, i);
	return NULL;
}

static bool changed(const json_t *before, const json_t *after)
{
	return !str_equal(output_text(before, "state"), output_text(after, "state"));
}

static void add_change(struct str *text, const char *what, const char *name, const json_t *object)
{
	AUTO_STR struct str line = {0}, reason = {0};

	add_reason(&reason, object);
	if (!reason.size && str_equal(output_text(object, "state"), "completed"))
		add_summary(&reason, object);
	str_addf(&line, "%s %s: %s%s%s", what, name, output_text(object, "state"),
	         reason.size ? ": " : "", str_get(&reason));
	output_safe(text, str_get(&line), false);
	str_add(text, "\n");
}

static void add_head_change(struct str *text, const json_t *after, bool first)
{
	AUTO_STR struct str name = {0};
	const char *from = output_text(after, "from");

	str_addf(&name, "%.12s", output_text(after, "id"));
	if (first)
		str_addf(&name, " of %s (%s -> %s)", output_text(after, "deployment"),
		         *from ? from : "nothing", output_text(after, "to"));
	add_change(text, "rollout", str_get(&name), after);
}

void tree_changes(const json_t *before, const json_t *after, struct str *text)
{
	const json_t *old_stages = output_member(before, "stages");
	const json_t *stages = output_member(after, "stages");
	const json_t *nodes = output_member(after, "nodes");

	if (!before)
		add_head_change(text, after, true);
	for (size_t i = 0; i < json_array_size(stages); i++) {
		const json_t *stage = json_array_get(stages, i);
		AUTO_STR struct str name = {0};

		str_addf(&name, "%zu %s", i + 1, output_text(stage, "name"));
		if (changed(json_array_get(old_stages, i), stage))
			add_change(text, "stage", str_get(&name), stage);
	}
	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);

		if (changed(find_node(before, node_name(node)), node))
			add_change(text, "node", node_name(node), node);
	}
	if (before && changed(before, after)) /* what the stages and nodes above led to */
		add_head_change(text, after, false);
}

/* ---- on the screen ---- */

static void redraw(struct tree *tree, const json_t *rollout, uint64_t now_ms)
{
	struct winsize size = {0};
	AUTO_STR struct str text = {0};

	if (ioctl(fileno(tree->file), TIOCGWINSZ, &size) < 0 || !size.ws_col || size.ws_row < 4)
		size = (struct winsize){.ws_col = 80, .ws_row = 24};
	tree_draw(tree, rollout, now_ms, size.ws_col, size.ws_row - 1u, &text);
	if (tree->drawn)
		fprintf(tree->file, "\033[%zuA\r\033[J", tree->drawn);
	fputs(str_get(&text), tree->file);
	tree->drawn = 0;
	for (const char *c = str_get(&text); *c; c++)
		tree->drawn += *c == '\n';
}

void tree_show(struct tree *tree, const json_t *rollout, uint64_t now_ms)
{
	AUTO_STR struct str text = {0};

	if (tree->live) {
		redraw(tree, rollout, now_ms);
	} else {
		tree_changes(tree->before, rollout, &text);
		fputs(str_get(&text), tree->file);
		json_decref(tree->before);
		tree->before = json_incref((json_t *)(uintptr_t)rollout);
	}
	fflush(tree->file);
}
