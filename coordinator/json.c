/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small values as JSON. Text that nodes sent may hold anything; jansson refuses what is not UTF-8,
 * so such bytes are replaced rather than an answer lost.
 */
#include "coordinator/json.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/digest.h"

json_t *json_text(const char *text)
{
	json_t *value;
	AUTO_FREE char *copy = NULL;

	if (!text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	copy = mem_str(text);
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(copy);
}

json_t *json_text_or_null(const char *text)
{
	return json_text(text && *text ? text : NULL);
}

json_t *json_u64(uint64_t value)
{
	return json_integer((json_int_t)value);
}

json_t *json_time(uint64_t unix_ms)
{
	char text[STR_TIME_MAX];

	if (unix_ms == 0)
		return json_null();
	str_format_time(text, unix_ms);
	return json_string(text);
}

json_t *json_digest(const struct digest *digest)
{
	char text[DIGEST_TEXT_MAX];

	if (digest_is_zero(digest))
		return json_null();
	digest_text(text, digest);
	return json_string(text);
}

json_t *json_node_id(const struct node_id *id)
{
	char text[NODE_ID_TEXT_MAX];

	node_id_text(text, id);
	return json_string(text);
}

json_t *json_rollout_id(const struct rollout_id *id)
{
	char text[ROLLOUT_ID_TEXT_MAX];

	if (rollout_id_is_zero(id))
		return json_null();
	rollout_id_text(text, id);
	return json_string(text);
}

json_t *json_labels(const struct label *labels, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, labels[i].key, json_text(labels[i].value));
	return object;
}

json_t *json_share(struct share share)
{
	return share.percent ? json_sprintf("%u%%", share.value) : json_u64(share.value);
}
