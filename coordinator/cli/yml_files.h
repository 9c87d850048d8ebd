/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two files of product.md. Reading one makes every check that needs no coordinator; the
 * sentence is `file:line: field: what is wrong; what to write` and the result -EINVAL (or the errno
 * of a file that cannot be read).
 */
#pragma once

#include "covey/evidence.h"
#include "covey/policy.h"
#include "covey/release.h"
#include "base/err.h"

struct release_file {
	struct release
	    release; /* without blobs, os and arch; argv, env and user are the file's own */
	char *image; /* a path as seen from here, or docker://... */
	char *files; /* folder as seen from here; NULL: none */
	bool whole;  /* image and files must be there; false for a file that is checked alone */
};

/* whole: also look whether image and files are there. */
int release_file_read(const char *name, bool whole, struct release_file *ret_file,
                      struct err *err) COVEY_MUST_CHECK;
void release_file_free(struct release_file *file);

int deployment_file_read(const char *name, struct deployment_spec *ret_spec,
                         struct err *err) COVEY_MUST_CHECK;

/* A drift baseline, written by `covey baseline build` or by hand. Caller: build_free(). */
int baseline_file_read(const char *name, struct baseline *ret_baseline,
                       struct err *err) COVEY_MUST_CHECK;
/* The same baseline as text. */
void baseline_file_write(FILE *out, const struct baseline *baseline);

enum file_kind { FILE_RELEASE, FILE_DEPLOYMENT, FILE_BASELINE };
/* By its keys. */
int yml_file_kind(const char *name, enum file_kind *ret_kind, struct err *err) COVEY_MUST_CHECK;
