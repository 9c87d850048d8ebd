/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table is columns (title, JSON member, kind) over the coordinator's own JSON: a new verb adds
 * rows to an array and no code. Every cell passes through output_safe() once, on its way out; what
 * is machine-readable is escaped by jansson down to ASCII for the same reason.
 */
#include "coordinator/cli/output.h"
#include "base/clock.h"
#include "base/mem.h"

#include <libsmartcols/libsmartcols.h>
#include <string.h>
#include <time.h>

void output_init(struct output *out, const struct options *options)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	bool terminal = isatty(STDOUT_FILENO);

	*out = (struct output){.format = options->output, .file = stdout, .terminal = terminal};
	if (options->color == COLOR_ALWAYS)
		out->color = true;
	else if (options->color == COLOR_AUTO)
		out->color =
		    terminal && !(no_color && *no_color) && !(term && str_equal(term, "dumb"));
	if (options->output == OUTPUT_JSON)
		out->color = false;
}

/* ---- harmless text ---- */

/* Decodes one UTF-8 character; returns its length, 0 when the bytes are not one. */
static size_t decode(const unsigned char *at, uint32_t *ret_code)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t size = at[0] < 0x80 ? 1 : at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : at[0] >= 0xe0 ? 3 : 2;
	uint32_t code;

	if (size == 1) {
		*ret_code = at[0];
		return 1;
	}
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	code = at[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	if (code < smallest[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return size;
}

/* Control characters, and those that reorder or hide what stands beside them. */
static bool is_harmful(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x61c ||
	       (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
	       (code >= 0xfff9 && code <= 0xfffb) || (code >= 0xe0000 && code <= 0xe007f);
}

void output_safe(struct str *s, const char *text, bool keep_lines)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		uint32_t code = 0;
		size_t size = decode(at, &code);

		if (keep_lines && (*at == '\n' || *at == '\t'))
			str_add_bytes(s, at, 1);
		else if (!size)
			str_addf(s, "\\x%02x", *at);
		else if (!is_harmful(code))
			str_add_bytes(s, at, size);
		else if (code < 0x100)
			str_addf(s, "\\x%02x", (unsigned)code);
		else
			str_addf(s, "\\u%04x", (unsigned)code);
		at += size ? size : 1;
	}
}

/* ---- members ---- */

const json_t *output_member(const json_t *object, const char *member)
{
	const char *dot = strchr(member, '.');
	char head[64];

	if (!dot)
		return json_object_get(object, member);
	snprintf(head, sizeof(head), "%.*s", (int)(dot - member), member);
	return output_member(json_object_get(object, head), dot + 1);
}

const char *output_text(const json_t *object, const char *member)
{
	const char *text = json_string_value(output_member(object, member));

	return text ? text : "";
}

uint64_t output_number(const json_t *object, const char *member)
{
	return (uint64_t)json_integer_value(output_member(object, member));
}

uint64_t output_parse_time(const char *text)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	uint64_t ms = 0, place = 100;

	if (!rest)
		return 0;
	if (*rest == '.')
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, place /= 10)
			ms += (uint64_t)(*rest - '0') * place;
	if (!str_equal(rest, "Z"))
		return 0;
	return (uint64_t)timegm(&tm) * 1000 + ms;
}

/* ---- cells ---- */

static void add_scalar(struct str *s, const json_t *value)
{
	if (json_is_string(value))
		output_safe(s, json_string_value(value), false);
	else if (json_is_integer(value))
		str_addf(s, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		str_addf(s, "%.6g", json_real_value(value));
	else if (json_is_boolean(value))
		str_add(s, json_is_true(value) ? "yes" : "no");
	else if (value && !json_is_null(value)) {
		AUTO_FREE char *dump = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);

		output_safe(s, dump ? dump : "?", false);
	}
}

static void add_labels(struct str *s, const json_t *value)
{
	const char *key;
	json_t *item;
	bool first = true;

	json_object_foreach((json_t *)(uintptr_t)value, key, item)
	{
		str_add(s, first ? "" : ",");
		output_safe(s, key, false);
		str_add(s, "=");
		add_scalar(s, item);
		first = false;
	}
}

static void add_list(struct str *s, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(value); i++) {
		str_add(s, i ? "," : "");
		add_scalar(s, json_array_get(value, i));
	}
}

static void add_slots(struct str *s, const json_t *value)
{
	bool first = true;

	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *slot = json_array_get(value, i);

		if (str_equal(output_text(slot, "state"), "empty"))
			continue;
		str_add(s, first ? "" : ", ");
		output_safe(s, output_text(slot, "deployment"), false);
		str_add(s, "/");
		output_safe(s, output_text(slot, "colour"), false);
		str_add(s, " ");
		output_safe(s, output_text(slot, "release"), false);
		str_add(s, " ");
		output_safe(s, output_text(slot, "state"), false);
		first = false;
	}
}

