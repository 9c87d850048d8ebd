/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml builds a tree in which every node knows its line; the binder walks a table of fields over
 * it. The path of the field at hand is one growing text in the file, so that every sentence can
 * name field and line without each binder carrying them. Aliases make the tree a graph: depth and
 * the number of visited nodes are bounded where content is free-form (yml_json).
 */
#include "coordinator/cli/yml.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/file.h"

#include <string.h>

/* ---- sentences ---- */

static int fail_line(struct yml_file *file, size_t line, const char *field, const char *sentence)
{
	return err_set(file->err, -EINVAL, "%s:%zu: %s%s%s", file->name, line, field,
	               *field ? ": " : "", sentence);
}

int yml_fail(struct yml_file *file, const yaml_node_t *node, const char *format, ...)
{
	char sentence[ERR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	return fail_line(file, node->start_mark.line + 1, file->path, sentence);
}

/* ---- loading ---- */

static int check_document(struct yml_file *file, yaml_parser_t *parser)
{
	yaml_document_t second;
	yaml_node_t *root = yaml_document_get_root_node(&file->document);
	bool more;

	if (!root)
		return fail_line(file, 1, "", "the file is empty; write a release or a deployment");
	if (root->type != YAML_MAPPING_NODE)
		return fail_line(file, root->start_mark.line + 1, "",
		                 "the file is not a map; write `key: value` lines");
	if (!yaml_parser_load(parser, &second))
		return -EBADMSG;
	more = yaml_document_get_root_node(&second);
	yaml_document_delete(&second);
	if (more)
		return fail_line(file, 1, "", "the file holds several documents (---); write one");
	return 0;
}

static int parse(struct yml_file *file, const struct bytes *text)
{
	yaml_parser_t parser;
	int r = -EBADMSG;

	if (!yaml_parser_initialize(&parser))
		abort();
	yaml_parser_set_input_string(&parser, text->data, text->size);
	file->loaded = yaml_parser_load(&parser, &file->document);
	if (file->loaded)
		r = check_document(file, &parser);
	if (r == -EBADMSG)
		r = err_set(file->err, -EINVAL, "%s:%zu: this is not YAML: %s%s%s", file->name,
		            parser.problem_mark.line + 1,
		            parser.problem ? parser.problem : "unreadable",
		            parser.context ? " " : "", parser.context ? parser.context : "");
	yaml_parser_delete(&parser);
	return r;
}

int yml_load(struct yml_file *file, const char *name, struct err *err)
{
	struct bytes text = {0};
	int r;

	*file = (struct yml_file){.name = name, .err = err};
	r = file_read(name, LIMIT_YAML_FILE, &text, err);
	if (r < 0)
		return r;
	r = parse(file, &text);
	free(text.data);
	if (r < 0)
		yml_free(file);
	return r;
}

void yml_free(struct yml_file *file)
{
	if (file->loaded)
		yaml_document_delete(&file->document);
	file->loaded = false;
}

/* ---- the tree ---- */

static const yaml_node_t *node_at(struct yml_file *file, int id)
{
	return yaml_document_get_node(&file->document, id);
}

const yaml_node_t *yml_root(struct yml_file *file)
{
	return yaml_document_get_root_node(&file->document);
}

const char *yml_text(const yaml_node_t *node)
{
	const char *text;

	if (node->type != YAML_SCALAR_NODE)
		return NULL;
	text = (const char *)node->data.scalar.value;
	if (strlen(text) != node->data.scalar.length || !*text)
		return NULL;
	if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	    (str_equal(text, "~") || str_equal(text, "null")))
		return NULL;
	return text;
}

const yaml_node_t *yml_get(struct yml_file *file, const yaml_node_t *map, const char *key)
{
	if (map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
	     p++) {
		const char *text = yml_text(node_at(file, p->key));

		if (text && str_equal(text, key))
			return node_at(file, p->value);
	}
	return NULL;
}

static size_t enter(struct yml_file *file, const char *step)
{
	size_t mark = strlen(file->path);

	snprintf(file->path + mark, sizeof(file->path) - mark, "%s", step);
	return mark;
}

size_t yml_enter(struct yml_file *file, const char *key)
{
	char step[YML_PATH_MAX];

	snprintf(step, sizeof(step), "%s%s", file->path[0] ? "." : "", key);
	return enter(file, step);
}

size_t yml_enter_index(struct yml_file *file, size_t index)
{
	char step[32];

	snprintf(step, sizeof(step), "[%zu]", index);
	return enter(file, step);
}

void yml_leave(struct yml_file *file, size_t mark)
{
	file->path[mark] = 0;
}

