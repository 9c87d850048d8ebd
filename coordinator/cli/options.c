/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table says everything about an option; the code below knows kinds only. Two options may have
 * the same letter (-f: --file, --follow) as long as no verb accepts both. A value is checked where
 * it is read, so that command line and environment obey the same rules and a verb never sees a bad
 * one.
 */
#include "coordinator/cli/options.h"
#include "base/str.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

enum kind { FLAG, TEXT, CHOICE, DURATION, NUMBER, RATE, LIST };

struct option_def {
	const char *name;
	char letter; /* 0: none */
	enum kind kind;
	size_t offset;
	const char *value; /* what help calls it; CHOICE: the words, separated by | */
	const char *help;
};

#define AT(member) offsetof(struct options, member)

static const struct option_def defs[OPTION_COUNT] = {
    [OPTION_COORDINATOR] = {"coordinator", 0, TEXT, AT(coordinator), "URL",
                            "ipc:///run/covey/coordinator/control.sock or tcp://HOST:PORT"},
    [OPTION_HOME] = {"home", 0, TEXT, AT(home), "DIR",
                     "operator.key, release.key, fleet.conf (default ~/.config/covey)"},
    [OPTION_OUTPUT] = {"output", 'o', CHOICE, AT(output), "table|wide|json", "how to print"},
    [OPTION_COLOR] = {"color", 0, CHOICE, AT(color), "auto|always|never",
                      "auto: on a terminal, unless NO_COLOR is set"},
    [OPTION_TIMEOUT] = {"timeout", 0, DURATION, AT(timeout_ms), "TIME",
                        "longest wait: for the end while following, else for an answer"},
    [OPTION_HELP] = {"help", 'h', FLAG, AT(help), NULL, "this text"},
    [OPTION_SELECTOR] = {"selector", 'l', TEXT, AT(selector), "KEY=VALUE,...",
                         "only what has these labels: site in (lyon,paris),hw!=old"},
    [OPTION_YES] = {"yes", 'y', FLAG, AT(yes), NULL, "no questions"},
    [OPTION_DETACH] = {"detach", 0, FLAG, AT(detach), NULL, "start, do not follow"},
    [OPTION_FILE] = {"file", 'f', TEXT, AT(file), "FILE", "the YAML file"},
    [OPTION_FOLLOW] = {"follow", 'f', FLAG, AT(follow), NULL, "go on with what happens next"},
    [OPTION_ARCH] = {"arch", 0, TEXT, AT(arch), "ARCH",
                     "the image's architecture: amd64, arm64, arm/v7 (default: this machine's)"},
    [OPTION_DIR] = {"dir", 0, TEXT, AT(dir), "DIR",
                    "the coordinator's state (default /var/lib/covey/coordinator)"},
    [OPTION_ENDPOINT] = {"endpoint", 0, TEXT, AT(endpoint), "tcp://HOST:PORT",
                         "where nodes and operators reach the coordinator"},
    [OPTION_LABEL] = {"label", 0, LIST, AT(labels), "KEY=VALUE",
                      "a label that nodes get; may be repeated"},
    [OPTION_TTL] = {"ttl", 0, DURATION, AT(ttl_ms), "TIME", "how long it is good (default 1h)"},
    [OPTION_USES] = {"uses", 0, NUMBER, AT(uses), "N", "how many nodes may join (default 1)"},
    [OPTION_APPROVAL] = {"approval", 0, FLAG, AT(approval), NULL,
                         "joined nodes wait for `covey node approve`"},
    [OPTION_LINES] = {"lines", 0, NUMBER, AT(lines), "N", "only the last N"},
    [OPTION_FULL] = {"full", 0, FLAG, AT(full), NULL, "skip the remaining stages"},
    [OPTION_SUPERSEDE] = {"supersede", 0, FLAG, AT(supersede), NULL,
                          "end a rollout of this deployment that is under way"},
    [OPTION_ALLOW_REMOVAL] = {"allow-removal", 0, FLAG, AT(allow_removal), NULL,
                              "take the deployment away from nodes that left the selector"},
    [OPTION_RATE] = {"rate", 0, RATE, AT(rate), "RATE",
                     "what each link carries: 100mbit, 12MiB (default: as last measured)"},
    [OPTION_ORIGIN_RATE] = {"origin-rate", 0, RATE, AT(origin_rate), "RATE",
                            "what the coordinator's link carries (default: as --rate)"},
    [OPTION_OUT] = {"out", 'o', TEXT, AT(out), "FILE", "what to write (default: standard output)"},
    [OPTION_SCHEMA] = {"schema", 0, TEXT, AT(schema), "FILE",
                       "YAML: COLUMN: numeric, categorical or ignore"},
    [OPTION_BINS] = {"bins", 0, NUMBER, AT(bins), "N", "bins of a number, 2 to 60 (default 10)"},
};

