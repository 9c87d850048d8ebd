/* SPDX-License-Identifier: Apache-2.0 */
/* The server's command line: where the model is, and which fault to play. */
#ifndef DIGITS_OPTIONS_H
#define DIGITS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *model;
    uint64_t start_delay_us;
    uint64_t crash_after_us;        /* UINT64_MAX: never */
    uint64_t unhealthy_after_us;    /* UINT64_MAX: never */
    bool never_ready;
    double slow;                    /* shares of the classifications, 0..1 */
    double errors;
    double wrong;
    uint64_t delay_us;              /* of every classification; 0: none */
};

/* Ends the process after --help (0) and on bad usage (2). */
void options_parse(int argc, char **argv, struct options *ret_options);

#endif
