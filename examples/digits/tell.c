/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Features are what an operator can look at and understand: how much ink an image has, how much of
 * it lies in the upper half, and how much on the border, where a digit that is centred has little.
 */
#include "tell.h"

#include "model.h"

#include "covey/observe.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

enum { SIDE = 8, FULL = 16, BUCKETS = 8 };

static const uint64_t bounds_us[BUCKETS] = { 50, 100, 250, 1000, 5000, 25000, 100000, 1000000 };

static struct {
    struct covey_observer *observer;
    atomic_uint_fast64_t ok, refused, failed, right, wrong;
    atomic_uint_fast64_t buckets[BUCKETS + 1], sum_us;
} all;

void tell_open(void)
{
    all.observer = covey_observer_open();
}

void tell_close(void)
{
    covey_observer_close(all.observer);
}

static void add_features(struct covey_observation *o, const float pixels[MODEL_PIXELS])
{
    double ink = 0;
    double top = 0;
    double border = 0;

    for (int i = 0; i < MODEL_PIXELS; i++) {
        int x = i % SIDE;
        int y = i / SIDE;
        ink += (double)pixels[i];
        top += y < SIDE / 2 ? (double)pixels[i] : 0;
        border += x == 0 || y == 0 || x == SIDE - 1 || y == SIDE - 1 ? (double)pixels[i] : 0;
    }
    covey_observation_number(o, "ink", ink / (MODEL_PIXELS * FULL));
    covey_observation_number(o, "top", ink > 0 ? top / ink : 0);
    covey_observation_number(o, "border", ink > 0 ? border / ink : 0);
}

static void count(const struct told *told)
{
    size_t bucket = 0;

    atomic_fetch_add(told->status >= 500 ? &all.failed : told->status >= 400 ? &all.refused
                                                                            : &all.ok, 1);
    while (bucket < BUCKETS && told->latency_us > bounds_us[bucket])
        bucket++;
    atomic_fetch_add(&all.buckets[bucket], 1);
    atomic_fetch_add(&all.sum_us, told->latency_us);
}

void tell_begin(void)
{
    struct covey_observation o = COVEY_OBSERVATION;

    covey_observation_begin(&o);
    (void)covey_observe(all.observer, &o);
}

void tell_end(const struct told *told)
{
    struct covey_observation o = COVEY_OBSERVATION;
    char name[8];

    count(told);
    covey_observation_end(&o);
    covey_observation_latency_us(&o, told->latency_us);
    covey_observation_status(&o, told->status);
    if (told->pixels) {
        snprintf(name, sizeof name, "%d", told->label);
        covey_observation_class(&o, name);
        covey_observation_score(&o, told->score);
        add_features(&o, told->pixels);
    }
    (void)covey_observe(all.observer, &o);  /* a request never fails for want of a listener */
}

void tell_feedback(bool right)
{
    struct covey_observation o = COVEY_OBSERVATION;

    atomic_fetch_add(right ? &all.right : &all.wrong, 1);
    covey_observation_label(&o, right);
    (void)covey_observe(all.observer, &o);
}

static void print(char *text, size_t *size, const char *name, uint64_t value)
{
    int more = snprintf(text + *size, TELL_METRICS_MAX - *size, "%s %" PRIu64 "\n", name, value);

    if (more > 0 && (size_t)more < TELL_METRICS_MAX - *size)
        *size += (size_t)more;
}

size_t tell_metrics(char text[TELL_METRICS_MAX])
{
    uint64_t total = 0;
    size_t size = 0;
    char name[64];

    print(text, &size, "digits_requests_total{code=\"200\"}", atomic_load(&all.ok));
    print(text, &size, "digits_requests_total{code=\"400\"}", atomic_load(&all.refused));
    print(text, &size, "digits_requests_total{code=\"500\"}", atomic_load(&all.failed));
    print(text, &size, "digits_feedback_total{label=\"right\"}", atomic_load(&all.right));
    print(text, &size, "digits_feedback_total{label=\"wrong\"}", atomic_load(&all.wrong));
    for (size_t i = 0; i < BUCKETS; i++) {
        total += atomic_load(&all.buckets[i]);
        snprintf(name, sizeof name, "digits_latency_seconds_bucket{le=\"%g\"}",
                 (double)bounds_us[i] * 1e-6);
        print(text, &size, name, total);
    }
    total += atomic_load(&all.buckets[BUCKETS]);
    print(text, &size, "digits_latency_seconds_bucket{le=\"+Inf\"}", total);
    print(text, &size, "digits_latency_seconds_count", total);
    return size;
}
