/* SPDX-License-Identifier: Apache-2.0 */
/*
 * release.yaml. Tables say which keys there are; the functions here bind what is more than one
 * value: free keys (env, metrics), alternatives (health), and files that become part of the signed
 * manifest (request and answer bodies, the drift baseline), which are read here so that a missing
 * one is reported with the line that names it.
 */
#include "coordinator/cli/yml_files.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/file.h"
#include "coordinator/cli/yml.h"
#include "evidence/build.h"
#include "protocol/baseline.h"
#include "protocol/manifest.h"

#include <string.h>

#define AT(member) offsetof(struct release_file, release.member)
#define SERIES_LETTERS                                                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"
#define IN(member) offsetof(struct release_smoke, member)

/* Free keys: calls add() for each pair, with the path and the repeated keys taken care of. */
static int each_pair(struct yml_file *file, const yaml_node_t *map, size_t max,
                     int (*add)(struct yml_file *, const char *, const yaml_node_t *,
                                struct release *),
                     struct release *release)
{
	size_t count;

	if (map->type != YAML_MAPPING_NODE)
		return yml_fail(file, map, "this is not a map; write {NAME: value}");
	count = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
	if (count > max)
		return yml_fail(file, map, "there are %zu entries; write at most %zu", count, max);
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
	     p++) {
		const yaml_node_t *key_node = yaml_document_get_node(&file->document, p->key);
		const yaml_node_t *value = yaml_document_get_node(&file->document, p->value);
		const char *key = yml_text(key_node);
		size_t mark;
		int r;

		if (!key)
			return yml_fail(file, key_node, "a key is not a word; write `NAME: value`");
		mark = yml_enter(file, key);
		if (yml_get(file, map, key) != value)
			return yml_fail(file, key_node, "this key is there twice; write it once");
		r = add(file, key, value, release);
		if (r < 0)
			return r;
		yml_leave(file, mark);
	}
	return 0;
}

static int add_env(struct yml_file *file, const char *name, const yaml_node_t *value,
                   struct release *release)
{
	if (strchr(name, '='))
		return yml_fail(file, value,
		                "a variable's name has no `=`; write {NAME: \"value\"}");
	if (value->type != YAML_SCALAR_NODE ||
	    strlen((char *)value->data.scalar.value) != value->data.scalar.length)
		return yml_fail(file, value, "this is not a text; write {NAME: \"value\"}");
	release->env[release->env_count++] =
	    (struct env_var){mem_str(name), mem_str((char *)value->data.scalar.value)};
	return 0;
}

static int bind_env(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                    void *object)
{
	struct release *release = &((struct release_file *)object)->release;

	release->env = mem_array(LIMIT_ENV, sizeof(*release->env));
	return each_pair(file, node, LIMIT_ENV, add_env, release);
}

static int add_metric(struct yml_file *file, const char *name, const yaml_node_t *value,
                      struct release *release)
{
	struct release_metric *metric = &release->lineage_metrics[release->lineage_metrics_count];
	const struct yml_field field = {.offset = offsetof(struct release_metric, value)};
	int r = yml_double(file, value, &field, metric);

	if (r < 0)
		return r;
	metric->name = mem_str(name);
	release->lineage_metrics_count++;
	return 0;
}

static int bind_metrics(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object)
{
	struct release *release = &((struct release_file *)object)->release;

	release->lineage_metrics = mem_array(LIMIT_METRICS, sizeof(*release->lineage_metrics));
	return each_pair(file, node, LIMIT_METRICS, add_metric, release);
}

static int bind_version(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object)
{
	const char *text = yml_text(node);

	if (!text || !version_is_valid(text))
		return yml_fail(
		    file, node,
		    "`%.80s` is not a version; write for instance 2.1.0 or 2024-05-01_a",
		    text ? text : "");
	return yml_array(file, node, field, object);
}

static int bind_argv(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                     void *object)
{
	struct release *release = &((struct release_file *)object)->release;

	return yml_text_list(file, node, LIMIT_ARGV, &release->argv, &release->argv_count);
}

