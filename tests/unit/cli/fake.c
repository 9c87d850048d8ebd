/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mutex guards everything that both threads see. Verbs without a canned answer are answered
 * from what was pushed; a verb that the fake does not know is answered as the real one would.
 */
#include "fake.h"
#include "protocol/digest.h"
#include "protocol/enrol.h"
#include "protocol/message.h"
#include "protocol/transport/server.h"
#include "protocol/transport/zap.h"
#include "protocol/transport/zcontext.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct object {
	struct digest digest;
	struct bytes data;
};

struct fake {
	struct fake_setup setup;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ready;
	bool is_ready;
	int stop_fd;
	struct server *server;
	struct object *objects;
	size_t objects_count, objects_cap;
	struct bytes manifest;
	json_t *counts, *bodies, *answers;
	const char *const *states;
	size_t states_count, state_at;
	unsigned mute_after, puts;
	bool mute, hold, held; /* held: no answer to the request at hand */
};

/* ---- objects ---- */

static struct object *find(struct fake *f, const struct digest *digest)
{
	for (size_t i = 0; i < f->objects_count; i++)
		if (digest_equal(&f->objects[i].digest, digest))
			return &f->objects[i];
	return NULL;
}

static struct digest digest_arg(const json_t *body, const char *key)
{
	struct digest digest = {0};
	const char *text = json_string_value(json_object_get(body, key));

	if (text && digest_parse(text, &digest) < 0)
		digest = (struct digest){0};
	return digest;
}

static void put(struct fake *f, const struct msg_control *m, const json_t *body,
                struct msg_control_reply *reply)
{
	struct digest named = digest_arg(body, "digest"), digest;

	digest_of(&digest, m->blob.data, m->blob.size);
	if (!digest_equal(&named, &digest)) {
		reply->exit_code = 1;
		STR_CUT(reply->error, "the object's bytes do not have the digest that was named");
		return;
	}
	f->puts++;
	f->mute = f->mute || (f->mute_after && f->puts > f->mute_after);
	if (f->mute || find(f, &digest))
		return;
	MEM_GROW(f->objects, &f->objects_cap, f->objects_count);
	f->objects[f->objects_count++] =
	    (struct object){digest, {mem_copy(m->blob.data, m->blob.size), m->blob.size}};
}

static json_t *missing(struct fake *f, const json_t *body)
{
	json_t *list = json_array();
	const json_t *digests = json_object_get(body, "digests");

	for (size_t i = 0; i < json_array_size(digests); i++) {
		struct digest digest = {0};
		json_t *item = json_array_get(digests, i);

		assert_int_equal(digest_parse(json_string_value(item), &digest), 0);
		if (!find(f, &digest))
			json_array_append(list, item);
	}
	return json_pack("{so}", "missing", list);
}

static json_t *put_release(struct fake *f, const struct msg_control *m)
{
	bool same = f->manifest.size == m->blob.size &&
	            memcmp(f->manifest.data, m->blob.data, m->blob.size) == 0;

	if (!same) {
		free(f->manifest.data);
		f->manifest = (struct bytes){mem_copy(m->blob.data, m->blob.size), m->blob.size};
	}
	return json_pack("{sssssb}", "release", "m@v", "digest", "blake2b:00", "created", !same);
}

/* ---- verbs ---- */

static json_t *next_state(struct fake *f, const json_t *body)
{
	json_t *state;
	json_int_t since = json_is_integer(json_object_get(body, "since"))
	                       ? json_integer_value(json_object_get(body, "since"))
	                       : -1;

	if (since >= 0 && (size_t)since + 1 < f->states_count)
		f->state_at = (size_t)since + 1;
	else
		f->held = f->hold && since >= 0;
	state = json_loads(f->states[f->state_at], 0, NULL);
	assert_non_null(state);
	json_object_set_new(state, "change", json_integer((json_int_t)f->state_at));
	return state;
}

static json_t *answer(struct fake *f, const struct msg_control *m, const json_t *body,
                      struct msg_control_reply *reply)
{
	const json_t *canned = json_object_get(f->answers, m->verb);
	struct object *object;
	struct digest digest;

