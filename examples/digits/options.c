/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most options make the server fail in one chosen way, so that a release.yaml alone
 * (`command: [/server, --crash-after, 20s]`) makes a release that Covey has to catch.
 */
#include "options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: server [OPTION]...\n"
    "  --model FILE           weights (default /model/model.safetensors)\n"
    "  --start-delay TIME     wait before opening the port\n"
    "  --never-ready          /healthz answers 503 for ever\n"
    "  --unhealthy-after TIME /healthz answers 503 from then on, /classify still works\n"
    "  --crash-after TIME     exit with code 134 at that age\n"
    "  --slow SHARE           hold this share of the classifications back for 20 ms\n"
    "  --errors SHARE         answer 500 to this share of the classifications\n"
    "  --wrong SHARE          answer another digit to this share of the classifications\n"
    "  --delay TIME           take so much longer for every classification (not with --slow)\n"
    "TIME is 500ms, 20s or 2m, counted from the open port. SHARE is 20% or 0.2; shares spare\n"
    "the first 32 classifications, so that smoke tests pass and only traffic shows the fault.\n"
    "Environment: PORT (8000; 0 picks one), COVEY_RELEASE, COVEY_OBSERVE.\n";

static _Noreturn void bad_usage(const char *option, const char *value)
{
    fprintf(stderr, "server: %s: '%s' is not a value it takes\n%s", option, value, usage_text);
    exit(2);
}

static uint64_t parse_time(const char *option, const char *text)
{
    static const struct {
        const char *unit;
        double us;
    } units[] = { { "ms", 1e3 }, { "s", 1e6 }, { "m", 60e6 } };
    char *end;
    double number = strtod(text, &end);

    if (end != text && number >= 0 && number <= 1e6)
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (strcmp(end, units[i].unit) == 0)
                return (uint64_t)(number * units[i].us);
    bad_usage(option, text);
}

static double parse_share(const char *option, const char *text)
{
    char *end;
    double number = strtod(text, &end);

    if (end != text && strcmp(end, "%") == 0) {
        number /= 100;
        end++;
    }
    if (end == text || *end != '\0' || !(number >= 0 && number <= 1))
        bad_usage(option, text);
    return number;
}

void options_parse(int argc, char **argv, struct options *ret_options)
{
    static const struct option table[] = {
        { "model", required_argument, NULL, 'm' },
        { "start-delay", required_argument, NULL, 'd' },
        { "never-ready", no_argument, NULL, 'n' },
        { "unhealthy-after", required_argument, NULL, 'u' },
        { "crash-after", required_argument, NULL, 'c' },
        { "slow", required_argument, NULL, 's' },
        { "errors", required_argument, NULL, 'e' },
        { "wrong", required_argument, NULL, 'w' },
        { "delay", required_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct options o = { .model = "/model/model.safetensors",
                         .crash_after_us = UINT64_MAX, .unhealthy_after_us = UINT64_MAX };
    int index = 0;
    int c;

    while ((c = getopt_long(argc, argv, "", table, &index)) != -1) {
        switch (c) {
        case 'm': o.model = optarg; break;
        case 'd': o.start_delay_us = parse_time(table[index].name, optarg); break;
        case 'n': o.never_ready = true; break;
        case 'u': o.unhealthy_after_us = parse_time(table[index].name, optarg); break;
        case 'c': o.crash_after_us = parse_time(table[index].name, optarg); break;
        case 's': o.slow = parse_share(table[index].name, optarg); break;
        case 'e': o.errors = parse_share(table[index].name, optarg); break;
        case 'w': o.wrong = parse_share(table[index].name, optarg); break;
        case 'l': o.delay_us = parse_time(table[index].name, optarg); break;
        case 'h': exit(fputs(usage_text, stdout) < 0);
        default: fputs(usage_text, stderr); exit(2);
        }
    }
    if (optind < argc)
        bad_usage("argument", argv[optind]);
    if (o.delay_us && o.slow > 0)
        bad_usage("--delay", "beside --slow");
    *ret_options = o;
}
