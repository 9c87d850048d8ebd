/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label selectors, the grammar of Kubernetes: "site in (lyon,paris),hw!=old,ring=1,gpu,!edge",
 * also ==, notin. "all" selects everything; the empty text is an error. Pure, no allocation.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct selector_label { /* borrowed key and value */
	const char *key;
	const char *value;
};

/* Checks the text; err says at which character it fails. */
int selector_check(const char *text, struct err *err) COVEY_MUST_CHECK;
/* text must have passed selector_check. key != value and key notin (...) also match when the label
 * is absent, as in Kubernetes. */
bool selector_matches(const char *text, const struct selector_label *labels, size_t count);
/* key=value, one pair; key and value as Kubernetes allows them (63 characters). */
int selector_check_label(const char *key, const char *value, struct err *err) COVEY_MUST_CHECK;