/* One step of a path such as stages[1].bake: a key, or an index behind it. */
static const yaml_node_t *step_down(struct yml_file *file, const yaml_node_t *node,
                                    const char **path)
{
	char key[64];
	size_t size;

	if (**path == '[') {
		size_t index = strtoul(*path + 1, NULL, 10);

		*path += strcspn(*path, "]") + 1;
		if (node->type != YAML_SEQUENCE_NODE ||
		    index >=
		        (size_t)(node->data.sequence.items.top - node->data.sequence.items.start))
			return NULL;
		return node_at(file, node->data.sequence.items.start[index]);
	}
	*path += **path == '.';
	size = strcspn(*path, ".[");
	if (!size || size >= sizeof(key))
		return NULL;
	memcpy(key, *path, size);
	key[size] = 0;
	*path += size;
	return yml_get(file, node, key);
}

int yml_fail_at(struct yml_file *file, const char *sentence)
{
	const yaml_node_t *at = yml_root(file), *next = at;
	char field[YML_PATH_MAX];
	const char *path = field;

	snprintf(field, sizeof(field), "%.*s", (int)strcspn(sentence, ": "), sentence);
	while (next && *path) {
		next = step_down(file, at, &path);
		at = next ? next : at;
	}
	return fail_line(file, at->start_mark.line + 1, "", sentence);
}

/* ---- binding ---- */

static const struct yml_field *find_field(const struct yml_field *fields, const char *key)
{
	while (fields->key && !str_equal(fields->key, key))
		fields++;
	return fields->key ? fields : NULL;
}

static int unknown_key(struct yml_file *file, const yaml_node_t *node,
                       const struct yml_field *fields, const char *key)
{
	AUTO_STR struct str known = {0};
	size_t mark = yml_enter(file, key);
	int r;

	for (const struct yml_field *f = fields; f->key; f++)
		str_addf(&known, "%s%s", known.size ? ", " : "", f->key);
	r = yml_fail(file, node, "this key is unknown; write one of: %s", str_get(&known));
	yml_leave(file, mark);
	return r;
}

static int bind_pair(struct yml_file *file, const yaml_node_t *map, yaml_node_pair_t *pair,
                     const struct yml_field *fields, void *object)
{
	const yaml_node_t *key_node = node_at(file, pair->key);
	const char *key = yml_text(key_node);
	const struct yml_field *field = key ? find_field(fields, key) : NULL;
	size_t mark;
	int r;

	if (!key)
		return yml_fail(file, key_node, "a key is not a word; write `key: value`");
	if (!field)
		return unknown_key(file, key_node, fields, key);
	mark = yml_enter(file, key);
	if (yml_get(file, map, key) != node_at(file, pair->value))
		r = yml_fail(file, key_node, "this key is there twice; write it once");
	else
		r = field->bind(file, node_at(file, pair->value), field, object);
	if (r == 0)
		yml_leave(file, mark);
	return r;
}

int yml_bind(struct yml_file *file, const yaml_node_t *map, const struct yml_field *fields,
             void *object)
{
	int r;

	if (map->type != YAML_MAPPING_NODE)
		return yml_fail(file, map, "this is not a map; write {%s: ...}", fields->key);
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
	     p++) {
		r = bind_pair(file, map, p, fields, object);
		if (r < 0)
			return r;
	}
	for (const struct yml_field *f = fields; f->key; f++) {
		if (!f->required || yml_get(file, map, f->key))
			continue;
		(void)yml_enter(file, f->key);
		return yml_fail(file, map, "this key is missing; write `%s: ...`", f->key);
	}
	return 0;
}

int yml_map(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
            void *object)
{
	return yml_bind(file, node, field->fields, object);
}

int yml_text_list(struct yml_file *file, const yaml_node_t *node, size_t max,
                  struct text_item **ret_items, size_t *ret_count)
{
	size_t count;

	if (node->type != YAML_SEQUENCE_NODE)
		return yml_fail(file, node, "this is not a list; write [one, two]");
	count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (!count || count > max)
		return yml_fail(file, node, "the list has %zu items; write 1 to %zu", count, max);
	*ret_items = mem_array(count, sizeof(**ret_items));
	*ret_count = count;
	for (size_t i = 0; i < count; i++) {
		const yaml_node_t *item = node_at(file, node->data.sequence.items.start[i]);
		const char *text = yml_text(item);

		if (!text) {
			(void)yml_enter_index(file, i);
			return yml_fail(file, item, "this is not a text; write a word, or \"...\"");
		}
		(*ret_items)[i].text = mem_str(text);
	}
	return 0;
}
