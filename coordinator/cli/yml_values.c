/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of single values in Covey's files, each with the sentence that says what to write
 * instead, and free-form values as JSON. The units are those of base/str.h everywhere.
 */
#include "coordinator/cli/yml.h"
#include "base/mem.h"
#include "base/selector.h"
#include "base/str.h"
#include "protocol/manifest.h"

#include <math.h>
#include <string.h>

enum { JSON_DEPTH_MAX = 32, JSON_NODES_MAX = 10000 };

static void *place_of(const struct yml_field *field, void *object)
{
	return (char *)object + field->offset;
}

/* The text of a scalar, or NULL and the sentence. */
static const char *need_text(struct yml_file *file, const yaml_node_t *node, const char *want)
{
	const char *text = yml_text(node);

	if (text)
		return text;
	if (node->type == YAML_SCALAR_NODE)
		(void)yml_fail(file, node, "the value is empty; write %s", want);
	else
		(void)yml_fail(file, node, "this is a %s; write %s",
		               node->type == YAML_SEQUENCE_NODE ? "list" : "map", want);
	return NULL;
}

int yml_heap(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
             void *object)
{
	const char *text = need_text(file, node, "a text");

	if (!text)
		return -EINVAL;
	if (field->max > 0 && strlen(text) > field->max)
		return yml_fail(file, node, "the text is too long; write at most %llu characters",
		                (unsigned long long)field->max);
	*(char **)place_of(field, object) = mem_str(text);
	return 0;
}

int yml_array(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
              void *object)
{
	const char *text = need_text(file, node, "a text");

	if (!text)
		return -EINVAL;
	if (str_set(place_of(field, object), field->max, text) < 0)
		return yml_fail(file, node, "the text is too long; write at most %llu characters",
		                (unsigned long long)field->max - 1);
	return 0;
}

int yml_name(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
             void *object)
{
	const char *text = need_text(file, node, "a name");

	if (!text)
		return -EINVAL;
	if (!name_is_valid(text))
		return yml_fail(file, node,
		                "`%.80s` is not a name; write 1 to %d of a-z, 0-9, `.` and `-`, a "
		                "letter or digit first",
		                text, LIMIT_NAME);
	return yml_array(file, node, field, object);
}

int yml_selector(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                 void *object)
{
	const char *text = need_text(file, node, "a label selector such as \"site=lyon\", or all");
	struct err why = {0};

	if (!text)
		return -EINVAL;
	if (selector_check(text, &why) < 0)
		return yml_fail(file, node,
		                "this is not a label selector (%s); write for instance \"site in "
		                "(lyon,paris),hw!=old\", or all",
		                why.text);
	return yml_array(file, node, field, object);
}

int yml_bool(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
             void *object)
{
	const char *text = need_text(file, node, "true or false");
	bool on;

	if (!text)
		return -EINVAL;
	on = str_equal(text, "true");
	if (!on && !str_equal(text, "false"))
		return yml_fail(file, node, "`%.80s` is not yes or no; write true or false", text);
	*(bool *)place_of(field, object) = on;
	return 0;
}

int yml_u32(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
            void *object)
{
	const char *text = need_text(file, node, "a whole number");
	uint64_t value = 0;

	if (!text)
		return -EINVAL;
	if (str_parse_u64(text, field->max, &value) < 0 || value < field->min)
		return yml_fail(
		    file, node, "`%.80s` is not allowed; write a whole number from %llu to %llu",
		    text, (unsigned long long)field->min, (unsigned long long)field->max);
	*(uint32_t *)place_of(field, object) = (uint32_t)value;
	return 0;
}

int yml_double(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
               void *object)
{
	const char *text = need_text(file, node, "a number");
	char *end = NULL;
	double value;

	if (!text)
		return -EINVAL;
	value = strtod(text, &end);
	if (*end || !isfinite(value) || strpbrk(text, "xXpP"))
		return yml_fail(file, node, "`%.80s` is not a number; write for instance 0.97",
		                text);
	*(double *)place_of(field, object) = value;
	return 0;
}

int yml_duration(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                 void *object)
{
	const char *text = need_text(file, node, "a time such as 500ms, 2s, 5m or 24h");

	if (!text)
		return -EINVAL;
	if (str_parse_duration(text, place_of(field, object)) < 0)
		return yml_fail(file, node,
		                "`%.80s` is not a time; write for instance 500ms, 2s, 5m or 24h",
		                text);
	return 0;
}

int yml_size(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
             void *object)
{
	const char *text = need_text(file, node, "a size such as 64KiB or 512MiB");

	if (!text)
		return -EINVAL;
	if (str_parse_size(text, place_of(field, object)) < 0)
		return yml_fail(file, node,
		                "`%.80s` is not a size; write for instance 64KiB, 512MiB or 2GiB",
		                text);
	return 0;
}

