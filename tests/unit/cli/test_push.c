/* SPDX-License-Identifier: Apache-2.0 */
/* `release push` and `release verify` as a whole: the real program against a coordinator's store.
 */
#include "base/rng.h"
#include "coordinator/cli/model_files.h"
#include "coordinator/cli/pack.h"
#include "fake.h"
#include "images.h"

#include "protocol/codec_tables.h"
#include "protocol/manifest.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	char *folder, *home, *yaml;
	struct fake *fake;
	char *env;
};

static const struct tar_entry layer_one[] = {{"etc", 'd', NULL},
                                             {"etc/passwd", 'f', "root:x:0:0::/:/bin/false\n"},
                                             {"server", 'f', "not really a program"},
                                             {"etc/link", 's', "/etc/passwd"},
                                             {0}};
static const struct tar_entry layer_two[] = {{"app", 'f', "two"}, {0}};

static int setup(void **state)
{
	struct place *p = mem_alloc(sizeof(*p));
	struct image_plan plan = {.layers = {layer_one, layer_two}, .compression = 'g'};
	AUTO_FREE char *image = NULL, *model = NULL, *weights = NULL, *nested = NULL;
	AUTO_FREE uint8_t *data = mem_alloc(3 << 20);
	struct rng rng = {7};
	struct ran ran;

	p->folder = temp_folder();
	p->home = mem_format("%s/home", p->folder);
	p->yaml = mem_format("%s/release.yaml", p->folder);
	p->env = mem_format("COVEY_COORDINATOR=ipc://%s/socket", p->folder);
	image = mem_format("%s/image", p->folder);
	model = mem_format("%s/model", p->folder);
	weights = mem_format("%s/model/weights.bin", p->folder);
	nested = mem_format("%s/model/sub", p->folder);
	make_oci_layout(image, &plan);
	mkdir(model, 0755);
	mkdir(nested, 0755);
	for (size_t i = 0; i < 3 << 20; i++)
		data[i] = (uint8_t)rng_next(&rng);
	write_file(weights, data, 3 << 20);
	free(nested);
	nested = mem_format("%s/model/sub/empty", p->folder);
	write_file(nested, "", 0);
	write_textf(p->yaml,
	            "model: m\nversion: v\nimage: image\nfiles: model\nserve: {port: 8080}\n"
	            "env: {THREADS: \"2\", PATH: /usr/bin}\n");
	ran = run_covey(p->home, NULL, "init --dir %s/state --endpoint tcp://127.0.0.1:7400",
	                p->folder);
	assert_ran(ran, 0, NULL);
	ran_free(&ran);
	p->fake = fake_start(&(struct fake_setup){.folder = p->folder});
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	fake_stop(p->fake);
	free(p->home);
	free(p->yaml);
	free(p->env);
	remove_folder(p->folder);
	free(p);
	return 0;
}