static int bind_devices(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object)
{
	struct release_resources *resources = &((struct release_file *)object)->release.resources;
	int r = yml_text_list(file, node, LIMIT_DEVICES, &resources->devices,
	                      &resources->devices_count);

	for (size_t i = 0; r == 0 && i < resources->devices_count; i++)
		if (!str_starts(resources->devices[i].text, "/dev/") ||
		    strstr(resources->devices[i].text, ".."))
			r = yml_fail(
			    file, node,
			    "`%.80s` is not a device; write for instance /dev/dri/renderD128",
			    resources->devices[i].text);
	return r;
}

static int bind_cpus(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                     void *object)
{
	const struct yml_field value_field = {0};
	double cpus = 0;
	int r = yml_double(file, node, &value_field, &cpus);

	if (r < 0)
		return r;
	if (cpus < 0.01 || cpus > 4096)
		return yml_fail(file, node, "%g CPUs are not possible; write 0.01 to 4096", cpus);
	((struct release_file *)object)->release.resources.cpu_millis =
	    (uint32_t)(cpus * 1000 + 0.5);
	return 0;
}

static int bind_egress(struct yml_file *file, const yaml_node_t *node,
                       const struct yml_field *field, void *object)
{
	static const char *const words[] = {"deny", "allow", NULL};
	const struct yml_field word = {.words = words};
	int allow = 0;
	int r = yml_word(file, node, &word, &allow);

	if (r == 0)
		((struct release_file *)object)->release.serve.egress = allow;
	return r;
}

/* ---- health ---- */

static int bind_health_http(struct yml_file *file, const yaml_node_t *node,
                            const struct yml_field *field, void *object)
{
	struct release_health *health = &((struct release_file *)object)->release.health;
	const char *text = yml_text(node);

	if (!text || text[0] != '/')
		return yml_fail(file, node, "this is not a path; write for instance /healthz");
	health->kind = HEALTH_HTTP;
	health->http_path = mem_str(text);
	return 0;
}

static int bind_health_tcp(struct yml_file *file, const yaml_node_t *node,
                           const struct yml_field *field, void *object)
{
	const char *text = yml_text(node);

	if (!text || !str_equal(text, "true"))
		return yml_fail(file, node, "write `tcp: true`, or leave it out");
	((struct release_file *)object)->release.health.kind = HEALTH_TCP;
	return 0;
}

static int bind_health_command(struct yml_file *file, const yaml_node_t *node,
                               const struct yml_field *field, void *object)
{
	struct release_health *health = &((struct release_file *)object)->release.health;

	health->kind = HEALTH_COMMAND;
	return yml_text_list(file, node, LIMIT_ARGV, &health->command, &health->command_count);
}

static const struct yml_field health_fields[] = {
    {.key = "http", .bind = bind_health_http},
    {.key = "tcp", .bind = bind_health_tcp},
    {.key = "command", .bind = bind_health_command},
    {.key = "interval", .bind = yml_duration, .offset = AT(health.interval_ms)},
    {.key = "timeout", .bind = yml_duration, .offset = AT(health.timeout_ms)},
    {.key = "failures", .bind = yml_u32, .offset = AT(health.failures), .min = 1, .max = 1000},
    {.key = "start_period", .bind = yml_duration, .offset = AT(health.start_period_ms)},
    {0},
};

static int bind_health(struct yml_file *file, const yaml_node_t *node,
                       const struct yml_field *field, void *object)
{
	const struct release_health *health = &((struct release_file *)object)->release.health;
	int kinds = !!yml_get(file, node, "http") + !!yml_get(file, node, "tcp") +
	            !!yml_get(file, node, "command");
	int r;

	if (kinds > 1)
		return yml_fail(file, node,
		                "there are several checks; write one of http, tcp and command");
	r = yml_bind(file, node, health_fields, object);
	if (r == 0 && (!health->interval_ms || !health->timeout_ms))
		r = yml_fail(file, node,
		             "interval and timeout are more than 0; write for instance interval: "
		             "2s, timeout: 1s");
	return r;
}

/* ---- smoke tests ---- */

static int bind_bytes(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                      void *object)
{
	const char *text = yml_text(node);
	AUTO_FREE char *path = text ? file_beside(file->name, text) : NULL;
	struct err why = {0};
	int r;

	if (!path)
		return yml_fail(file, node,
		                "this is not a file's name; write a path beside this file");
	r = file_read(path, field->max, (struct bytes *)(void *)((char *)object + field->offset),
	              &why);
	if (r < 0)
		return yml_fail(
		    file, node,
		    "%s; write the path of a readable file, as seen from this file's folder",
		    err_text(&why, r));
	return 0;
}