int yml_share(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
              void *object)
{
	const char *text = need_text(file, node, "a count, or a share such as 20%");
	struct share *share = place_of(field, object);
	char number[16] = "";
	uint64_t value = 0;
	size_t size;
	bool percent;

	if (!text)
		return -EINVAL;
	size = strlen(text);
	percent = text[size - 1] == '%';
	snprintf(number, sizeof(number), "%.*s", (int)(size - percent), text);
	if (size >= sizeof(number) || str_parse_u64(number, LIMIT_FLEET, &value) < 0)
		return yml_fail(
		    file, node,
		    "`%.80s` is neither a count nor a share; write for instance 2 or 20%%", text);
	if (percent && value > 100)
		return yml_fail(file, node, "`%s` is more than everything; write at most 100%%",
		                text);
	*share = (struct share){percent, (uint32_t)value};
	return 0;
}

int yml_word(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
             void *object)
{
	AUTO_STR struct str all = {0};
	const char *text;
	int index = 0;

	for (const char *const *w = field->words; *w; w++)
		str_addf(&all, "%s%s", w == field->words ? "" : w[1] ? ", " : " or ", *w);
	text = need_text(file, node, str_get(&all));
	if (!text)
		return -EINVAL;
	while (field->words[index] && !str_equal(field->words[index], text))
		index++;
	if (!field->words[index])
		return yml_fail(file, node, "`%.80s` is not one of the words; write %s", text,
		                str_get(&all));
	memcpy(place_of(field, object), &index, sizeof(index)); /* enums are int-sized */
	return 0;
}

/* ---- free-form values ---- */

struct to_json {
	struct yml_file *file;
	unsigned depth, nodes;
};

static int convert(struct to_json *c, const yaml_node_t *node, json_t **ret_value);

/* Plain scalars: YAML 1.2's core schema, as JSON can hold it. */
static json_t *convert_scalar(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	json_t *value = NULL;

	if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return json_stringn(text, node->data.scalar.length);
	if (!*text || str_equal(text, "~"))
		return json_null();
	if (strspn(text, "0123456789+-.eE") == strlen(text) || str_equal(text, "true") ||
	    str_equal(text, "false") || str_equal(text, "null"))
		value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	return value ? value : json_stringn(text, node->data.scalar.length);
}

static int convert_list(struct to_json *c, const yaml_node_t *node, json_t *list)
{
	for (yaml_node_item_t *i = node->data.sequence.items.start;
	     i < node->data.sequence.items.top; i++) {
		json_t *value = NULL;
		int r = convert(c, yaml_document_get_node(&c->file->document, *i), &value);

		if (r < 0)
			return r;
		json_array_append_new(list, value);
	}
	return 0;
}

static int convert_map(struct to_json *c, const yaml_node_t *node, json_t *object)
{
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++) {
		const yaml_node_t *key_node = yaml_document_get_node(&c->file->document, p->key);
		const char *key = yml_text(key_node);
		json_t *value = NULL;
		int r;

		if (!key)
			return yml_fail(c->file, key_node,
			                "a key is not a word; write `key: value`");
		if (json_object_get(object, key))
			return yml_fail(c->file, key_node,
			                "the key `%.80s` is there twice; write it once", key);
		r = convert(c, yaml_document_get_node(&c->file->document, p->value), &value);
		if (r < 0)
			return r;
		json_object_set_new(object, key, value);
	}
	return 0;
}

static int convert(struct to_json *c, const yaml_node_t *node, json_t **ret_value)
{
	json_t *value;
	int r = 0;

	if (++c->nodes > JSON_NODES_MAX || c->depth == JSON_DEPTH_MAX)
		return yml_fail(
		    c->file, node,
		    "this is nested too deeply or too large; write at most %d levels and %d values",
		    JSON_DEPTH_MAX, JSON_NODES_MAX);
	c->depth++;
	if (node->type == YAML_SEQUENCE_NODE) {
		value = json_array();
		r = convert_list(c, node, value);
	} else if (node->type == YAML_MAPPING_NODE) {
		value = json_object();
		r = convert_map(c, node, value);
	} else {
		value = convert_scalar(node);
		if (!value)
			r = yml_fail(c->file, node, "this text is not UTF-8; write it in UTF-8");
	}
	c->depth--;
	if (r < 0)
		json_decref(value);
	else
		*ret_value = value;
	return r;
}

int yml_json(struct yml_file *file, const yaml_node_t *node, json_t **ret_value)
{
	struct to_json c = {.file = file};

	return convert(&c, node, ret_value);
}
