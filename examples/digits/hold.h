/* SPDX-License-Identifier: Apache-2.0 */
/* Holds single requests back for a fixed time without stopping the thread that serves others. */
#ifndef DIGITS_HOLD_H
#define DIGITS_HOLD_H

#include <microhttpd.h>
#include <stdint.h>

enum { HOLD_US = 20000 };          /* unless hold_start() says another time */

struct held {
    struct held *next;
    struct MHD_Connection *connection;
    uint64_t until_us;
};

/* Starts the one thread that lets requests go, each after `us` (0: HOLD_US). Returns 0 or a positive
 * errno. */
int hold_start(uint64_t us);

/* Suspends the connection; it is resumed that much later. `held` must live that long. */
void hold(struct held *held, struct MHD_Connection *connection, uint64_t now_us);

/* CLOCK_MONOTONIC in microseconds. */
uint64_t now_us(void);

#endif