static int bind_json(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                     void *object)
{
	AUTO_FREE char *text = NULL;
	json_t *value = NULL;
	int r = yml_json(file, node, &value);

	if (r < 0)
		return r;
	text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	json_decref(value);
	if (!text || strlen(text) > LIMIT_SMOKE_BODY)
		return yml_fail(file, node, "this is too large; write at most %d bytes of JSON",
		                LIMIT_SMOKE_BODY);
	*(char **)(void *)((char *)object + field->offset) = TAKE_PTR(text);
	return 0;
}

static int bind_url_path(struct yml_file *file, const yaml_node_t *node,
                         const struct yml_field *field, void *object)
{
	const char *text = yml_text(node);

	if (!text || text[0] != '/')
		return yml_fail(file, node, "this is not a path; write for instance /classify");
	return yml_heap(file, node, field, object);
}

static int bind_tolerance(struct yml_file *file, const yaml_node_t *node,
                          const struct yml_field *field, void *object)
{
	int r = yml_double(file, node, field, object);

	if (r == 0 && ((struct release_smoke *)object)->tolerance < 0)
		r = yml_fail(file, node, "a tolerance is not negative; write for instance 0.01");
	return r;
}

static const struct yml_field request_fields[] = {
    {.key = "method", .bind = yml_heap, .offset = IN(method), .max = LIMIT_SHORT_TEXT},
    {.key = "path", .bind = bind_url_path, .offset = IN(path), .required = true},
    {.key = "body_file", .bind = bind_bytes, .offset = IN(body), .max = LIMIT_SMOKE_BODY},
    {.key = "content_type", .bind = yml_heap, .offset = IN(content_type), .max = LIMIT_SHORT_TEXT},
    {0},
};

static const struct yml_field expect_fields[] = {
    {.key = "status", .bind = yml_u32, .offset = IN(expect_status), .min = 100, .max = 599},
    {.key = "json", .bind = bind_json, .offset = IN(expect_json)},
    {.key = "contains", .bind = yml_heap, .offset = IN(expect_contains), .max = LIMIT_SMOKE_BODY},
    {.key = "body_file", .bind = bind_bytes, .offset = IN(expect_body), .max = LIMIT_SMOKE_BODY},
    {.key = "tolerance", .bind = bind_tolerance, .offset = IN(tolerance)},
    {0},
};

static const struct yml_field smoke_fields[] = {
    {.key = "name", .bind = yml_heap, .offset = IN(name), .max = LIMIT_SHORT_TEXT},
    {.key = "request", .bind = yml_map, .fields = request_fields, .required = true},
    {.key = "expect", .bind = yml_map, .fields = expect_fields},
    {0},
};

static void default_smoke(struct release_smoke *smoke, size_t index)
{
	if (!smoke->name)
		smoke->name = mem_format("smoke-%zu", index + 1);
	if (!smoke->method)
		smoke->method = mem_str(smoke->body.size ? "POST" : "GET");
}

static int bind_smokes(struct yml_file *file, const yaml_node_t *node,
                       const struct yml_field *field, void *object)
{
	struct release *release = &((struct release_file *)object)->release;
	size_t count;

	if (node->type != YAML_SEQUENCE_NODE)
		return yml_fail(file, node, "this is not a list; write `- name: ...` items");
	count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (count > LIMIT_SMOKES)
		return yml_fail(file, node, "there are %zu smoke tests; write at most %d", count,
		                LIMIT_SMOKES);
	release->smokes = mem_array(count, sizeof(*release->smokes));
	release->smokes_count = count;
	for (size_t i = 0; i < count; i++) {
		size_t mark = yml_enter_index(file, i);
		int r = yml_bind(
		    file,
		    yaml_document_get_node(&file->document, node->data.sequence.items.start[i]),
		    smoke_fields, &release->smokes[i]);

		if (r < 0)
			return r;
		default_smoke(&release->smokes[i], i);
		yml_leave(file, mark);
	}
	return 0;
}

/* ---- observations ---- */

