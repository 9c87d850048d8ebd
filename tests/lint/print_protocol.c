/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the last chapter of docs/PROTOCOL.md from the table of messages and the codec's tables; a
 * lint compares the two. */
#include "protocol/codec_tables.h"
#include "protocol/message.h"

static const char *const senders[] = {
	[FROM_AGENT] = "agent",
	[FROM_COORDINATOR] = "coordinator",
	[FROM_STRANGER] = "stranger",
	[FROM_OPERATOR] = "operator",
	[FROM_PEER] = "neighbour",
};

static const char *const channels[] = {
	[CHANNEL_AGENTS] = "agents",
	[CHANNEL_DATA] = "data",
	[CHANNEL_ENROL] = "enrolment",
	[CHANNEL_OPERATORS] = "operators",
	[CHANNEL_PEERS] = "neighbours",
};

static void print_messages(void)
{
	puts("| number | message | body | from | channel | at most, bytes |\n|---|---|---|---|---|---|");
#define X(name, of, number, sender, channel, max)                                                  \
	printf("| %d | `" #name "` | `" #of "` | %s | %s | %d |\n", number, senders[sender],        \
	       channels[channel], max);
	MESSAGES(X)
#undef X
}

static void print_structs(void)
{
	puts("\n```cddl\nmessage = [0..18446744073709551615, any] ; number, body");
#define X(name)                                                                                    \
	putchar('\n');                                                                             \
	codec_describe(stdout, &codec_##name);
	CODEC_TABLES(X)
#undef X
	puts("```");
}

int main(void)
{
	printf("# Grammar\n\n"
	       "Printed from the tables in the code by `tests/lint/print_protocol`; a test fails when "
	       "this chapter differs.\n\n"
	       "Protocol version %d, the oldest that is understood: %d. All is msgpack. A message is "
	       "an array of its number and its\nbody. A body is a map from field numbers to values: "
	       "numbers rise, a field that is zero or empty is not sent, one that is\nnot known is "
	       "skipped. Integers have their shortest form, text is UTF-8 without NUL, floats are "
	       "finite.\n\n",
	       PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST);
	print_messages();
	puts("\nBodies, what is in them, and the documents that are signed, in CDDL (RFC 8610):");
	print_structs();
	return 0;
}
