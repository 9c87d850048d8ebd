/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sentence is written once, where the cause is known; callers only put the name of the thing
 * they were working on before it. So a message reads "release.yaml: line 4: port: ..." without
 * any layer knowing about the others.
 */
#include "base/err.h"

#include <assert.h>
#include <string.h>

__attribute__((format(printf, 2, 0))) static void set_text(struct err *err, const char *format,
								 va_list args)
{
	vsnprintf(err->text, sizeof(err->text), format, args);
}

int err_set(struct err *err, int code, const char *format, ...)
{
	va_list args;

	assert(code < 0);
	if (!err)
		return code;
	va_start(args, format);
	set_text(err, format, args);
	va_end(args);
	return code;
}

int err_errno(struct err *err, int code, const char *format, ...)
{
	va_list args;
	size_t used;

	assert(code < 0);
	if (!err)
		return code;
	va_start(args, format);
	set_text(err, format, args);
	va_end(args);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(-code));
	return code;
}

int err_prefix(struct err *err, int code, const char *format, ...)
{
	char old[ERR_TEXT_MAX];
	va_list args;
	size_t used;

	assert(code < 0);
	if (!err)
		return code;
	memcpy(old, err->text, sizeof(old));
	va_start(args, format);
	set_text(err, format, args);
	va_end(args);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s",
		 old[0] ? old : strerror(-code));
	return code;
}

const char *err_text(const struct err *err, int code)
{
	if (err && err->text[0])
		return err->text;
	return strerror(code < 0 ? -code : code);
}
