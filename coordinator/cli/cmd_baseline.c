/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `covey baseline build`: training data in, frozen bins out. Each column is kept twice while rows
 * are read, as numbers and as a bounded list of different words; what it is, is decided at the end
 * and may be said in a schema. A value that does not fit its column is an error with its line: a
 * baseline with rubbish in it would hide drift for as long as the release lives.
 */
#include "coordinator/cli/cmd.h"
#include "base/mem.h"
#include "coordinator/cli/csv.h"
#include "coordinator/cli/yml.h"
#include "coordinator/cli/yml_files.h"
#include "evidence/build.h"

#include <math.h>
#include <string.h>

enum { WORDS_MAX = 1000, ROWS_MAX = 100000000 };
enum column_type { TYPE_AUTO, TYPE_NUMERIC, TYPE_CATEGORICAL, TYPE_IGNORE };

struct word {
	char *text;
	uint64_t count;
};

struct data_column {
	char name[LIMIT_FEATURE + 1];
	enum column_type type;
	double *numbers;
	size_t numbers_count, numbers_cap;
	struct word *words; /* at most WORDS_MAX; then `many` */
	size_t words_count, words_cap;
	bool many;
	uint64_t numeric, textual;
	uint64_t text_line; /* of the first value that is no number */
	char text[64];
};

struct data {
	const char *name; /* of the file */
	struct data_column *columns;
	size_t columns_count;
	uint64_t rows;
	struct err *err;
};

static void data_free(struct data *data)
{
	for (size_t i = 0; i < data->columns_count; i++) {
		struct data_column *column = &data->columns[i];

		for (size_t k = 0; k < column->words_count; k++)
			free(column->words[k].text);
		free(column->words);
		free(column->numbers);
	}
	free(data->columns);
}

