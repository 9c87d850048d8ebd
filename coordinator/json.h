/* SPDX-License-Identifier: Apache-2.0 */
/* Values of Covey as JSON, in the forms that docs/PROTOCOL.md promises. New references. */
#pragma once

#include "covey/ids.h"

#include <jansson.h>

json_t *json_text(const char *text);	   /* what is not UTF-8 becomes ?; NULL becomes null */
json_t *json_text_or_null(const char *text); /* "" becomes null too */
json_t *json_u64(uint64_t value);
json_t *json_time(uint64_t unix_ms);	   /* RFC 3339 UTC; 0 becomes null */
json_t *json_digest(const struct digest *digest); /* zero becomes null */
json_t *json_node_id(const struct node_id *id);
json_t *json_rollout_id(const struct rollout_id *id); /* zero becomes null */
json_t *json_labels(const struct label *labels, size_t count);
json_t *json_share(struct share share); /* "20%" or a number */