	if (canned) {
		reply->exit_code = (uint32_t)json_integer_value(json_object_get(canned, "code"));
		if (!reply->exit_code)
			return json_loads(json_string_value(json_object_get(canned, "text")),
			                  JSON_DECODE_ANY, NULL);
		STR_CUT(reply->error, json_string_value(json_object_get(canned, "text")));
		return NULL;
	}
	if (str_equal(m->verb, "object.missing"))
		return missing(f, body);
	if (str_equal(m->verb, "object.put")) {
		put(f, m, body, reply);
		return json_object();
	}
	if (str_equal(m->verb, "object.get")) {
		digest = digest_arg(body, "digest");
		object = find(f, &digest);
		if (object)
			reply->blob = (struct bytes){mem_copy(object->data.data, object->data.size),
			                             object->data.size};
		return json_object();
	}
	if (str_equal(m->verb, "release.put"))
		return put_release(f, m);
	if (str_equal(m->verb, "release.get")) {
		reply->blob =
		    (struct bytes){mem_copy(f->manifest.data, f->manifest.size), f->manifest.size};
		return json_object();
	}
	if (str_equal(m->verb, "rollout.show") && f->states_count)
		return next_state(f, body);
	reply->exit_code = 2;
	snprintf(reply->error, sizeof(reply->error), "the verb %s is unknown", m->verb);
	return NULL;
}

static void note(struct fake *f, const struct msg_control *m, json_t *body)
{
	json_int_t count = json_integer_value(json_object_get(f->counts, m->verb));

	json_object_set_new(f->counts, m->verb, json_integer(count + 1));
	json_object_set(f->bodies, m->verb, body);
}

static void on_message(void *ctx, const struct zmessage *z)
{
	struct fake *f = ctx;
	struct message message = {0};
	struct msg_control *m;
	struct msg_control_reply reply = {0};
	struct bytes data = {0};
	json_t *body, *result;
	int r;

	r = message_decode(z->data, z->size, CHANNEL_OPERATORS, FROM_OPERATOR, &message, NULL);
	assert_int_equal(r, 0);
	m = message.body;
	body = json_loads(m->body ? m->body : "{}", 0, NULL);
	assert_non_null(body);
	pthread_mutex_lock(&f->lock);
	note(f, m, body);
	reply.id = m->id;
	f->held = false;
	result = answer(f, m, body, &reply);
	pthread_mutex_unlock(&f->lock);
	reply.body = result ? json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	if (!f->mute && !f->held) {
		r = message_encode(MESSAGE_CONTROL_REPLY, &reply, &data, NULL);
		assert_int_equal(r, 0);
		r = server_send(f->server, z->routing, z->routing_size, data.data, data.size);
		assert_true(r == 0 || r == -EHOSTUNREACH); /* may have gone after an error */
	}
	free(data.data);
	free(reply.body);
	free(reply.blob.data);
	json_decref(result);
	json_decref(body);
	message_free(&message);
}

/* ---- the thread ---- */

static bool admit(void *ctx, const char *domain, const struct public_key *key,
                  char ret_user_id[ZAP_USER_ID_MAX])
{
	struct fake *f = ctx;

	return memcmp(key->bytes, f->setup.admitted.bytes, KEY_SIZE) == 0;
}

static int on_stop(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void open_server(struct fake *f, struct zhub *hub)
{
	struct server_config config = {.max_message_size = LIMIT_CONTROL_MESSAGE,
	                               .ipc_group = (gid_t)SERVER_KEEP_GROUP};
	char endpoint[LIMIT_ENDPOINT + 1];
	struct err err = {0};
	int r;

	config.endpoint = endpoint;
	if (f->setup.curve) {
		snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%d",
		         f->setup.base_port + PORT_OFFSET_OPERATORS);
		config.zap_domain = ZAP_DOMAIN_OPERATORS;
		config.key = &f->setup.server;
	} else {
		snprintf(endpoint, sizeof(endpoint), "ipc://%s/socket", f->setup.folder);
	}
	r = server_new(hub, &config, on_message, f, &f->server, &err);
	if (r < 0)
		fail_msg("%s", err.text);
}