static_assert(OPTION_COUNT <= 64, "a set of options is a uint64_t");

static bool accepts(uint64_t accepted, size_t id)
{
	return accepted & UINT64_C(1) << id;
}

void options_init(struct options *options)
{
	*options = (struct options){.ttl_ms = 3600000, .uses = 1};
}

/* ---- values ---- */

static int set_choice(const struct option_def *def, const char *text, void *place)
{
	const char *word = def->value;
	int index = 0;

	for (;;) {
		size_t size = strcspn(word, "|");

		if (strlen(text) == size && strncmp(word, text, size) == 0) {
			memcpy(place, &index, sizeof(index)); /* an int-sized enum */
			return 0;
		}
		if (!word[size])
			return -EINVAL;
		word += size + 1;
		index++;
	}
}

static int set_flag(const char *text, bool *place)
{
	bool on = str_equal(text, "1") || str_equal(text, "true") || str_equal(text, "yes");
	bool off =
	    !*text || str_equal(text, "0") || str_equal(text, "false") || str_equal(text, "no");

	if (!on && !off)
		return -EINVAL;
	*place = on;
	return 0;
}

static int add_to_list(struct option_list *list, const char *text)
{
	if (list->count == OPTION_LIST_MAX)
		return -E2BIG;
	list->items[list->count++] = text;
	return 0;
}

/* 100mbit, 1gbit as networks are sold; or bytes: 12MiB. A second, in any case. */
static int parse_rate(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		const char *unit;
		uint64_t bits;
	} units[] = {{"kbit", 1000}, {"mbit", 1000000}, {"gbit", 1000000000}};
	size_t digits = strspn(text, "0123456789");
	uint64_t value = 0;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		char number[24] = "";

		if (!str_equal(text + digits, units[i].unit) || digits >= sizeof(number))
			continue;
		memcpy(number, text, digits);
		if (str_parse_u64(number, 1000000, &value) < 0 || value == 0)
			return -EINVAL;
		*ret_bytes = value * units[i].bits / 8;
		return 0;
	}
	if (str_parse_size(text, &value) < 0 || value == 0)
		return -EINVAL;
	*ret_bytes = value;
	return 0;
}

static int set_value(struct options *options, const struct option_def *def, const char *text)
{
	void *place = (char *)options + def->offset;

	switch (def->kind) {
	case FLAG:
		return set_flag(text, place);
	case TEXT:
		if (!*text)
			return -EINVAL;
		*(const char **)place = text;
		return 0;
	case CHOICE:
		return set_choice(def, text, place);
	case DURATION:
		return str_parse_duration(text, place);
	case NUMBER:
		return str_parse_u64(text, 1000000, place);
	case RATE:
		return parse_rate(text, place);
	case LIST:
		return add_to_list(place, text);
	}
	return -EINVAL;
}

static const char *wanted(const struct option_def *def)
{
	switch (def->kind) {
	case FLAG:
		return "1 or 0";
	case DURATION:
		return "a time such as 30s, 5m, 2h";
	case NUMBER:
		return "a whole number up to 1000000";
	case RATE:
		return "what a link carries in a second: 100mbit, 12MiB";
	case TEXT:
	case CHOICE:
	case LIST:
		break;
	}
	return def->value;
}

static int set_checked(struct options *options, const struct option_def *def, const char *text,
                       const char *shown, struct err *err)
{
	int r = set_value(options, def, text);

	if (r == -E2BIG)
		return err_set(err, -EINVAL, "%s is given more than %d times", shown,
		               OPTION_LIST_MAX);
	if (r < 0)
		return err_set(err, -EINVAL, "%s does not take `%s`; write %s", shown, text,
		               wanted(def));
	return 0;
}

/* ---- environment ---- */

static void variable_name(const struct option_def *def, char dst[64])
{
	size_t used = (size_t)snprintf(dst, 64, "COVEY_%s", def->name);

	for (size_t i = 0; i < used; i++)
		dst[i] = dst[i] == '-' ? '_' : (char)toupper((unsigned char)dst[i]);
}

