/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to covey-helper: packets on a UNIX socket (agent/helper/api.h), opened again by
 * itself with a growing pause. Requests are never queued for a connection that is not there: the
 * shell asks again when it is up.
 */
#pragma once

#include "agent/helper/api.h"
#include "base/err.h"

#include <systemd/sd-event.h>

struct helper_client;

struct helper_client_events {
	void (*up)(void *context);
	void (*down)(void *context, const char *text); /* also for attempts that fail, once a cause */
	void (*reply)(void *context, const struct helper_reply *reply);
};

/* path is copied; the first attempt is made from the loop. */
int helper_client_new(sd_event *event, const char *path, const struct helper_client_events *events,
		      void *context, struct helper_client **ret_client,
		      struct err *err) COVEY_MUST_CHECK;
void helper_client_free(struct helper_client *client); /* NULL is fine; no callback afterwards */

/* -ENOTCONN; -EAGAIN: the helper does not read (its queue is full). */
int helper_client_send(struct helper_client *client,
		       const struct helper_request *request) COVEY_MUST_CHECK;