static json_t *push_json(struct place *p)
{
	struct ran ran =
	    run_covey(p->home, p->env, "release push -f %s --arch amd64 -o json", p->yaml);
	json_t *json;

	assert_ran(ran, 0, NULL);
	json = json_loads(ran.out, 0, NULL);
	assert_non_null(json);
	ran_free(&ran);
	return json;
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* spec: REL-2 */
static void test_second_push_sends_nothing(void **state)
{
	struct place *p = *state;
	json_t *first = push_json(p), *second;
	unsigned puts = fake_count(p->fake, "object.put");

	assert_true(json_is_true(json_object_get(first, "created")));
	assert_int_equal(number(first, "new_objects"), number(first, "objects"));
	assert_int_equal(number(first, "new_objects"), puts);
	assert_int_equal(fake_objects(p->fake), puts);
	assert_true(number(first, "new_bytes") > 3 << 20);
	second = push_json(p);
	assert_false(json_is_true(json_object_get(second, "created")));
	assert_int_equal(number(second, "new_bytes"), 0);
	assert_int_equal(fake_count(p->fake, "object.put"), puts);
	json_decref(first);
	json_decref(second);
}

/* Bytes and pieces: what was sent, what was known, in which file, and what nodes hold already. */
static void test_push_says_what_is_new(void **state)
{
	struct place *p = *state;
	json_t *first = push_json(p), *second, *file;
	struct ran ran;

	fake_answer(p->fake, "release.put", 0,
	            "{\"created\": true, \"fleet\": {\"nodes\": 3, \"bytes\": 2048, \"chunks\": 5,"
	            " \"release_bytes\": 4096, \"release_chunks\": 7}}");
	second = push_json(p);
	assert_int_equal(number(json_object_get(second, "fleet"), "chunks"), 5);
	file = json_array_get(json_object_get(first, "blobs"), 3);
	assert_string_equal(json_string_value(json_object_get(file, "path")), "weights.bin");
	assert_int_equal(number(file, "new_chunks"), number(file, "chunks"));
	assert_true(number(file, "new_bytes") >= 3 << 20);
	file = json_array_get(json_object_get(second, "blobs"), 3);
	assert_int_equal(number(file, "new_chunks"), 0);
	assert_true(number(file, "chunks") >= 12);
	ran = run_covey(p->home, p->env, "release push -f %s --arch amd64", p->yaml);
	assert_ran(ran, 0, NULL);
	assert_non_null(strstr(ran.out, "is stored: 0 B new in 0 objects, 3"));
	assert_non_null(strstr(ran.out, "\n  the fleet has 2.0 KiB of 4.0 KiB, 5 of 7 chunks, on 3 "
	                                "nodes\n"));
	ran_free(&ran);
	json_decref(first);
	json_decref(second);
}

/* A model that no buffer holds: the program takes a few MiB whatever the size. */
static void test_push_takes_little_memory(void **state)
{
#ifdef __SANITIZE_ADDRESS__ /* which keeps what was freed */
	enum { GIB = 1 << 30, STAMPS = 1 << 20, MOST_KIB = 640 << 10 };
#else
	enum { GIB = 1 << 30, STAMPS = 1 << 20, MOST_KIB = 40 << 10 };
#endif
	const long watched = getenv("COVEY_PATIENCE") ? 8 : 1; /* under valgrind */
	struct place *p = *state;
	AUTO_FREE char *weights = mem_format("%s/model/large.bin", p->folder);
	FILE *file = fopen(weights, "w");
	struct rusage usage;
	json_t *json, *blob;

	for (uint64_t at = 0; at < GIB; at += STAMPS) { /* sparse, each chunk another */
		fseek(file, (long)at, SEEK_SET);
		fwrite(&at, sizeof(at), 1, file);
	}
	assert_int_equal(ftruncate(fileno(file), GIB), 0);
	fclose(file);
	fake_answer(p->fake, "object.missing", 0, "{\"missing\": []}");
	fake_answer(p->fake, "release.put", 0, "{\"created\": true}");
	json = push_json(p);
	blob = json_array_get(json_object_get(json, "blobs"), 2);
	assert_string_equal(json_string_value(json_object_get(blob, "path")), "large.bin");
	assert_int_equal(number(blob, "chunks"), GIB / STAMPS);
	json_decref(json);
	assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
	assert_in_range(usage.ru_maxrss, 1, MOST_KIB * watched);
}

/* One byte in the middle of 3 MiB: one chunk and one index are new. */
/* spec: REL-2 */
static void test_small_change_sends_little(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *weights = mem_format("%s/model/weights.bin", p->folder);
	FILE *file;
	json_t *json = push_json(p);

	json_decref(json);
	file = fopen(weights, "r+");
	fseek(file, 1500000, SEEK_SET);
	fputc('!', file);
	fclose(file);
	json = push_json(p);
	assert_int_equal(number(json, "new_objects"), 2);
	assert_true(number(json, "new_bytes") < 300 * 1024);
	json_decref(json);
}

/* The same image as folder, as archive, as docker archive, and through (a stand-in for) skopeo is
 * the same release to the last byte. */
/* spec: REL-1 */
static void test_forms_are_one_release(void **state)
{
	static const char *const forms[] = {"image.tar", "docker.tar", "docker://registry/image:1"};
	struct image_plan plan = {.layers = {layer_one, layer_two}};
	struct place *p = *state;
	AUTO_FREE char *image = mem_format("%s/image", p->folder);
	AUTO_FREE char *tar = mem_format("%s/image.tar", p->folder);
	AUTO_FREE char *docker = mem_format("%s/docker.tar", p->folder);
	AUTO_FREE char *skopeo = mem_format("%s/skopeo", p->folder);
	AUTO_FREE char *path = mem_format("%s:%s", p->folder, getenv("PATH"));
	AUTO_FREE char *old_path = mem_str(getenv("PATH"));
	json_t *json = push_json(p);

	json_decref(json);
	make_oci_archive(image, tar);
	make_docker_archive(docker, &plan, false);
	write_textf(
	    skopeo,
	    "#!/bin/sh\n[ \"$*\" != \"${*#*docker://registry/image:1 oci-archive:}\" ] || exit 9\n"
	    "for last; do :; done\nlast=${last#oci-archive:}\ncp %s ${last%%:image}\n",
	    tar);
	chmod(skopeo, 0755);
	setenv("PATH", path, 1);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		write_textf(p->yaml,
		            "model: m\nversion: v\nimage: %s\nfiles: model\n"
		            "serve: {port: 8080}\nenv: {THREADS: \"2\", PATH: /usr/bin}\n",
		            forms[i]);
		json = push_json(p);
		assert_int_equal(number(json, "new_objects"), 0);
		assert_true(json_is_false(json_object_get(json, "created")));
		json_decref(json);
	}
	setenv("PATH", old_path, 1);
}