static void *run(void *ctx)
{
	struct fake *f = ctx;
	sd_event *event = NULL;
	void *context = NULL;
	struct zhub *hub = NULL;
	struct zap *zap = NULL;

	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(zcontext_new(NULL, &context, NULL), 0);
	assert_int_equal(zhub_new(event, context, &hub), 0);
	if (f->setup.curve)
		assert_int_equal(zap_new(hub, admit, f, &zap, NULL), 0);
	open_server(f, hub);
	assert_true(sd_event_add_io(event, NULL, f->stop_fd, 1 /* EPOLLIN */, on_stop, NULL) >= 0);
	pthread_mutex_lock(&f->lock);
	f->is_ready = true;
	pthread_cond_signal(&f->ready);
	pthread_mutex_unlock(&f->lock);
	sd_event_loop(event);
	server_free(f->server);
	zap_free(zap);
	zhub_free(hub);
	zcontext_free(context);
	sd_event_unref(event);
	return NULL;
}

struct fake *fake_start(const struct fake_setup *setup)
{
	struct fake *f = mem_alloc(sizeof(*f));

	f->setup = *setup;
	f->counts = json_object();
	f->bodies = json_object();
	f->answers = json_object();
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->ready, NULL);
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
	pthread_mutex_lock(&f->lock);
	while (!f->is_ready)
		pthread_cond_wait(&f->ready, &f->lock);
	pthread_mutex_unlock(&f->lock);
	return f;
}

void fake_stop(struct fake *f)
{
	eventfd_write(f->stop_fd, 1);
	pthread_join(f->thread, NULL);
	close(f->stop_fd);
	for (size_t i = 0; i < f->objects_count; i++)
		free(f->objects[i].data.data);
	free(f->objects);
	free(f->manifest.data);
	json_decref(f->counts);
	json_decref(f->bodies);
	json_decref(f->answers);
	free(f);
}

unsigned fake_count(struct fake *f, const char *verb)
{
	unsigned count;

	pthread_mutex_lock(&f->lock);
	count = (unsigned)json_integer_value(json_object_get(f->counts, verb));
	pthread_mutex_unlock(&f->lock);
	return count;
}

json_t *fake_last(struct fake *f, const char *verb)
{
	json_t *body;

	pthread_mutex_lock(&f->lock);
	body = json_deep_copy(json_object_get(f->bodies, verb));
	pthread_mutex_unlock(&f->lock);
	return body;
}

void fake_answer(struct fake *f, const char *verb, int exit_code, const char *text)
{
	pthread_mutex_lock(&f->lock);
	json_object_set_new(f->answers, verb, json_pack("{siss}", "code", exit_code, "text", text));
	pthread_mutex_unlock(&f->lock);
}

void fake_script(struct fake *f, const char *const *states, size_t count)
{
	pthread_mutex_lock(&f->lock);
	f->states = states;
	f->states_count = count;
	f->state_at = 0;
	pthread_mutex_unlock(&f->lock);
}

void fake_hold(struct fake *f, bool hold)
{
	pthread_mutex_lock(&f->lock);
	f->hold = hold;
	pthread_mutex_unlock(&f->lock);
}

void fake_mute_after_puts(struct fake *f, unsigned count)
{
	pthread_mutex_lock(&f->lock);
	f->mute_after = count;
	f->puts = 0;
	f->mute = false;
	pthread_mutex_unlock(&f->lock);
}

size_t fake_objects(struct fake *f)
{
	size_t count;

	pthread_mutex_lock(&f->lock);
	count = f->objects_count;
	pthread_mutex_unlock(&f->lock);
	return count;
}

uint64_t fake_object_bytes(struct fake *f)
{
	uint64_t bytes = 0;

	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->objects_count; i++)
		bytes += f->objects[i].data.size;
	pthread_mutex_unlock(&f->lock);
	return bytes;
}

void fake_damage(struct fake *f)
{
	struct object *largest = &f->objects[0];

	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->objects_count; i++)
		if (f->objects[i].data.size > largest->data.size)
			largest = &f->objects[i];
	largest->data.data[largest->data.size / 2] ^= 1;
	pthread_mutex_unlock(&f->lock);
}

void fake_damage_manifest(struct fake *f)
{
	pthread_mutex_lock(&f->lock);
	f->manifest.data[f->manifest.size / 2] ^= 1;
	pthread_mutex_unlock(&f->lock);
}

/* ---- the program ---- */

