/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the protocol as its tables have it: docs/PROTOCOL's grammar comes from here. */
#include "protocol/codec_tables.h"
#include "protocol/message.h"

static const char *const senders[] = {
	[FROM_AGENT] = "agent",
	[FROM_COORDINATOR] = "coordinator",
	[FROM_STRANGER] = "stranger",
	[FROM_OPERATOR] = "operator",
	[FROM_PEER] = "peer",
};

static const char *const channels[] = {
	[CHANNEL_AGENTS] = "agents",
	[CHANNEL_DATA] = "data",
	[CHANNEL_ENROL] = "enrol",
	[CHANNEL_OPERATORS] = "operators",
	[CHANNEL_PEERS] = "peers",
};

int main(void)
{
	printf("version %d, oldest %d\n\n", PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST);
	puts("[type, body]: type, name, body, sender, channel, largest size in bytes");
#define X(name, of, number, sender, channel, max)                                                  \
	printf("  %3d  %-14s %-18s %-12s %-10s %d\n", number, #name, #of, senders[sender],         \
	       channels[channel], max);
	MESSAGES(X)
#undef X
	puts("\nA struct is a map from field numbers, which rise, to values; zero is not sent.");
#define X(name)                                                                                    \
	putchar('\n');                                                                             \
	codec_describe(stdout, &codec_##name);
	CODEC_TABLES(X)
#undef X
	return 0;
}