static void add_age(struct str *s, const json_t *value)
{
	char text[STR_DURATION_MAX];
	uint64_t now = clock_unix_ms();
	uint64_t at = json_is_string(value) ? output_parse_time(json_string_value(value)) : 0;

	if (!at) {
		add_scalar(s, value);
		return;
	}
	str_format_duration(text, (at > now ? at - now : now - at) / 1000 * 1000);
	str_addf(s, at > now ? "in %s" : "%s ago", str_equal(text, "0ms") ? "0s" : text);
}

/* "blake2b:0123456789ab..." and ids become 12 digits: enough to name them again. */
static void add_short(struct str *s, const json_t *value, bool wide)
{
	const char *text = json_is_string(value) ? json_string_value(value) : "";
	char cut[16];

	if (!wide && str_starts(text, "blake2b:"))
		text += strlen("blake2b:");
	snprintf(cut, sizeof(cut), "%.12s", text);
	output_safe(s, wide ? text : cut, false);
}

static void add_number(struct str *s, const json_t *value, void (*format)(char *, uint64_t))
{
	char text[32];

	if (!json_is_integer(value) || json_integer_value(value) < 0) {
		add_scalar(s, value);
		return;
	}
	format(text, (uint64_t)json_integer_value(value));
	str_add(s, text);
}

void output_cell(struct str *s, const json_t *object, const struct column *column, bool wide)
{
	const json_t *value = output_member(object, column->member);

	switch (column->kind) {
	case COLUMN_TEXT:
	case COLUMN_STATE:
		add_scalar(s, value);
		break;
	case COLUMN_BYTES:
		add_number(s, value, str_format_size);
		break;
	case COLUMN_DURATION:
		add_number(s, value, str_format_duration);
		break;
	case COLUMN_AGE:
		add_age(s, value);
		break;
	case COLUMN_LABELS:
		add_labels(s, value);
		break;
	case COLUMN_COUNT:
		str_addf(s, "%zu", json_array_size(value));
		break;
	case COLUMN_LIST:
		add_list(s, value);
		break;
	case COLUMN_SHORT:
		add_short(s, value, wide);
		break;
	case COLUMN_SLOTS:
		add_slots(s, value);
		break;
	}
}

/* ---- whole values ---- */

void output_json(struct output *out, const json_t *value)
{
	json_dumpf(value, out->file, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	fputc('\n', out->file);
}

void output_json_line(struct output *out, const json_t *value)
{
	json_dumpf(value, out->file, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	fputc('\n', out->file);
	fflush(out->file);
}

static const char *const good[] = {"online", "completed", "serving", "passed", "running", NULL};
static const char *const bad[] = {"failed",  "rolled_back",  "unreachable", "revoked", "stuck",
                                  "aborted", "rolling_back", "reverting",   NULL};

static bool is_one_of(const char *const *words, const char *word)
{
	while (*words && !str_equal(*words, word))
		words++;
	return *words;
}

const char *output_state_color(const char *state)
{
	if (is_one_of(good, state))
		return "\033[32m";
	return is_one_of(bad, state) ? "\033[31m" : "\033[33m";
}

static void fill_row(struct libscols_table *table, const struct column *columns, const json_t *item,
                     const struct output *out)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	bool wide = out->format == OUTPUT_WIDE;
	size_t at = 0;

	if (!line)
		abort();
	for (const struct column *c = columns; c->title; c++) {
		AUTO_STR struct str text = {0};

		if (c->wide && !wide)
			continue;
		output_cell(&text, item, c, wide);
		if (scols_line_set_data(line, at, text.size ? str_get(&text) : "-") < 0)
			abort();
		if (c->kind == COLUMN_STATE && out->color)
			scols_cell_set_color(scols_line_get_cell(line, at),
			                     output_state_color(str_get(&text)));
		at++;
	}
}

void output_table(struct output *out, const struct column *columns, const json_t *array,
                  const char *none)
{
	struct libscols_table *table;

	if (!json_array_size(array)) {
		fprintf(out->file, "%s\n", none);
		return;
	}
	table = scols_new_table();
	if (!table)
		abort();
	scols_table_set_stream(table, out->file);
	scols_table_enable_colors(table, out->color);
	scols_table_enable_nowrap(table, 1);
	scols_table_enable_noencoding(table, 1); /* output_safe() has done it already */
	for (const struct column *c = columns; c->title; c++)
		if (!c->wide || out->format == OUTPUT_WIDE)
			scols_table_new_column(table, c->title, 0, SCOLS_FL_NOEXTREMES);
	for (size_t i = 0; i < json_array_size(array); i++)
		fill_row(table, columns, json_array_get(array, i), out);
	scols_print_table(table);
	scols_unref_table(table);
}

void output_object(struct output *out, const struct column *columns, const json_t *object)
{
	bool wide = out->format == OUTPUT_WIDE;

	for (const struct column *c = columns; c->title; c++) {
		AUTO_STR struct str text = {0};

		if (c->wide && !wide)
			continue;
		output_cell(&text, object, c, wide);
		if (!text.size)
			continue;
		if (c->kind == COLUMN_STATE && out->color)
			fprintf(out->file, "%-14s %s%s\033[0m\n", c->title,
			        output_state_color(str_get(&text)), str_get(&text));
		else
			fprintf(out->file, "%-14s %s\n", c->title, str_get(&text));
	}
}
