/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-worker-smoke MANIFEST DIGEST ADDRESS PORT TIMEOUT_MS
 *
 * Runs the smoke tests of one release against one slot and prints what came of it as one line of
 * JSON (agent/probe/smoke.h). Talks to that address and to nothing else: no redirects, no proxy, no
 * other protocol than HTTP, a bounded body, one time limit for everything.
 */
#include "agent/probe/compare.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"
#include "protocol/manifest.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct body {
	uint8_t *data; /* LIMIT_HTTP_BODY */
	size_t size;
	bool too_large;
};

static size_t on_body(char *data, size_t one, size_t size, void *context)
{
	struct body *body = context;

	if (size > LIMIT_HTTP_BODY - body->size) {
		body->too_large = true;
		return 0;
	}
	memcpy(body->data + body->size, data, size);
	body->size += size;
	return size;
}

static int read_release(const char *path, const char *hex, struct release *ret_release,
			struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FREE uint8_t *data = NULL;
	struct envelope envelope = {0};
	struct digest expected, found;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "manifest %s", path);
	if (st.st_size > LIMIT_MANIFEST || digest_parse(hex, &expected) < 0)
		return err_set(err, -EINVAL, "manifest %s: not one", path);
	data = mem_alloc((size_t)st.st_size + 1);
	if (read(fd, data, (size_t)st.st_size) != st.st_size)
		return err_set(err, -EIO, "manifest %s: cannot be read", path);
	r = codec_decode(&codec_envelope, data, (size_t)st.st_size, &envelope, err);
	if (r < 0)
		return r;
	/* The agent has checked the signatures; the digest says that it is the same manifest. */
	digest_of(&found, envelope.payload.data, envelope.payload.size);
	if (digest_equal(&found, &expected))
		r = codec_decode(&codec_release, envelope.payload.data, envelope.payload.size,
				 ret_release, err);
	else
		r = err_set(err, -EBADMSG, "manifest %s: another digest", path);
	codec_free(&codec_envelope, &envelope);
	return r;
}

static void set_options(CURL *curl, const struct release_smoke *smoke, const char *url,
			const struct curl_slist *headers, uint64_t timeout_ms, struct body *body)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "covey-smoke");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	if (smoke->body.size > 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)smoke->body.size);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, smoke->body.data);
	}
	if (str_equal(smoke->method, "HEAD"))
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, smoke->method);
}

static int perform(CURL *curl, struct body *body, unsigned *ret_status, struct err *err)
{
	CURLcode code = curl_easy_perform(curl);
	long status = 0;

	if (body->too_large)
		return err_set(err, -EBADMSG, "the answer is larger than %d bytes",
			       LIMIT_HTTP_BODY);
	if (code != CURLE_OK)
		return err_set(err, -EIO, "no answer: %s", curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	*ret_status = (unsigned)status;
	return 0;
}

static int run_one(const struct release_smoke *smoke, const char *address, const char *port,
		   uint64_t timeout_ms, struct body *body, struct err *err)
{
	bool v6 = strchr(address, ':') != NULL;
	AUTO_FREE char *url = mem_format("http://%s%s%s:%s%s%s", v6 ? "[" : "", address,
					 v6 ? "]" : "", port, smoke->path[0] == '/' ? "" : "/",
					 smoke->path);
	AUTO_FREE char *type = mem_format("Content-Type: %s",
					  smoke->content_type ? smoke->content_type
							      : "application/octet-stream");
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	CURL *curl = curl_easy_init();
	unsigned status = 0;
	int r;

	if (!curl || !headers)
		return err_set(err, -ENOMEM, "no memory for an HTTP client");
	if (smoke->body.size > 0)
		headers = curl_slist_append(headers, type);
	body->size = 0;
	body->too_large = false;
	set_options(curl, smoke, url, headers, timeout_ms, body);
	r = perform(curl, body, &status, err);
	if (r == 0)
		r = compare_answer(smoke, status, body->data, body->size, err);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return r;
}

static int print_result(const char *test, const char *text)
{
	AUTO_FREE char *line = NULL;
	json_t *result;

	if (!text) {
		puts("{\"ok\":true}");
		return 0;
	}
	result = json_pack("{s:b,s:s%,s:s%}", "ok", 0, "test", test, strlen(test), "text", text,
			   strlen(text));
	line = result ? json_dumps(result, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	puts(line ? line : "{\"ok\":false,\"test\":\"\",\"text\":\"the text is not UTF-8\"}");
	json_decref(result);
	return 1;
}

static int run_all(const struct release *release, char **argv, uint64_t timeout_ms)
{
	struct body body = {.data = mem_alloc(LIMIT_HTTP_BODY)};
	uint64_t end = clock_mono_ms() + timeout_ms;
	struct err err = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < release->smokes_count; i++) {
		const struct release_smoke *smoke = &release->smokes[i];
		uint64_t now = clock_mono_ms();

		if (now >= end)
			r = err_set(&err, -ETIMEDOUT, "no time was left for this test");
		else
			r = run_one(smoke, argv[3], argv[4], end - now, &body, &err);
		if (r < 0)
			print_result(smoke->name, err_text(&err, r));
	}
	free(body.data);
	return r < 0 ? 1 : print_result("", NULL);
}

int main(int argc, char **argv)
{
	struct release release = {0};
	struct err err = {0};
	uint64_t timeout_ms;
	int r;

	if (argc != 6 || str_parse_u64(argv[5], UINT32_MAX, &timeout_ms) < 0) {
		fputs("usage: covey-worker-smoke MANIFEST DIGEST ADDRESS PORT TIMEOUT_MS\n",
		      stderr);
		return 2;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	r = read_release(argv[1], argv[2], &release, &err);
	if (r < 0)
		return print_result("", err_text(&err, r));
	r = run_all(&release, argv, timeout_ms);
	release_free(&release);
	curl_global_cleanup();
	return r;
}
