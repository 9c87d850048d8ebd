/* SPDX-License-Identifier: Apache-2.0 */
/* The two files: product.md's own examples bind to the right values; each mistake has its sentence
 * with file, line and field; nothing is left behind by a file that is refused (ASan looks). */
#include "coordinator/cli/yml_files.h"
#include "fake.h"

#include <string.h>
#include <sys/stat.h>

static char *folder, *name;

static int setup(void **state)
{
	AUTO_FREE char *body = NULL, *image = NULL;

	folder = temp_folder();
	name = mem_format("%s/x.yaml", folder);
	body = mem_format("%s/seven.json", folder);
	image = mem_format("%s/ocr-server.oci", folder);
	write_textf(body, "[7]");
	mkdir(image, 0755);
	return 0;
}

static int teardown(void **state)
{
	free(name);
	remove_folder(folder);
	return 0;
}

/* ---- what is right ---- */

static const char release_text[] =
    "# release.yaml\n"
    "model: ocr\n"
    "version: 2.1.0\n"
    "image: ./ocr-server.oci        # OCI layout folder\n"
    "files: ./model                 # optional\n"
    "command: [/server, --fast]     # optional\n"
    "env: {THREADS: \"2\"}\n"
    "serve: {port: 8080, container_port: 8000, protocol: http, network: slot}\n"
    "resources: {memory: 512MiB, cpus: 1.5, devices: [/dev/dri/renderD128]}\n"
    "health:\n"
    "  http: /healthz               # or tcp: true\n"
    "  interval: 2s\n"
    "  timeout: 1s\n"
    "  failures: 3\n"
    "  start_period: 30s\n"
    "smoke:\n"
    "  - name: seven\n"
    "    request: {method: POST, path: /classify, body_file: seven.json, content_type: "
    "application/json}\n"
    "    expect: {status: 200, json: {label: 7, text: \"7\", ok: true, none: null, x: [1.5, a]}}\n"
    "lineage: {code: \"git:4f2a\", data: \"dvc:digits@3\", metrics: {accuracy: 0.97}}\n";

