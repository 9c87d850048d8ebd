/* SPDX-License-Identifier: Apache-2.0 */
/* Words and escapes that the verbs share. JSON is only ever written here, so a writer is enough. */
#include "agent/cli/cli.h"

#include "protocol/digest.h"

#include <stdarg.h>
#include <stdio.h>

#define X(name, text) text,
const char *const cli_node_states[] = {NODE_STATES(X)};
const char *const cli_slot_states[] = {SLOT_STATES(X)};
#undef X
const char *const cli_outcomes[] = {"none", "completed", "rolled_back", "aborted", "failed",
				    "unreachable"};
_Static_assert(ARRAY_SIZE(cli_outcomes) == OUTCOME_COUNT, "a word for each outcome");

int cli_fail(const char *format, ...)
{
	AUTO_STR struct str text = {0};
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	cli_add_plain(&text, line);
	fprintf(stderr, "covey-agent: %s\n", str_get(&text));
	return CLI_FAILED;
}

void cli_add_plain(struct str *out, const char *text)
{
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;

		if (*at < 0x20 || *at == 0x7f || c1)
			str_add(out, "?");
		else
			str_add_bytes(out, at, 1);
		at += c1;
	}
}

void cli_add_json(struct str *out, const char *text)
{
	str_add(out, "\"");
	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		if (*at == '"' || *at == '\\')
			str_addf(out, "\\%c", *at);
		else if (*at < 0x20 || *at == 0x7f)
			str_addf(out, "\\u%04x", *at);
		else
			str_add_bytes(out, at, 1);
	}
	str_add(out, "\"");
}

void cli_add_digest_json(struct str *out, const struct digest *digest)
{
	char text[DIGEST_TEXT_MAX];

	if (digest_is_zero(digest)) {
		str_add(out, "null");
		return;
	}
	digest_text(text, digest);
	str_addf(out, "\"%s\"", text);
}

void cli_short_digest(char dst[16], const struct digest *digest)
{
	char hex[2 * DIGEST_SIZE + 1];

	str_hex(hex, digest->bytes, DIGEST_SIZE);
	str_cut(dst, 13, digest_is_zero(digest) ? "-" : hex);
}