static int bind_baseline(struct yml_file *file, const yaml_node_t *node,
                         const struct yml_field *field, void *object)
{
	const char *text = yml_text(node);
	AUTO_FREE char *path = text ? file_beside(file->name, text) : NULL;
	struct baseline baseline = {0};
	struct err why = {0};
	int r;

	if (!path)
		return yml_fail(file, node,
		                "this is not a file's name; write a path beside this file");
	r = baseline_file_read(path, &baseline, &why);
	if (r == 0)
		r = baseline_encode(&baseline, (struct bytes *)(void *)((char *)object + field->offset),
		                    &why);
	build_free(&baseline);
	return r < 0 ? yml_fail(file, node, "%s", err_text(&why, r)) : 0;
}

/* NAME, or NAME{label="value", ...}. */
static int bind_series(struct yml_file *file, const yaml_node_t *node,
                       const struct yml_field *field, void *object)
{
	const char *text = yml_text(node);
	size_t name = text ? strspn(text, SERIES_LETTERS) : 0;

	if (name == 0 || strlen(text) > LIMIT_SHORT_TEXT ||
	    (text[name] != '\0' && (text[name] != '{' || text[strlen(text) - 1] != '}')))
		return yml_fail(file, node, "this is not a metric; write NAME, or "
		                "'NAME{label=\"value\"}', at most %d characters", LIMIT_SHORT_TEXT);
	return yml_heap(file, node, field, object);
}

static int bind_counters(struct yml_file *file, const yaml_node_t *node,
                         const struct yml_field *field, void *object)
{
	struct release_observe *observe = &((struct release_file *)object)->release.observe;

	return yml_text_list(file, node, LIMIT_NAMED_COUNTERS, &observe->counters,
	                     &observe->counters_count);
}

static int bind_range(struct yml_file *file, const yaml_node_t *node, const struct yml_field *field,
                      void *object)
{
	struct release_observe *observe = &((struct release_file *)object)->release.observe;
	AUTO_JSON json_t *pair = NULL;
	int r = yml_json(file, node, &pair);

	if (r < 0)
		return r;
	observe->score_min = json_number_value(json_array_get(pair, 0));
	observe->score_max = json_number_value(json_array_get(pair, 1));
	observe->has_range = json_array_size(pair) == 2 && json_is_number(json_array_get(pair, 0)) &&
	                     json_is_number(json_array_get(pair, 1)) &&
	                     observe->score_min < observe->score_max;
	return observe->has_range
	           ? 0
	           : yml_fail(file, node, "this is not a range; write for instance [0, 1]");
}

static const struct yml_field observe_fields[] = {
    {.key = "metrics", .bind = bind_url_path, .offset = AT(observe.metrics)},
    {.key = "requests", .bind = bind_series, .offset = AT(observe.requests)},
    {.key = "errors", .bind = bind_series, .offset = AT(observe.errors)},
    {.key = "latency", .bind = bind_series, .offset = AT(observe.latency)},
    {.key = "counters", .bind = bind_counters},
    {.key = "score", .bind = bind_range},
    {0},
};

static int bind_observe(struct yml_file *file, const yaml_node_t *node,
                        const struct yml_field *field, void *object)
{
	const struct release_observe *observe = &((struct release_file *)object)->release.observe;
	int r = yml_bind(file, node, observe_fields, object);

	if (r < 0)
		return r;
	for (size_t i = 0; i < observe->counters_count; i++)
		if (strlen(observe->counters[i].text) > LIMIT_SHORT_TEXT)
			return yml_fail(file, node, "a counter's name is too long; write at most %d "
			                "characters", LIMIT_SHORT_TEXT);
	if (!observe->metrics && (observe->requests || observe->errors || observe->latency ||
	                          observe->counters_count > 0))
		return yml_fail(file, node, "the path is missing; write for instance `metrics: "
		                "/metrics`");
	if (observe->errors && !observe->requests)
		return yml_fail(file, node, "errors without requests say nothing; write `requests: "
		                "NAME` as well");
	return 0;
}

/* ---- the file ---- */

static int bind_local_path(struct yml_file *file, const yaml_node_t *node,
                           const struct yml_field *field, void *object)
{
	const char *text = yml_text(node);
	AUTO_FREE char *path = NULL;

	if (!text)
		return yml_fail(file, node, "this is not a path; write one as seen from this file");
	path = str_starts(text, "docker://") ? mem_str(text) : file_beside(file->name, text);
	if (((struct release_file *)object)->whole && !str_starts(text, "docker://") &&
	    access(path, R_OK) < 0)
		return yml_fail(file, node, "%s: %s; write a path as seen from this file's folder",
		                path, strerror(errno));
	*(char **)(void *)((char *)object + field->offset) = TAKE_PTR(path);
	return 0;
}

