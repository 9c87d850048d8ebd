/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests are asked for in batches. A few uploads are under way at once, so that a long line is
 * filled; their answers are only counted, and the first refusal ends the push. The manifest goes
 * last: a release that is known is a release that is whole.
 */
#include "coordinator/cli/push.h"
#include "base/clock.h"
#include "base/mem.h"
#include "protocol/digest.h"

enum { BATCH = 2000, WINDOW_REQUESTS = 8, PROGRESS_MS = 200, ANSWER_MS = 120000 };

static const uint64_t window_bytes = 8 << 20;

void push_progress(const struct cli *cli, const char *format, ...)
{
	va_list args;

	if (!isatty(STDERR_FILENO) || cli->options.output == OUTPUT_JSON)
		return;
	fputs("\r\033[K", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
}

struct push {
	struct cli *cli;
	struct client *client;
	const struct pack *pack;
	bool *missing; /* for each object */
	struct push_result result;
	uint64_t done_bytes, in_flight, shown_ms;
	size_t requests;
	struct { /* sizes of the requests under way, to give their room back */
		uint64_t id, size;
	} window[WINDOW_REQUESTS];
};

/* ---- what is missing ---- */

static const struct pack_object *find_object(const struct pack *pack, const struct digest *digest)
{
	size_t low = 0, high = pack->objects_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(pack->objects[middle].digest.bytes, digest->bytes, DIGEST_SIZE);

		if (order == 0)
			return &pack->objects[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static int mark_missing(struct push *p, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		const struct pack_object *object = NULL;
		struct digest digest;

		if (text && digest_parse(text, &digest) == 0)
			object = find_object(p->pack, &digest);
		if (!object)
			return cli_fail(p->cli, EXIT_ERROR,
			                "the coordinator misses an object that this release does "
			                "not have; are both of the same version?");
		if (!p->missing[object - p->pack->objects]) {
			p->missing[object - p->pack->objects] = true;
			p->result.new_objects++;
			p->result.new_bytes += object->size;
			p->result.blobs[object->blob].new_objects += !object->index;
			p->result.blobs[object->blob].new_bytes += object->size;
		}
	}
	return EXIT_DONE;
}

static int ask_missing(struct push *p)
{
	const struct pack *pack = p->pack;

	for (size_t at = 0; at < pack->objects_count; at += BATCH) {
		AUTO_REPLY struct reply reply = {0};
		json_t *digests = json_array();
		int code;

		for (size_t i = at; i < pack->objects_count && i < at + BATCH; i++) {
			char text[DIGEST_TEXT_MAX];

			digest_text(text, &pack->objects[i].digest);
			json_array_append_new(digests, json_string(text));
			p->result.bytes += pack->objects[i].size;
			p->result.blobs[pack->objects[i].blob].objects += !pack->objects[i].index;
			p->result.blobs[pack->objects[i].blob].bytes += pack->objects[i].size;
		}
		code = client_ask(p->cli, p->client, "object.missing",
		                  json_pack("{so}", "digests", digests), NULL, &reply);
		if (code == EXIT_DONE)
			code = mark_missing(p, output_member(reply.body, "missing"));
		if (code != EXIT_DONE)
			return code;
	}
	p->result.objects = pack->objects_count;
	return EXIT_DONE;
}

/* ---- sending ---- */

static void show(struct push *p)
{
	char done[STR_SIZE_MAX], total[STR_SIZE_MAX];
	uint64_t now = clock_mono_ms();

	if (now < p->shown_ms + PROGRESS_MS)
		return;
	p->shown_ms = now;
	str_format_size(done, p->done_bytes);
	str_format_size(total, p->result.new_bytes);
	push_progress(p->cli, "sending %s of %s", done, total);
}

static int receive_one(struct push *p)
{
	AUTO_REPLY struct reply reply = {0};
	uint64_t given_ms = p->cli->options.timeout_ms;
	int r = client_receive(p->client, given_ms ? given_ms : ANSWER_MS, &reply, &p->cli->err);

	if (r < 0)
		return (int)client_exit_code(r);
	if (reply.exit_code != EXIT_DONE)
		return client_reply_code(p->cli, &reply);
	for (size_t i = 0; i < WINDOW_REQUESTS; i++) {
		if (p->window[i].id != reply.id)
			continue;
		p->done_bytes += p->window[i].size;
		p->in_flight -= p->window[i].size;
		p->window[i].id = 0;
		p->requests--;
		break;
	}
	show(p);
	return EXIT_DONE;
}

static void remember(struct push *p, uint64_t id, uint64_t size)
{
	size_t i = 0;

	while (p->window[i].id)
		i++;
	p->window[i].id = id;
	p->window[i].size = size;
	p->requests++;
	p->in_flight += size;
}

static int send_object(struct push *p, const struct pack_object *object, uint8_t *buffer)
{
	char text[DIGEST_TEXT_MAX];
	uint64_t id = 0;
	int code = EXIT_DONE, r;

	while (code == EXIT_DONE && (p->requests == WINDOW_REQUESTS ||
	                             (p->requests && p->in_flight + object->size > window_bytes)))
		code = receive_one(p);
	if (code != EXIT_DONE)
		return code;
	if (pack_read(p->pack, object, buffer, &p->cli->err) < 0)
		return EXIT_USAGE;
	digest_text(text, &object->digest);
	r = client_send(p->client, "object.put", json_pack("{ss}", "digest", text), buffer,
	                (size_t)object->size, &id, &p->cli->err);
	if (r < 0)
		return (int)client_exit_code(r);
	remember(p, id, object->size);
	return EXIT_DONE;
}

static int send_missing(struct push *p)
{
	AUTO_FREE uint8_t *buffer = mem_alloc(LIMIT_OBJECT);
	int code = EXIT_DONE;

	for (size_t i = 0; code == EXIT_DONE && i < p->pack->objects_count; i++)
		if (p->missing[i])
			code = send_object(p, &p->pack->objects[i], buffer);
	while (code == EXIT_DONE && p->requests)
		code = receive_one(p);
	push_progress(p->cli, "%s", "");
	return code;
}

static int send_manifest(struct push *p)
{
	AUTO_REPLY struct reply reply = {0};
	int code = client_ask(p->cli, p->client, "release.put", NULL, &p->pack->envelope, &reply);

	if (code == EXIT_DONE)
		p->result.answer = json_incref(reply.body);
	return code;
}

int push_send(struct cli *cli, struct client *client, const struct pack *pack,
              struct push_result *ret_result)
{
	struct push p = {.cli = cli, .client = client, .pack = pack};
	int code;

	p.missing = mem_array(pack->objects_count, sizeof(*p.missing));
	p.result.blobs = mem_array(pack->blobs_count + 1, sizeof(*p.result.blobs));
	code = ask_missing(&p);
	if (code == EXIT_DONE)
		code = send_missing(&p);
	if (code == EXIT_DONE)
		code = send_manifest(&p);
	free(p.missing);
	*ret_result = p.result;
	if (code == EXIT_UNREACHABLE)
		err_prefix(
		    &cli->err, -EIO,
		    "the push was interrupted; run it again and it goes on where it stopped");
	return code;
}
