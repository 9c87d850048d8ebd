/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `covey drift show`: for each feature what the model is used to and what it gets now, as two rows
 * of bars over the same bins: under the lowest edge, the bins, over the highest, missing, unknown.
 */
#include "coordinator/cli/cmd.h"

#include <math.h>

enum { LEVELS = 8 };

static double member_number(const json_t *object, const char *name)
{
	return json_number_value(output_member(object, name));
}

/* Inner bins in their order, with those under and over at the ends, where they belong. */
static size_t place_of(size_t position, size_t inner)
{
	if (position == 0)
		return inner; /* BIN_UNDER */
	if (position <= inner)
		return position - 1;
	return position; /* BIN_OVER, BIN_NAN, BIN_UNSEEN */
}

static void add_bars(struct str *s, const json_t *bins, double most)
{
	static const char *const bars[LEVELS + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	size_t count = json_array_size(bins), inner = count > 4 ? count - 4 : 0;
	double total = 0;

	for (size_t i = 0; i < count; i++)
		total += json_number_value(json_array_get(bins, i));
	for (size_t i = 0; i < count; i++) {
		double n = json_number_value(json_array_get(bins, place_of(i, inner)));
		double level = total > 0 ? ceil(n / total / most * LEVELS) : 0;

		str_add(s, bars[(size_t)fmin(level, LEVELS)]);
	}
}

/* The largest share on either side: both rows have one scale. */
static double largest_share(const json_t *a, const json_t *b)
{
	const json_t *sides[] = {a, b};
	double most = 1e-9;

	for (size_t s = 0; s < 2; s++) {
		double total = 0, largest = 0;

		for (size_t i = 0; i < json_array_size(sides[s]); i++) {
			double n = json_number_value(json_array_get(sides[s], i));

			total += n;
			largest = fmax(largest, n);
		}
		most = total > 0 ? fmax(most, largest / total) : most;
	}
	return most;
}

static void print_row(FILE *file, const char *name, const json_t *baseline, const json_t *now,
                      const json_t *scores)
{
	AUTO_STR struct str line = {0};

	str_add(&line, "    ");
	output_safe(&line, name, false);
	while (line.size < 24)
		str_add(&line, " ");
	str_add(&line, " |");
	add_bars(&line, now, largest_share(baseline, now));
	str_addf(&line, "| %.0f", member_number(scores, "observations"));
	if (json_is_number(output_member(scores, "ln_e")))
		str_addf(&line, "  ln E %.1f  PSI %.3f of %.3f", member_number(scores, "ln_e"),
		         member_number(scores, "psi"), member_number(scores, "psi_critical"));
	fprintf(file, "%s\n", str_get(&line));
}

static void print_feature(FILE *file, const json_t *feature)
{
	const json_t *baseline = output_member(feature, "baseline");
	const json_t *sites = output_member(feature, "sites"),
	             *nodes = output_member(feature, "nodes");
	AUTO_STR struct str head = {0}, bars = {0};

	output_safe(&head, output_text(feature, "name"), false);
	fprintf(file, "  %s: %s\n", str_get(&head),
	        json_is_true(output_member(feature, "drifting")) ? "drifts" : "as its baseline");
	add_bars(&bars, baseline, largest_share(baseline, output_member(feature, "now")));
	fprintf(file, "    %-20s |%s|\n", "baseline", str_get(&bars));
	print_row(file, "now", baseline, output_member(feature, "now"), feature);
	for (size_t i = 0; json_array_size(sites) > 1 && i < json_array_size(sites); i++) {
		const json_t *site = json_array_get(sites, i);

		print_row(file, output_text(site, "site"), baseline, output_member(site, "now"),
		          site);
	}
	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);

		print_row(file, output_text(node, "node"), baseline, output_member(node, "now"),
		          node);
	}
}

static void print_labels(FILE *file, const json_t *labels)
{
	double right = member_number(labels, "right"), wrong = member_number(labels, "wrong");

	if (right + wrong == 0)
		return;
	fprintf(file, "  labels: %.0f of %.0f wrong (%.2f %%)", wrong, right + wrong,
	        100 * wrong / (right + wrong));
	if (json_is_number(output_member(labels, "expected")))
		fprintf(file, ", at most %.2f %% expected%s",
		        100 * member_number(labels, "expected"),
		        json_is_true(output_member(labels, "alarm")) ? ": ALARM" : "");
	fprintf(file, "\n");
}

static void print_deployment(FILE *file, const json_t *deployment)
{
	const json_t *features = output_member(deployment, "features");
	AUTO_STR struct str head = {0};

	output_safe(&head, output_text(deployment, "deployment"), false);
	str_add(&head, ", ");
	output_safe(&head, output_text(deployment, "release"), false);
	fprintf(file, "%s: %s\n", str_get(&head),
	        !json_array_size(features)                            ? "there is no baseline yet"
	        : json_is_true(output_member(deployment, "drifting")) ? "drifts"
	                                                              : "no drift");
	for (size_t i = 0; i < json_array_size(features); i++)
		print_feature(file, json_array_get(features, i));
	print_labels(file, output_member(deployment, "labels"));
}

int cmd_drift_show(struct cli *cli)
{
	AUTO_JSON json_t *answer = NULL;
	int code = client_simple(cli, "drift.show", cmd_body_of_arg(cli, "model"), &answer);

	if (code != EXIT_DONE)
		return code;
	if (cli->options.output == OUTPUT_JSON)
		output_json(&cli->out, answer);
	for (size_t i = 0; cli->options.output != OUTPUT_JSON && i < json_array_size(answer); i++)
		print_deployment(cli->out.file, json_array_get(answer, i));
	if (cli->options.output != OUTPUT_JSON && !json_array_size(answer))
		fprintf(cli->out.file,
		        "its servers have said nothing yet: covey-observe(7) shows how they do\n");
	return EXIT_DONE;
}