static int wrong(const struct data *data, uint64_t line, const char *column, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

static int wrong(const struct data *data, uint64_t line, const char *column, const char *format,
                 ...)
{
	char sentence[ERR_TEXT_MAX / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	return err_set(data->err, -EINVAL, "%s:%llu: %s%s%s", data->name, (unsigned long long)line,
	               column, *column ? ": " : "", sentence);
}

static int csv_failed(const struct data *data, const struct csv *csv)
{
	char sentence[ERR_TEXT_MAX];

	str_cut(sentence, sizeof(sentence), data->err->text);
	return wrong(data, csv->line, "", "%.200s", sentence);
}

/* ---- the header and the schema ---- */

static int read_header(struct data *data, const struct csv *csv)
{
	if (csv->count > LIMIT_FEATURES)
		return wrong(data, csv->line, "", "there are %zu columns; at most %d are allowed",
		             csv->count, LIMIT_FEATURES);
	data->columns = mem_array(csv->count, sizeof(*data->columns));
	for (size_t i = 0; i < csv->count; i++) {
		struct data_column *column = &data->columns[data->columns_count++];
		const char *name = csv_field(csv, i);
		double number;
		char *end;

		if (i == 0 && strncmp(name, "\xef\xbb\xbf", 3) == 0)
			name += 3; /* a byte order mark */
		if (!*name || STR_SET(column->name, name) < 0 || strpbrk(name, " \t=\n"))
			return wrong(data, csv->line, "",
			             "`%.80s` is not a name for a column; write a header row with "
			             "names of 1 to %d characters without blanks", name, LIMIT_FEATURE);
		number = strtod(name, &end);
		if (!*end && isfinite(number))
			return wrong(data, csv->line, "",
			             "`%.80s` is a number; the first row holds the names of the "
			             "columns", name);
		for (size_t k = 0; k < i; k++)
			if (str_equal(data->columns[k].name, column->name))
				return wrong(data, csv->line, column->name, "is there twice");
		if (str_equal(name, FEATURE_CLASS))
			column->type = TYPE_CATEGORICAL;
	}
	return 0;
}

static int bind_schema(struct yml_file *file, struct data *data, const yaml_node_t *key,
                       const yaml_node_t *value)
{
	static const char *const words[] = {"numeric", "categorical", "ignore", NULL};
	const struct yml_field field = {.words = words};
	const char *name = yml_text(key);
	int word = 0, r;

	for (size_t i = 0; name && i < data->columns_count; i++) {
		if (!str_equal(data->columns[i].name, name))
			continue;
		r = yml_word(file, value, &field, &word);
		data->columns[i].type = (enum column_type)(TYPE_NUMERIC + word);
		return r;
	}
	return yml_fail(file, key, "%s has no column `%.80s`", data->name, name ? name : "");
}

static int read_schema(struct data *data, const char *name)
{
	struct yml_file yaml;
	const yaml_node_t *root;
	int r = yml_load(&yaml, name, data->err);

	if (r < 0)
		return r;
	root = yml_root(&yaml);
	for (yaml_node_pair_t *p = root->data.mapping.pairs.start;
	     r == 0 && p < root->data.mapping.pairs.top; p++)
		r = bind_schema(&yaml, data, yaml_document_get_node(&yaml.document, p->key),
		                yaml_document_get_node(&yaml.document, p->value));
	yml_free(&yaml);
	return r;
}

/* ---- rows ---- */

/* As servers must send it: without blanks. One byte too long is kept, for the complaint. */
static void count_word(struct data_column *column, const char *value)
{
	char text[LIMIT_FEATURE + 2];
	size_t i = 0;

	if (column->many)
		return;
	str_cut(text, sizeof(text), value);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == '=')
			*c = '_';
	while (i < column->words_count && !str_equal(column->words[i].text, text))
		i++;
	if (i == WORDS_MAX) {
		column->many = true;
		return;
	}
	if (i == column->words_count) {
		MEM_GROW(column->words, &column->words_cap, column->words_count);
		column->words[column->words_count++] = (struct word){mem_str(text), 0};
	}
	column->words[i].count++;
}

static bool is_missing(const char *text)
{
	return !*text || str_equal(text, "NA") || str_equal(text, "null") ||
	       str_equal(text, "NULL");
}

static void take_value(struct data_column *column, const char *text, uint64_t line)
{
	char *end = NULL;
	double number = is_missing(text) ? NAN : strtod(text, &end);
	bool numeric = !is_missing(text) && !*end && !strpbrk(text, "xXpP");

	if (column->type == TYPE_IGNORE)
		return;
	if (numeric) {
		column->numeric++;
	} else if (!is_missing(text)) {
		if (column->textual++ == 0) {
			column->text_line = line;
			str_cut(column->text, sizeof(column->text), text);
		}
		number = NAN;
	}
	if (column->type != TYPE_CATEGORICAL) {
		MEM_GROW(column->numbers, &column->numbers_cap, column->numbers_count);
		column->numbers[column->numbers_count++] = number;
	}
	if (column->type != TYPE_NUMERIC)
		count_word(column, is_missing(text) ? "" : text);
}

static int read_rows(struct data *data, struct csv *csv)
{
	int r;

	while ((r = csv_next(csv, data->err)) == 1) {
		if (csv->count != data->columns_count)
			return wrong(data, csv->line, "", "%zu fields instead of %zu", csv->count,
			             data->columns_count);
		if (data->rows++ == ROWS_MAX)
			return wrong(data, csv->line, "", "there are more than %d rows", ROWS_MAX);
		for (size_t i = 0; i < csv->count; i++)
			take_value(&data->columns[i], csv_field(csv, i), csv->line);
	}
	return r < 0 ? csv_failed(data, csv) : 0;
}

/* ---- deciding and building ---- */

/* Mostly numbers make a numeric column, and then the rest of it is wrong. */
static int decide(const struct data *data, struct data_column *column)
{
	uint64_t known = column->numeric + column->textual;

	if (column->type == TYPE_AUTO)
		column->type = column->numeric * 10 >= known * 9 ? TYPE_NUMERIC : TYPE_CATEGORICAL;
	if (column->type == TYPE_NUMERIC && column->textual > 0)
		return wrong(data, column->text_line, column->name,
		             "`%.60s` is not a number; correct it, or say `%s: categorical` or `%s: "
		             "ignore` in --schema", column->text, column->name, column->name);
	if (column->type == TYPE_CATEGORICAL && column->many)
		return wrong(data, 1, column->name,
		             "has more than %d different values, which is no category; say `%s: "
		             "ignore` in --schema", WORDS_MAX, column->name);
	if (known == 0 && column->type != TYPE_IGNORE)
		return wrong(data, 1, column->name, "is empty; say `%s: ignore` in --schema",
		             column->name);
	return 0;
}

static int build_words(const struct data_column *column, struct baseline_feature *ret_feature,
                       struct err *err)
{
	AUTO_FREE struct build_value *values =
	    mem_array(column->words_count + 1, sizeof(*values));

	for (size_t i = 0; i < column->words_count; i++) {
		values[i] = (struct build_value){column->words[i].text, column->words[i].count};
		if (strlen(values[i].text) > LIMIT_FEATURE)
			return err_set(err, -EINVAL, "%s: `%.60s...` is longer than %d bytes",
			               column->name, values[i].text, LIMIT_FEATURE);
	}
	return build_categorical(column->name, values, column->words_count, ret_feature, err);
}

static int build(struct data *data, size_t bins, struct baseline *baseline)
{
	int r = 0;

	baseline->observations = data->rows;
	baseline->features = mem_array(data->columns_count, sizeof(*baseline->features));
	for (size_t i = 0; r == 0 && i < data->columns_count; i++) {
		struct data_column *column = &data->columns[i];
		struct baseline_feature *feature = &baseline->features[baseline->features_count];

		r = decide(data, column);
		if (r < 0 || column->type == TYPE_IGNORE)
			continue;
		r = column->type == TYPE_NUMERIC
		        ? build_numeric(column->name, column->numbers, column->numbers_count, bins,
		                        feature, data->err)
		        : build_words(column, feature, data->err);
		baseline->features_count += r == 0;
	}
	if (r == 0 && baseline->features_count == 0)
		r = err_set(data->err, -EINVAL, "%s: every column is ignored", data->name);
	build_finish(baseline);
	return r == 0 ? baseline_check(baseline, data->err) : r;
}

static int read_data(struct data *data, FILE *file, const char *schema)
{
	struct csv csv = {.file = file};
	int r = csv_next(&csv, data->err);

	if (r == 0)
		r = err_set(data->err, -EINVAL, "%s: the file is empty", data->name);
	else if (r < 0)
		r = csv_failed(data, &csv);
	if (r == 1)
		r = read_header(data, &csv);
	if (r == 0 && schema)
		r = read_schema(data, schema);
	if (r == 0)
		r = read_rows(data, &csv);
	if (r == 0 && data->rows == 0)
		r = err_set(data->err, -EINVAL, "%s: there is no row below the header", data->name);
	csv_free(&csv);
	return r;
}

static int write_baseline(struct cli *cli, const struct baseline *baseline)
{
	AUTO_FCLOSE FILE *file = cli->options.out ? fopen(cli->options.out, "we") : NULL;

	if (cli->options.out && !file)
		return cli_fail(cli, EXIT_ERROR, "%s: %s", cli->options.out, strerror(errno));
	baseline_file_write(file ? file : cli->out.file, baseline);
	if (fflush(file ? file : cli->out.file) != 0)
		return cli_fail(cli, EXIT_ERROR, "%s: %s",
		                file ? cli->options.out : "standard output", strerror(errno));
	return EXIT_DONE;
}

int cmd_baseline_build(struct cli *cli)
{
	struct data data = {.name = cli->options.args[0], .err = &cli->err};
	AUTO_FCLOSE FILE *file = fopen(data.name, "re");
	uint64_t bins = cli->options.bins ? cli->options.bins : BUILD_BINS;
	struct baseline baseline = {0};
	int code = EXIT_USAGE;

	if (!file)
		return cli_fail(cli, EXIT_USAGE, "%s: %s", data.name, strerror(errno));
	if (bins < 2 || bins > LIMIT_BINS - BINS_OUTER)
		return cli_fail(cli, EXIT_USAGE, "--bins does not take %llu; write 2 to %d",
		                (unsigned long long)bins, LIMIT_BINS - BINS_OUTER);
	if (read_data(&data, file, cli->options.schema) == 0 &&
	    build(&data, (size_t)bins, &baseline) == 0)
		code = write_baseline(cli, &baseline);
	build_free(&baseline);
	data_free(&data);
	return code;
}