static void test_release_of_the_contract(void **state)
{
	struct release_file file = {0};
	const struct release *r = &file.release;
	struct err err = {0};

	write_textf(name, "%s", release_text);
	if (release_file_read(name, false, &file, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(r->model, "ocr");
	assert_string_equal(r->version, "2.1.0");
	assert_int_equal(r->argv_count, 2);
	assert_string_equal(r->argv[1].text, "--fast");
	assert_int_equal(r->env_count, 1);
	assert_string_equal(r->env[0].name, "THREADS");
	assert_string_equal(r->env[0].value, "2");
	assert_int_equal(r->serve.port, 8080);
	assert_int_equal(r->serve.container_port, 8000);
	assert_int_equal(r->resources.memory_bytes, 512u << 20);
	assert_int_equal(r->resources.cpu_millis, 1500);
	assert_string_equal(r->resources.devices[0].text, "/dev/dri/renderD128");
	assert_int_equal(r->health.kind, HEALTH_HTTP);
	assert_string_equal(r->health.http_path, "/healthz");
	assert_int_equal(r->health.start_period_ms, 30000);
	assert_int_equal(r->smokes_count, 1);
	assert_string_equal(r->smokes[0].method, "POST");
	assert_int_equal(r->smokes[0].body.size, 3);
	assert_int_equal(r->smokes[0].expect_status, 200);
	assert_string_equal(
	    r->smokes[0].expect_json,
	    "{\"label\":7,\"none\":null,\"ok\":true,\"text\":\"7\",\"x\":[1.5,\"a\"]}");
	assert_string_equal(r->lineage_data, "dvc:digits@3");
	assert_true(r->lineage_metrics[0].value > 0.969 && r->lineage_metrics[0].value < 0.971);
	assert_true(strstr(file.files, "/./model") != NULL);
	release_file_free(&file);
}

static void test_release_defaults(void **state)
{
	struct release_file file = {0};
	struct err err = {0};

	write_textf(
	    name, "model: m\nversion: 1\nimage: docker://x/y:1\nserve: {port: 1234}\n"
	          "smoke: [{request: {path: /}}, {request: {path: /a, body_file: seven.json}}]\n");
	assert_int_equal(release_file_read(name, true, &file, &err), 0);
	assert_string_equal(file.image, "docker://x/y:1");
	assert_null(file.files);
	assert_int_equal(file.release.serve.container_port, 1234);
	assert_int_equal(file.release.health.kind, HEALTH_TCP);
	assert_int_equal(file.release.health.failures, 3);
	assert_false(file.release.serve.egress);
	assert_string_equal(file.release.smokes[0].method, "GET");
	assert_string_equal(file.release.smokes[0].name, "smoke-1");
	assert_string_equal(file.release.smokes[1].method, "POST");
	release_file_free(&file);
}

static const char deployment_text[] = "deployment: ocr\n"
                                      "release: ocr@2.1.0\n"
                                      "nodes: \"site in (lyon,paris),hw!=old\"\n"
                                      "swap: start-first\n"
                                      "drain: 30s\n"
                                      "keep_warm: 10m\n"
                                      "strategy:\n"
                                      "  canary:\n"
                                      "    stages:\n"
                                      "      - {nodes: 1, bake: 5m}\n"
                                      "      - {percent: 10, bake: 30m, where: \"ring=1\"}\n"
                                      "max_unavailable: 20%\n"
                                      "max_unavailable_per: {label: site, nodes: 1}\n"
                                      "failures: {nodes: 1, percent: 10, unreachable: 20%}\n"
                                      "deadlines: {node: 10m, stage: 2h, rollout: 24h}\n"
                                      "windows: {download: \"22:00-06:00\", switch: \"Mon-Fri "
                                      "01:00-05:00\", timezone: Europe/Paris}\n"
                                      "gates: []\n"
                                      "on_inconclusive: hold\n";

static void read_deployment(const char *text, struct deployment_spec *spec)
{
	struct err err = {0};

	write_textf(name, "%s", text);
	if (deployment_file_read(name, spec, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_deployment_of_the_contract(void **state)
{
	struct deployment_spec s = {0};

	read_deployment(deployment_text, &s);
	assert_string_equal(s.name, "ocr");
	assert_string_equal(s.model, "ocr");
	assert_string_equal(s.version, "2.1.0");
	assert_string_equal(s.selector, "site in (lyon,paris),hw!=old");
	assert_int_equal(s.strategy, STRATEGY_CANARY);
	assert_int_equal(s.stages_count, 2);
	assert_false(s.stages[0].nodes.percent);
	assert_int_equal(s.stages[0].bake_ms, 300000);
	assert_true(s.stages[1].nodes.percent);
	assert_int_equal(s.stages[1].nodes.value, 10);
	assert_string_equal(s.stages[1].where, "ring=1");
	assert_true(s.max_unavailable.percent);
	assert_string_equal(s.per_label, "site");
	assert_int_equal(s.failures.unreachable.value, 20);
	assert_int_equal(s.deadlines.rollout_ms, 86400000);
	assert_string_equal(s.windows.swap, "Mon-Fri 01:00-05:00");
	free(s.stages);
	free(s.gates);
}

static void test_strategies(void **state)
{
	struct deployment_spec s = {0};

	read_deployment("deployment: a\nrelease: a@1\nnodes: all\n"
	                "strategy: {blue_green: {promote: manual, bake: 10m}}\n",
	                &s);
	assert_int_equal(s.strategy, STRATEGY_BLUE_GREEN);
	assert_int_equal(s.promote, PROMOTE_MANUAL);
	assert_int_equal(s.batch_bake_ms, 600000);
	assert_int_equal(s.stages_count, 0);
	read_deployment(
	    "deployment: a\nrelease: a@1\nnodes: all\n"
	    "strategy: {rolling: {batch: 3, bake: 1m}}\n"
	    "gates: [{metric: error_rate, require: evidence, tolerance: 1.5, deadline: 1h}]\n",
	    &s);
	assert_int_equal(s.strategy, STRATEGY_ROLLING);
	assert_false(s.batch.percent);
	assert_int_equal(s.batch.value, 3);
	assert_int_equal(s.gates_count, 1);
	assert_int_equal(s.gates[0].require, GATE_EVIDENCE);
	free(s.gates);
	read_deployment("deployment: a\nrelease: a@1\nnodes: all\n", &s);
	assert_int_equal(s.stages_count, 1);
	assert_int_equal(s.stages[0].nodes.value, 1);
	free(s.stages);
}

/* ---- what is wrong ---- */

struct mistake {
	const char *text;     /* replaces the whole file */
	const char *sentence; /* part of what must be said; begins with the line */
};

#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define R "model: m\nversion: v\nimage: ocr-server.oci\nserve: {port: 8080}\n"

static const struct mistake release_mistakes[] = {
    {"", "1: the file is empty"},
    {"- a\n", "1: the file is not a map"},
    {R "---\nmodel: x\n", "1: the file holds several documents"},
    {R "portt: 1\n", "5: portt: this key is unknown; write one of: model, version"},
    {R "model: n\n", "model: this key is there twice"},
    {"model: m\nversion: v\nserve: {port: 80}\n", "1: image: this key is missing"},
    {"model: M!\nversion: v\n", "1: model: `M!` is not a name"},
    {"model: m\nversion: \"1 2\"\n", "2: version: `1 2` is not a version"},
    {"model: [a]\n", "1: model: this is a list; write a name"},
    {"model:\nversion: v\n", "1: model: the value is empty"},
    {"model: m\nversion: v\nimage: i\nserve: 8080\n", "4: serve: this is not a map"},
    {"model: m\nversion: v\nimage: i\nserve: {port: 70000}\n",
     "4: serve.port: `70000` is not allowed; write a whole number from 1 to 65535"},
    {"model: m\nversion: v\nimage: i\nserve:\n  port: 80\n", "5: serve.port: ports under 1024"},
    {"model: m\nversion: v\nimage: i\nserve: {port: 8080, network: bridge}\n",
     "4: serve.network: `bridge` is not one of the words; write slot or host"},
    {R "serve2:\n", "5: serve2: this key is unknown"},
    {R "env: [a]\n", "5: env: this is not a map"},
    {R "env:\n  A=B: c\n", "6: env.A=B: a variable's name has no `=`"},
    {R "env:\n  A: [b]\n", "6: env.A: this is not a text"},
    {R "env: {A: 1, A: 2}\n", "5: env.A: this key is there twice"},
    {R "command: /server\n", "5: command: this is not a list"},
    {R "command: []\n", "5: command: the list has 0 items"},
    {R "command: [a, [b]]\n", "5: command[1]: this is not a text"},
    {R "resources: {memory: 512}\nresources2: 1\n", "6: resources2"},
    {R "resources: {memory: 512MB}\n", "5: resources.memory: `512MB` is not a size"},
    {R "resources: {cpus: 0}\n", "5: resources.cpus: 0 CPUs are not possible"},
    {R "resources: {cpus: many}\n", "5: resources.cpus: `many` is not a number"},
    {R "resources: {devices: [/etc/passwd]}\n",
     "5: resources.devices: `/etc/passwd` is not a device"},
    {R "health: {http: /a, tcp: true}\n", "5: health: there are several checks"},
    {R "health: {http: healthz}\n", "5: health.http: this is not a path"},
    {R "health:\n  interval: 2\n", "6: health.interval: `2` is not a time"},
    {R "health: {interval: 0}\n", "5: health: interval and timeout are more than 0"},
    {R "health: {failures: 0}\n", "5: health.failures: `0` is not allowed"},
    {R "smoke: {a: b}\n", "5: smoke: this is not a list"},
    {R "smoke:\n  - name: x\n", "6: smoke[0].request: this key is missing"},
    {R "smoke:\n  - request: {path: /}\n  - request: {path: a}\n",
     "7: smoke[1].request.path: this is not a path"},
    {R "smoke:\n  - request:\n      path: /\n      body_file: gone.json\n",
     "8: smoke[0].request.body_file: "},
    {R "smoke:\n  - request:\n      path: /\n      content_type: " X64 X64 "\n",
     "8: smoke[0].request.content_type: the text is too long; write at most 127 characters"},
    {R "smoke:\n  - request: {path: /}\n    expect: {status: 20}\n",
     "7: smoke[0].expect.status: `20` is not allowed; write a whole number from 100 to 599"},
    {R "smoke:\n  - request: {path: /}\n    expect: {json: {a: 1, a: 2}}\n",
     "7: smoke[0].expect.json: the key `a` is there twice"},
    {R "smoke:\n  - request: {path: /}\n    expect: {tolerance: -1}\n",
     "7: smoke[0].expect.tolerance: a tolerance is not negative"},
    {R "lineage: {metrics: {accuracy: good}}\n",
     "5: lineage.metrics.accuracy: `good` is not a number"},
    {R "baseline: gone.yaml\n", "5: baseline: "},
    {R "baseline: x.yaml\n", "5: baseline: "},
    {R "observe: {requests: r}\n", "5: observe: the path is missing"},
    {R "observe: {metrics: metrics}\n", "5: observe.metrics: this is not a path"},
    {R "observe: {metrics: /m, errors: e}\n", "5: observe: errors without requests"},
    {R "observe: {metrics: /m, requests: \"a b\"}\n", "5: observe.requests: this is not a metric"},
    {R "observe: {metrics: /m, latency: \"l{x\"}\n", "5: observe.latency: this is not a metric"},
    {R "observe: {metric: /m}\n", "5: observe.metric: this key is unknown"},
    {R "observe: {score: [1, 0]}\n", "5: observe.score: this is not a range"},
    {R "observe: {score: 1}\n", "5: observe.score: this is not a range"},
    {R "env: {A: \"x\n", "this is not YAML"},
    {R "\tbad: 1\n", "5: this is not YAML: found character that cannot start any token"},
    {R "smoke:\n  - request: {path: /}\n    expect: {json: &a [*a]}\n", "nested too deeply"},
    {R "smoke:\n  - request: {path: /}\n    expect: {json: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
       "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}\n",
     "nested too deeply"},
};

#define D "deployment: d\nrelease: m@1\nnodes: all\n"

static const struct mistake deployment_mistakes[] = {
    {"deployment: d\nnodes: all\n", "1: release: this key is missing"},
    {"deployment: d\nrelease: m\nnodes: all\n",
     "2: release: `m` is not a release; write MODEL@VERSION"},
    {"deployment: d\nrelease: m@1\nnodes: \"\"\n", "3: nodes: the value is empty"},
    {"deployment: d\nrelease: m@1\nnodes: \" \"\n", "3: nodes: this is not a label selector"},
    {"deployment: d\nrelease: m@1\nnodes: \"site in lyon\"\n",
     "3: nodes: this is not a label selector (character 9"},
    {D "max_unavailable: 120%\n", "4: max_unavailable: `120%` is more than everything"},
    {D "max_unavailable: some\n", "4: max_unavailable: `some` is neither a count nor a share"},
    {D "max_unavailable: 0\n", "4: max_unavailable: "},
    {D "drain: 30\n", "4: drain: `30` is not a time"},
    {D "swap: never\n",
     "4: swap: `never` is not one of the words; write start-first or stop-first"},
    {D "strategy: {canary: {stages: []}}\n", "4: strategy.canary.stages: the list has 0 items"},
    {D "strategy:\n  canary:\n    stages:\n      - {percent: 101}\n",
     "7: strategy.canary.stages[0].percent: `101` is not allowed; write a whole number from 1 to "
     "100"},
    {D "strategy:\n  canary:\n    stages:\n      - {nodes: 1}\n      - {nodes: 1, percent: 5}\n",
     "8: strategy.canary.stages[1]: a stage has either nodes or percent"},
    {D "strategy:\n  canary:\n    stages:\n      - {bake: 1m}\n", "7: strategy.canary.stages[0]: "},
    {D "strategy:\n  canary:\n    stages:\n      - {nodes: 1, where: \"\"}\n",
     "7: strategy.canary.stages[0].where: the value is empty"},
    {D "strategy: {canary: {stages: [{nodes: 1}]}, rolling: {batch: 1}}\n",
     "4: strategy: there are several strategies"},
    {D "strategy: {big_bang: {}}\n", "4: strategy.big_bang: this key is unknown"},
    {D "strategy: {rolling: {batch: 0}}\n", "4: strategy.rolling.batch: this is nobody"},
    {D "strategy: {blue_green: {promote: later}}\n",
     "4: strategy.blue_green.promote: `later` is not one of the words; write auto or manual"},
    {D "failures: {percent: 101}\n", "4: failures.percent: `101` is not allowed"},
    {D "max_unavailable_per: {label: site}\n", "4: max_unavailable_per.nodes: this key is missing"},
    {D "deadlines:\n  node: 1m\n  stage: 1m\n", "6: deadlines.stage: 1m is too short"},
    {D "deadlines:\n  rollout: 5m\n", "5: deadlines.rollout: 5m is too short"},
    {D "windows:\n  switch: sometimes\n", "5: windows.switch: "},
    {D "gates:\n  - {metric: error_rate}\n  - {metric: errors}\n",
     "6: gates[1]: metric: `errors` is not known; write error_rate, timeouts"},
    {D "gates:\n  - metric: error_rate\n    against: absolute\n",
     "5: gates[0]: slo: an absolute gate needs the promised rate"},
    {D "gates:\n  - {metric: latency, against: absolute, slo: 0.01}\n",
     "5: gates[0]: bound: an absolute gate on latency needs the latency that `slo` allows"},
    {D "gates:\n  - {metric: latency, against: absolute, bound: 200ms}\n",
     "5: gates[0]: slo: an absolute gate needs the promised rate"},
    {D "gates:\n  - {metric: latency, bound: 200ms}\n",
     "5: gates[0]: bound: only a gate on latency with `against: absolute` has one"},
    {D "gates:\n  - {metric: latency, against: everybody}\n",
     "5: gates[0].against: `everybody` is not one of the words; write control or absolute"},
    {D "gates:\n  - {metric: error_rate, margin: 0.5}\n", "5: gates[0]: margin: "},
    {D "gates:\n  - {metric: drift.light, require: evidence}\n", "5: gates[0]: require: "},
    {D "gates:\n  - {metric: error_rate, policy: luck}\n",
     "5: gates[0].policy: `luck` is not one of the words; write hold, promote, rollback or "
     "promote-if-promised"},
    {D "gates:\n  - {metric: errors, require: luck}\n",
     "5: gates[0].require: `luck` is not one of the words"},
    {D "gates:\n  - {tolerance: 2}\n", "5: gates[0].metric: this key is missing"},
    {D "on_inconclusive: guess\n", "4: on_inconclusive: `guess` is not one of the words"},
    {D "gates: [{metric: a, metric: b}]\n", "4: gates[0].metric: this key is there twice"},
};

static void check_mistake(const struct mistake *m, bool release)
{
	struct release_file file = {0};
	struct deployment_spec spec = {0};
	AUTO_FREE char *wanted = mem_format("%s:%s", name, m->sentence);
	struct err err = {0};
	int r;

	write_file(name, m->text, strlen(m->text));
	r = release ? release_file_read(name, false, &file, &err)
	            : deployment_file_read(name, &spec, &err);
	if (r == 0)
		fail_msg("was taken: %s", m->text);
	/* where the sentence has no line of its own, only its words count */
	if (m->sentence[0] >= '0' && m->sentence[0] <= '9' ? !str_starts(err.text, wanted)
	                                                   : !strstr(err.text, m->sentence))
		fail_msg("%s\n  said: %s\n  wanted: %s", m->text, err.text, wanted);
}

/* spec: CLI-2 */
static void test_release_mistakes(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(release_mistakes); i++)
		check_mistake(&release_mistakes[i], true);
}

/* spec: CLI-2 */
static void test_deployment_mistakes(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(deployment_mistakes); i++)
		check_mistake(&deployment_mistakes[i], false);
}

/* Whatever bytes come, there is an answer: each prefix of a good file, and each byte changed. */
static void test_damaged_bytes(void **state)
{
	size_t size = sizeof(release_text) - 1;
	AUTO_FREE char *text = mem_alloc(size + 1);

	for (size_t i = 0; i < 2 * size; i += 7) {
		struct release_file file = {0};
		struct err err = {0};

		memcpy(text, release_text, size);
		if (i >= size)
			text[i - size] = (char)(i * 37 % 256);
		write_file(name, text, i < size ? i : size);
		if (release_file_read(name, false, &file, &err) == 0)
			release_file_free(&file);
		else
			assert_true(err.text[0]);
	}
}

static void test_lint_program(void **state)
{
	struct ran ran;

	write_file(name, release_text, sizeof(release_text) - 1);
	ran = run_covey(folder, NULL, "lint -f %s", name);
	assert_ran(ran, 0, NULL);
	ran_free(&ran);
	write_file(name, deployment_text, sizeof(deployment_text) - 1);
	ran = run_covey(folder, NULL, "lint -o json -f %s", name);
	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "\"kind\": \"deployment\""));
	ran_free(&ran);
	write_textf(name, "model: m\nspeed: 3\n");
	ran = run_covey(folder, NULL, "lint -f %s", name);
	assert_ran(ran, 2, "x.yaml:2: speed: this key is unknown; write one of");
	assert_string_equal(ran.out, "");
	ran_free(&ran);
	write_textf(name, "a: b\n");
	ran = run_covey(folder, NULL, "lint -f %s", name);
	assert_ran(ran, 2, "x.yaml:1: this is neither a release nor a deployment");
	ran_free(&ran);
	ran = run_covey(folder, NULL, "lint -f %s/none", folder);
	assert_ran(ran, 2, "none: No such file");
	ran_free(&ran);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_release_of_the_contract),
	    cmocka_unit_test(test_release_defaults),
	    cmocka_unit_test(test_deployment_of_the_contract),
	    cmocka_unit_test(test_strategies),
	    cmocka_unit_test(test_release_mistakes),
	    cmocka_unit_test(test_deployment_mistakes),
	    cmocka_unit_test(test_damaged_bytes),
	    cmocka_unit_test(test_lint_program),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
