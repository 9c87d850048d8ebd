/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running service: sockets, files and clocks around the shell of coordinator.h. main.c makes
 * one, runs its loop, closes it.
 */
#pragma once

#include "coordinator/config.h"

struct service;

/* Opens everything and listens; the sentence of a failure says what is wrong and what to do. */
int service_open(const struct config *config, struct service **ret_service,
		 struct err *err) COVEY_MUST_CHECK;
/* Until SIGTERM or SIGINT. */
int service_run(struct service *service, struct err *err) COVEY_MUST_CHECK;
void service_close(struct service *service); /* clean: leases written, sockets removed */
COVEY_DEFINE_CLEANUP(struct service *, service_close)
