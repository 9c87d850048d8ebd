/* SPDX-License-Identifier: Apache-2.0 */
/*
 * covey-hook: takes the evidence of drift from standard input (systemd hands it the coordinator's
 * connection) and gives it to what an administrator has configured: a command, which gets it on its
 * standard input, or a URL, to which it is posted. One call, one process, with a user of its own;
 * it knows nothing of the coordinator and may not write to its files.
 */
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

#include <curl/curl.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EVIDENCE_MAX = 4 << 20, PATH_MAX_HERE = 1024, WEBHOOK_SECONDS = 30 };

struct hook {
	char command[PATH_MAX_HERE], webhook[PATH_MAX_HERE];
};

static int on_line(void *arg, const char *section, const char *name, const char *value)
{
	struct hook *hook = arg;

	if (str_equal(name, "command") && *value == '/')
		return STR_SET(hook->command, value) == 0;
	if (str_equal(name, "webhook") &&
	    (str_starts(value, "https://") || str_starts(value, "http://")))
		return STR_SET(hook->webhook, value) == 0;
	return 0;
}

static int read_config(const char *path, struct hook *ret_hook, struct err *err)
{
	struct hook hook = {0};
	int line = ini_parse(path, on_line, &hook);

	if (line < 0)
		return err_set(err, -ENOENT, "%s: it cannot be read", path);
	if (line > 0)
		return err_set(err, -EINVAL,
		               "%s:%d: write `command = /path` or `webhook = https://...`", path,
		               line);
	if (!hook.command[0] == !hook.webhook[0])
		return err_set(err, -EINVAL, "%s: write either command or webhook", path);
	*ret_hook = hook;
	return 0;
}

static int read_evidence(struct str *text, struct err *err)
{
	char buffer[65536];
	ssize_t size;

	while ((size = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0) {
		str_add_bytes(text, buffer, (size_t)size);
		if (text->size > EVIDENCE_MAX)
			return err_set(err, -EMSGSIZE, "the evidence is too large");
	}
	if (size < 0)
		return err_errno(err, -errno, "standard input");
	return text->size ? 0 : err_set(err, -ENODATA, "there is no evidence on standard input");
}

static int run_command(const char *command, const struct str *text, struct err *err)
{
	int fd = memfd_create("evidence", 0);

	if (fd < 0 || write(fd, text->data, text->size) != (ssize_t)text->size ||
	    lseek(fd, 0, SEEK_SET) < 0 || dup2(fd, STDIN_FILENO) < 0)
		return err_errno(err, -errno, "evidence");
	if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) /* the connection takes no answer */
		return err_errno(err, -errno, "standard output");
	execl(command, command, (char *)NULL);
	return err_errno(err, -errno, "%s", command);
}

static int post(const char *url, const struct str *text, struct err *err)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	CURLcode code;

	if (!curl || !headers)
		return err_set(err, -ENOMEM, "libcurl does not start");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text->data);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)text->size);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)WEBHOOK_SECONDS);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, stderr); /* what it answers is for the log */
	code = curl_easy_perform(curl);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return code == CURLE_OK ? 0 : err_set(err, -EIO, "%s: %s", url, curl_easy_strerror(code));
}

int main(int argc, char **argv)
{
	const char *path =
	    argc == 3 && str_equal(argv[1], "--config") ? argv[2] : "/etc/covey/hook.conf";
	struct hook hook;
	AUTO_STR struct str text = {0};
	struct err err = {0};
	int r;

	if (argc != 1 && argc != 3) {
		fprintf(stderr, "usage: covey-hook [--config FILE] < evidence.json\n");
		return 2;
	}
	r = read_config(path, &hook, &err);
	if (r == 0)
		r = read_evidence(&text, &err);
	if (r == 0)
		r = hook.command[0] ? run_command(hook.command, &text, &err)
		                    : post(hook.webhook, &text, &err);
	if (r < 0)
		fprintf(stderr, "covey-hook: %s\n", err_text(&err, r));
	return r < 0 ? 1 : 0;
}