/* Every release and deployment of the example is fine, and shares what it can share. */
static void test_example(void **state)
{
	static const char *const versions[] = {"1.0.0", "2.0.0", "2.1.0",
	                                       "2.2.0", "3.0.0", "3.1.0"};
	struct place *p = *state;
	AUTO_FREE char *prepare = mem_format("mkdir -p %s/examples && cp -r %s %s/examples/ && "
	                                     "python3 %s/build-image.py --server %s "
	                                     "%s/build/digits-image",
	                                     p->folder, getenv("DIGITS"), p->folder,
	                                     getenv("DIGITS"), getenv("DIGITS_SERVER"), p->folder);

	assert_int_equal(system(prepare), 0);
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		AUTO_FREE char *folder =
		    mem_format("%s/examples/digits/releases/%s", p->folder, versions[i]);
		struct ran ran = run_covey(p->home, p->env, "lint -f %s/deployment.yaml", folder);
		size_t before = fake_objects(p->fake);

		assert_ran(ran, 0, NULL);
		ran_free(&ran);
		ran = run_covey(p->home, p->env, "release push -f %s/release.yaml", folder);
		assert_ran(ran, 0, NULL);
		ran_free(&ran);
		if (i > 0) /* the model's chunks and index at most: the layer is there already */
			assert_true(fake_objects(p->fake) - before <= 8);
	}
}

/* spec: REL-3 */
static void test_interrupted_push_goes_on(void **state)
{
	struct place *p = *state;
	struct ran ran;
	size_t before;
	json_t *json;

	fake_mute_after_puts(p->fake, 5);
	ran = run_covey(p->home, p->env, "release push -f %s --arch amd64 --timeout 1s", p->yaml);
	assert_ran(ran, 7, "goes on where it stopped");
	ran_free(&ran);
	assert_int_equal(fake_count(p->fake, "release.put"), 0);
	before = fake_objects(p->fake);
	assert_int_equal(before, 5);
	fake_mute_after_puts(p->fake, 0);
	json = push_json(p);
	assert_int_equal(number(json, "new_objects"), number(json, "objects") - (json_int_t)before);
	json_decref(json);
}

static void test_refused_object_ends_it(void **state)
{
	struct place *p = *state;
	struct ran ran;

	fake_answer(p->fake, "object.put", 1, "the disk is full; free some space");
	ran = run_covey(p->home, p->env, "release push -f %s --arch amd64", p->yaml);
	assert_ran(ran, 1, "the disk is full");
	ran_free(&ran);
	/* so few objects that all of them are under way at once */
	write_textf(p->yaml, "model: m\nversion: v\nimage: image\nserve: {port: 8080}\n");
	ran = run_covey(p->home, p->env, "release push -f %s --arch amd64", p->yaml);
	assert_ran(ran, 1, "the disk is full");
	ran_free(&ran);
	assert_int_equal(fake_count(p->fake, "release.put"), 0);
}

/* What was cut is checked again when it is sent. */
static void test_changed_file_is_noticed(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *image_path = mem_format("%s/image", p->folder);
	AUTO_FREE char *weights = mem_format("%s/model/weights.bin", p->folder);
	AUTO_FREE uint8_t *data = mem_alloc(LIMIT_OBJECT);
	struct release_file file = {0};
	struct image image = {0};
	struct sign_key key;
	struct pack pack = {0};
	struct err err = {0};
	unsigned changed = 0;

	sign_key_generate(&key);
	assert_int_equal(release_file_read(p->yaml, true, &file, &err), 0);
	assert_int_equal(image_read(image_path, "amd64", &image, &err), 0);
	assert_int_equal(pack_build(&file, &image, &key, NULL, NULL, &pack, &err), 0);
	for (size_t i = 0; i < pack.objects_count; i++)
		assert_int_equal(pack_read(&pack, &pack.objects[i], data, &err), 0);
	assert_int_equal(truncate(weights, 1 << 20), 0);
	assert_int_equal(truncate(weights, 3 << 20), 0); /* the same size, other content */
	for (size_t i = 0; i < pack.objects_count; i++)
		changed += pack_read(&pack, &pack.objects[i], data, &err) < 0;
	assert_int_equal(changed, 8);
	assert_non_null(strstr(err.text, "weights.bin changed while it was being pushed"));
	assert_string_equal(pack.release.env[0].name,
	                    "PATH"); /* the image's, with the file's value */
	assert_string_equal(pack.release.env[0].value, "/usr/bin");
	assert_string_equal(pack.release.env[1].name, "THREADS");
	pack_free(&pack);
	image_free(&image);
	release_file_free(&file);
}

