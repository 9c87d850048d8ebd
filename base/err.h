/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. A fallible function returns 0 or a negative errno; the sentence for people goes into an
 * optional, caller-owned `struct err`, filled where the cause is known and prefixed on the way up.
 */
#pragma once

#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>

enum { ERR_TEXT_MAX = 512 };

struct err {
	char text[ERR_TEXT_MAX]; /* one sentence without a full stop; "" when nothing was said */
};

/* Sets the sentence (cut at ERR_TEXT_MAX) and returns code. err may be NULL. code is < 0. */
int err_set(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As err_set, with ": <strerror(-code)>" appended. */
int err_errno(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence that is there, returns code. */
int err_prefix(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The sentence, or strerror(-code) where nobody wrote one. err may be NULL. */
const char *err_text(const struct err *err, int code);
