/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server says about its requests, in the two ways that there are: to its node, one
 * observation a request, and to whoever asks for /metrics. All functions are safe in any thread.
 */
#ifndef DIGITS_TELL_H
#define DIGITS_TELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct told {
    uint64_t latency_us;
    unsigned status;
    const float *pixels;            /* NULL: there was no image; then the rest is not looked at */
    int label;
    double score;
};

enum { TELL_METRICS_MAX = 4096 };

void tell_open(void);
void tell_close(void);
/* A request that was understood: before it can crash the server. */
void tell_begin(void);
void tell_end(const struct told *told);
/* An answer given now or earlier turned out so. */
void tell_feedback(bool right);
/* Prometheus' text format; returns its size. */
size_t tell_metrics(char text[TELL_METRICS_MAX]);

#endif