static const char *const protocols[] = {"http", "tcp", "grpc", NULL};
static const char *const networks[] = {"slot", "host", NULL};

static const struct yml_field serve_fields[] = {
    {.key = "port",
     .bind = yml_u32,
     .offset = AT(serve.port),
     .min = 1,
     .max = 65535,
     .required = true},
    {.key = "container_port",
     .bind = yml_u32,
     .offset = AT(serve.container_port),
     .min = 1,
     .max = 65535},
    {.key = "protocol", .bind = yml_word, .offset = AT(serve.protocol), .words = protocols},
    {.key = "network", .bind = yml_word, .offset = AT(serve.network), .words = networks},
    {.key = "privileged_port", .bind = yml_bool, .offset = AT(serve.privileged_port)},
    {.key = "egress", .bind = bind_egress},
    {0},
};

static const struct yml_field resources_fields[] = {
    {.key = "memory", .bind = yml_size, .offset = AT(resources.memory_bytes)},
    {.key = "cpus", .bind = bind_cpus},
    {.key = "pids", .bind = yml_u32, .offset = AT(resources.pids), .min = 1, .max = 4194304},
    {.key = "devices", .bind = bind_devices},
    {0},
};

static const struct yml_field lineage_fields[] = {
    {.key = "code", .bind = yml_heap, .offset = AT(lineage_code)},
    {.key = "data", .bind = yml_heap, .offset = AT(lineage_data)},
    {.key = "metrics", .bind = bind_metrics},
    {0},
};

static const struct yml_field release_fields[] = {
    {.key = "model",
     .bind = yml_name,
     .offset = AT(model),
     .max = LIMIT_NAME + 1,
     .required = true},
    {.key = "version",
     .bind = bind_version,
     .offset = AT(version),
     .max = LIMIT_VERSION + 1,
     .required = true},
    {.key = "image",
     .bind = bind_local_path,
     .offset = offsetof(struct release_file, image),
     .required = true},
    {.key = "files", .bind = bind_local_path, .offset = offsetof(struct release_file, files)},
    {.key = "command", .bind = bind_argv},
    {.key = "env", .bind = bind_env},
    {.key = "serve", .bind = yml_map, .fields = serve_fields, .required = true},
    {.key = "resources", .bind = yml_map, .fields = resources_fields},
    {.key = "health", .bind = bind_health},
    {.key = "smoke", .bind = bind_smokes},
    {.key = "baseline", .bind = bind_baseline, .offset = AT(baseline)},
    {.key = "observe", .bind = bind_observe},
    {.key = "lineage", .bind = yml_map, .fields = lineage_fields},
    {0},
};

/* A server whose author says nothing about health must at least accept connections. */
static void set_defaults(struct release_file *file)
{
	file->release.serve.egress = false;
	file->release.health = (struct release_health){.kind = HEALTH_TCP,
	                                               .interval_ms = 2000,
	                                               .timeout_ms = 1000,
	                                               .failures = 3,
	                                               .start_period_ms = 30000};
}

static int check_ports(struct yml_file *yaml, struct release_serve *serve)
{
	if (!serve->container_port)
		serve->container_port = serve->port;
	if (serve->port < 1024 && !serve->privileged_port)
		return yml_fail_at(yaml, "serve.port: ports under 1024 are refused; write a higher "
		                         "one, or `privileged_port: true` beside it");
	return 0;
}

int release_file_read(const char *name, bool whole, struct release_file *ret_file, struct err *err)
{
	struct release_file file = {.whole = whole};
	struct yml_file yaml;
	int r = yml_load(&yaml, name, err);

	if (r < 0)
		return r;
	set_defaults(&file);
	r = yml_bind(&yaml, yml_root(&yaml), release_fields, &file);
	if (r == 0)
		r = check_ports(&yaml, &file.release.serve);
	yml_free(&yaml);
	if (r < 0)
		release_file_free(&file);
	else
		*ret_file = file;
	return r;
}

void release_file_free(struct release_file *file)
{
	free(file->image);
	free(file->files);
	release_free(&file->release);
	*file = (struct release_file){0};
}
