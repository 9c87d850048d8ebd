/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every request is held equally long, so the queue is first in, first out and its head is always
 * the next to go: one thread sleeps until then. Sleeping in the request handler instead would
 * stop every other connection of that server thread and make all answers slow, not a share of them.
 */
#include "hold.h"

#include <pthread.h>
#include <time.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct held *head;
    struct held **tail;
} queue = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &queue.head };

static uint64_t hold_us = HOLD_US;  /* set before the first request */

uint64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

static struct held *take_head(void)
{
    pthread_mutex_lock(&queue.lock);
    while (!queue.head)
        pthread_cond_wait(&queue.filled, &queue.lock);
    struct held *held = queue.head;
    queue.head = held->next;
    if (!queue.head)
        queue.tail = &queue.head;
    pthread_mutex_unlock(&queue.lock);
    return held;
}

static void *let_go(void *unused)
{
    (void)unused;
    for (;;) {
        struct held *held = take_head();
        struct timespec until = { .tv_sec = (time_t)(held->until_us / 1000000U),
                                  .tv_nsec = (long)(held->until_us % 1000000U) * 1000 };
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
            continue;
        /* From here on the request may be gone at any moment: `held` is not touched again. */
        MHD_resume_connection(held->connection);
    }
    return NULL;
}

int hold_start(uint64_t us)
{
    pthread_t thread;

    if (us)
        hold_us = us;
    int error = pthread_create(&thread, NULL, let_go, NULL);

    return error ? error : pthread_detach(thread);
}

void hold(struct held *held, struct MHD_Connection *connection, uint64_t now)
{
    *held = (struct held){ .connection = connection, .until_us = now + hold_us };
    /* Before it can be found in the queue, or it might be resumed first and suspended for ever. */
    MHD_suspend_connection(connection);
    pthread_mutex_lock(&queue.lock);
    *queue.tail = held;
    queue.tail = &held->next;
    pthread_cond_signal(&queue.filled);
    pthread_mutex_unlock(&queue.lock);
}