static void test_model_folder(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *folder = mem_format("%s/m", p->folder),
	               *empty = mem_format("%s/e", p->folder);
	AUTO_FREE char *make =
	    mem_format("mkdir -p %s/c %s && cd %s && touch b a c/x .h && chmod +x a && "
	               "ln -s ../release.yaml link",
	               folder, empty, folder);
	AUTO_FREE char *loop = mem_format("ln -s . %s/loop", folder);
	static const char *const names[] = {".h", "a", "b", "c/x", "link"};
	struct model_files files = {0};
	struct err err = {0};

	assert_int_equal(system(make), 0);
	assert_int_equal(model_files_list(folder, &files, &err), 0);
	assert_int_equal(files.count, ARRAY_SIZE(names));
	for (size_t i = 0; i < files.count; i++) {
		assert_string_equal(files.items[i].name, names[i]);
		assert_int_equal(files.items[i].mode, i == 1 ? 0755 : 0644);
	}
	model_files_free(&files);
	assert_int_equal(system(loop), 0);
	assert_int_equal(model_files_list(folder, &files, &err), -EINVAL);
	assert_non_null(strstr(err.text, "loop: a model folder has files and folders only"));
	assert_int_equal(model_files_list(empty, &files, &err), -EINVAL);
}

static void test_manifest(void **state)
{
	struct place *p = *state;
	struct ran ran;
	json_t *json = push_json(p);

	json_decref(json);
	ran = run_covey(p->home, p->env, "release verify m@v -o json");
	assert_ran(ran, 0, NULL);
	json = json_loads(ran.out, 0, NULL);
	assert_int_equal(number(json, "signatures"), 1);
	assert_true(json_is_true(json_object_get(json, "verified")));
	json_decref(json);
	ran_free(&ran);
	ran = run_covey(p->home, p->env, "release verify m@other");
	assert_ran(ran, 1, "the coordinator sent m@v for m@other");
	ran_free(&ran);
	fake_damage(p->fake);
	ran = run_covey(p->home, p->env, "release verify m@v");
	assert_ran(ran, 1, "is damaged at the coordinator");
	ran_free(&ran);
}

static void test_foreign_manifest_is_refused(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *other = mem_format("%s/other", p->folder);
	struct ran ran;
	json_t *json;

	ran = run_covey(other, NULL, "init --dir %s/state2 --endpoint tcp://127.0.0.1:7400",
	                p->folder);
	assert_ran(ran, 0, NULL);
	ran_free(&ran);
	json = push_json(p);
	json_decref(json);
	ran = run_covey(other, p->env, "release verify m@v"); /* another fleet's root */
	assert_ran(ran, 1, "not what this fleet's release keys signed");
	ran_free(&ran);
	fake_damage_manifest(p->fake);
	ran = run_covey(p->home, p->env, "release verify m@v");
	assert_ran(ran, 1, "not what this fleet's release keys signed");
	ran_free(&ran);
}

static void test_mistakes(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *nobody = mem_format("%s/nobody", p->folder);
	AUTO_FREE char *model = mem_format("%s/model/fifo", p->folder);
	struct ran ran;

	ran = run_covey(nobody, p->env, "release push -f %s", p->yaml);
	assert_ran(ran, 1, "release.key is missing");
	ran_free(&ran);
	ran = run_covey(p->home, p->env, "release push -f %s --arch arm64", p->yaml);
	assert_ran(ran, 2, "the image is for amd64, not for arm64; choose with --arch");
	ran_free(&ran);
	ran = run_covey(p->home, p->env, "release push");
	assert_ran(ran, 2, "write -f release.yaml");
	ran_free(&ran);
	mkfifo(model, 0644);
	ran = run_covey(p->home, p->env, "release push -f %s --arch amd64", p->yaml);
	assert_ran(ran, 2, "fifo: a model folder has files and folders only");
	ran_free(&ran);
	unlink(model);
	write_textf(p->yaml, "model: m\nversion: v\nimage: nowhere\nserve: {port: 8080}\n");
	ran = run_covey(p->home, p->env, "release push -f %s --arch amd64", p->yaml);
	assert_ran(ran, 2, "release.yaml:3: image: ");
	ran_free(&ran);
	assert_int_equal(fake_count(p->fake, "object.put") + fake_count(p->fake, "object.missing"),
	                 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_second_push_sends_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_small_change_sends_little, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_push_takes_little_memory, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_push_says_what_is_new, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_forms_are_one_release, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_example, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_interrupted_push_goes_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refused_object_ends_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_changed_file_is_noticed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_model_folder, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_manifest, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_foreign_manifest_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_mistakes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