static char *read_all(int fd)
{
	struct stat st;
	char *text;

	assert_int_equal(fstat(fd, &st), 0);
	text = mem_alloc((size_t)st.st_size + 1);
	assert_int_equal(pread(fd, text, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	return text;
}

static int open_temp(void)
{
	return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static struct running spawn(char *const *argv, char *const *envp, int terminal)
{
	struct running running = {.out = open_temp(), .err = open_temp()};
	posix_spawn_file_actions_t actions;

	assert_true(running.out >= 0 && running.err >= 0);
	posix_spawn_file_actions_init(&actions);
	if (terminal >= 0)
		posix_spawn_file_actions_adddup2(&actions, terminal, 0);
	else
		posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, terminal >= 0 ? terminal : running.out, 1);
	posix_spawn_file_actions_adddup2(&actions, terminal >= 0 ? terminal : running.err, 2);
	assert_int_equal(posix_spawn(&running.pid, argv[0], &actions, NULL, argv, envp), 0);
	posix_spawn_file_actions_destroy(&actions);
	return running;
}

struct ran finish_covey(struct running *running)
{
	struct ran ran = {0};
	int status = 0;

	assert_int_equal(waitpid(running->pid, &status, 0), running->pid);
	ran.out = read_all(running->out);
	ran.err = read_all(running->err);
	ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
	return ran;
}

static struct running start(const char *home, const char *extra_env, int terminal, char *line)
{
	AUTO_FREE char *home_env = mem_format("COVEY_HOME=%s", home);
	AUTO_FREE char *path_env = mem_format("PATH=%s", getenv("PATH"));
	AUTO_FREE char *asan_env =
	    mem_format("ASAN_OPTIONS=%s", getenv("ASAN_OPTIONS") ? getenv("ASAN_OPTIONS") : "");
	AUTO_FREE char *extra = mem_str(extra_env ? extra_env : "COVEY_NOTHING=");
	char locale[] = "LC_ALL=C.UTF-8", term[] = "TERM=xterm";
	char *envp[] = {home_env, path_env, asan_env, locale, term, extra, NULL};
	char *argv[64] = {getenv("COVEY_BIN")};
	size_t argc = 1;

	assert_non_null(argv[0]);
	for (char *at = strtok(line, " "); at && argc + 1 < ARRAY_SIZE(argv);
	     at = strtok(NULL, " "))
		argv[argc++] = at;
	return spawn(argv, envp, terminal);
}

struct running start_covey(const char *home, const char *extra_env, int terminal,
                           const char *arguments, ...)
{
	AUTO_FREE char *line = NULL;
	va_list args;

	va_start(args, arguments);
	assert_true(vasprintf(&line, arguments, args) >= 0);
	va_end(args);
	return start(home, extra_env, terminal, line);
}

struct ran run_covey(const char *home, const char *extra_env, const char *arguments, ...)
{
	struct running running;
	AUTO_FREE char *line = NULL;
	va_list args;

	va_start(args, arguments);
	assert_true(vasprintf(&line, arguments, args) >= 0);
	va_end(args);
	running = start(home, extra_env, -1, line);
	return finish_covey(&running);
}

void ran_free(struct ran *ran)
{
	free(ran->out);
	free(ran->err);
	*ran = (struct ran){0};
}

void check_ran(const struct ran *ran, int code, const char *text, const char *file, int line)
{
	bool text_fits = text ? strstr(ran->err, text) != NULL : !*ran->err;

	if (ran->code == code && text_fits)
		return;
	print_message("%s:%d: exit code %d (wanted %d)\nstdout: %s\nstderr: %s\nwanted: %s\n", file,
	              line, ran->code, code, ran->out, ran->err, text ? text : "(nothing)");
	fail();
}

/* ---- files ---- */

char *temp_folder(void)
{
	char *folder = mem_str("/tmp/covey-cli-XXXXXX");

	assert_non_null(mkdtemp(folder));
	return folder;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void remove_folder(char *folder)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(folder);
}

void write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

void write_textf(const char *path, const char *format, ...)
{
	AUTO_FREE char *text = NULL;
	va_list args;

	va_start(args, format);
	assert_true(vasprintf(&text, format, args) >= 0);
	va_end(args);
	write_file(path, text, strlen(text));
}
