/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for the journal. Only shells and main programs log; libraries and cores return errors.
 * Under systemd the level goes in front as <N>, which journald reads from stderr. Events that
 * operators look for go to the journal with fields and an id of base/log_ids.h; elsewhere to stderr
 * as any line.
 */
#pragma once

#include <stdarg.h>

enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

void log_open(const char *program, enum log_level max);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct log_event { /* borrowed texts; NULL or "": no such field */
	const char *id; /* LOG_ID_... */
	enum log_level level;
	const char *deployment, *release, *rollout, *node; /* COVEY_DEPLOYMENT= ... */
};
void log_event(const struct log_event *event, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
