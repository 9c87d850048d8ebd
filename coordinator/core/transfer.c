/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of a fleet's bytes and rates are divided as doubles: what is lost is less than a byte in a
 * terabyte, and no product can overflow. */
#include "coordinator/core/transfer.h"

static uint64_t time_of(uint64_t bytes, uint64_t rate)
{
	double ms = rate ? (double)bytes * 1000 / (double)rate : 0;

	return ms < (double)INT64_MAX ? (uint64_t)ms : INT64_MAX;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void transfer_add(struct transfer *transfer, uint64_t bytes, uint64_t rate)
{
	transfer->rates += rate;
	if (bytes == 0)
		return;
	transfer->nodes++;
	transfer->bytes += bytes;
	transfer->unknown += rate == 0;
	transfer->slowest_ms = larger(transfer->slowest_ms, time_of(bytes, rate));
}

int64_t transfer_exchange_ms(const struct transfer *transfer)
{
	uint64_t ms = larger(transfer->slowest_ms,
			     time_of(transfer->origin_bytes, transfer->origin_rate));

	if (transfer->nodes == transfer->unknown && transfer->nodes && !transfer->origin_rate)
		return TRANSFER_UNKNOWN;
	if (transfer->origin_rate && !transfer->unknown)
		ms = larger(ms, time_of(transfer->bytes, transfer->origin_rate + transfer->rates));
	return (int64_t)ms;
}

int64_t transfer_alone_ms(const struct transfer *transfer)
{
	if (!transfer->origin_rate && transfer->nodes)
		return TRANSFER_UNKNOWN;
	return (int64_t)larger(transfer->slowest_ms,
			       time_of(transfer->bytes, transfer->origin_rate));
}