int options_environment(struct options *options, uint64_t accepted, struct err *err)
{
	char name[64];
	int r;

	for (size_t id = 0; id < OPTION_COUNT; id++) {
		const char *text;

		if (!accepts(accepted, id) || id == OPTION_HELP)
			continue;
		variable_name(&defs[id], name);
		text = getenv(name);
		if (!text || !*text)
			continue;
		r = set_checked(options, &defs[id], text, name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- command line ---- */

static const struct option_def *find_long(uint64_t accepted, const char *name, size_t size)
{
	for (size_t id = 0; id < OPTION_COUNT; id++)
		if (accepts(accepted, id) && strlen(defs[id].name) == size &&
		    strncmp(defs[id].name, name, size) == 0)
			return &defs[id];
	return NULL;
}

static const struct option_def *find_letter(uint64_t accepted, char letter)
{
	for (size_t id = 0; id < OPTION_COUNT; id++)
		if (accepts(accepted, id) && defs[id].letter == letter)
			return &defs[id];
	return NULL;
}

struct reader {
	struct options *options;
	uint64_t accepted;
	uint64_t seen; /* lists from the environment give way to the command line */
	int argc;
	char **argv;
	int at;
	struct err *err;
};

static int take_value(struct reader *r, const struct option_def *def, const char *inlined,
                      const char *shown)
{
	uint64_t bit = UINT64_C(1) << (def - defs);

	if (def->kind == LIST && !(r->seen & bit))
		((struct option_list *)(void *)((char *)r->options + def->offset))->count = 0;
	r->seen |= bit;
	if (!inlined && def->kind != FLAG) {
		if (r->at >= r->argc)
			return err_set(r->err, -EINVAL, "%s needs a value; write %s", shown,
			               wanted(def));
		inlined = r->argv[r->at++];
	}
	return set_checked(r->options, def, inlined ? inlined : "1", shown, r->err);
}

static int read_long(struct reader *r, const char *arg)
{
	size_t size = strcspn(arg + 2, "=");
	const struct option_def *def = find_long(r->accepted, arg + 2, size);
	char shown[64];

	snprintf(shown, sizeof(shown), "--%.*s", (int)(size < 48 ? size : 48), arg + 2);
	if (!def)
		return err_set(r->err, -EINVAL, "there is no option %s here", shown);
	return take_value(r, def, arg[2 + size] == '=' ? arg + 3 + size : NULL, shown);
}

/* -y, -o json, -ojson, -yo json */
static int read_letters(struct reader *r, const char *arg)
{
	for (const char *c = arg + 1; *c; c++) {
		const struct option_def *def = find_letter(r->accepted, *c);
		char shown[3] = {'-', *c, 0};
		int result;

		if (!def)
			return err_set(r->err, -EINVAL, "there is no option %s here", shown);
		if (def->kind != FLAG)
			return take_value(r, def, c[1] ? c + 1 : NULL, shown);
		result = take_value(r, def, NULL, shown);
		if (result < 0)
			return result;
	}
	return 0;
}

static int add_word(struct reader *r, const char *word)
{
	if (r->options->args_count == OPTION_ARGS_MAX)
		return err_set(r->err, -EINVAL, "more than %d arguments", OPTION_ARGS_MAX);
	r->options->args[r->options->args_count++] = word;
	return 0;
}

int options_parse(struct options *options, uint64_t accepted, bool stop_at_word, int argc,
                  char **argv, int *at, struct err *err)
{
	struct reader reader = {.options = options,
	                        .accepted = accepted,
	                        .argc = argc,
	                        .argv = argv,
	                        .at = *at,
	                        .err = err};
	bool ended = false;
	int r = 0;

	while (r == 0 && reader.at < argc) {
		const char *arg = argv[reader.at];
		bool word = ended || arg[0] != '-' || !arg[1];

		if (word && stop_at_word)
			break;
		reader.at++;
		if (word)
			r = add_word(&reader, arg);
		else if (str_equal(arg, "--"))
			ended = true;
		else if (arg[1] == '-')
			r = read_long(&reader, arg);
		else
			r = read_letters(&reader, arg);
	}
	*at = reader.at;
	return r;
}

void options_describe(uint64_t accepted, FILE *out)
{
	for (size_t id = 0; id < OPTION_COUNT; id++) {
		const struct option_def *def = &defs[id];
		char left[64];

		if (!accepts(accepted, id))
			continue;
		snprintf(left, sizeof(left), "%c%c%s --%s%s%s", def->letter ? '-' : ' ',
		         def->letter ? def->letter : ' ', def->letter ? "," : " ", def->name,
		         def->value ? " " : "", def->value ? def->value : "");
		fprintf(out, "  %-34s %s\n", left, def->help);
	}
}
