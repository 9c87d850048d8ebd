/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `covey-agent leave`: the same daemon for the time that it takes until nothing is left here and
 * the coordinator knows.
 */
#include "agent/daemon_private.h"

#include "base/clock.h"

enum {
	TIMER_ACCURACY_US = 10000,
	LEAVE_LOOK_MS = 100,
	LEAVE_HELPER_MS = 20000, /* for the helper to answer at all */
	LEAVE_DRAIN_MS = 900000, /* for all deployments to drain and go */
	LEAVE_TELL_MS = 10000,	 /* for the coordinator, after that */
};

/* What the helper unpacked is of no use any more; it may be away, and then it stays. */
static void prune(struct daemon *d)
{
	struct helper_request request = {.op = HELPER_PRUNE, .id = UINT64_MAX};

	if (d->prune_id != 0 || helper_client_send(d->helper, &request) < 0)
		return;
	d->prune_id = request.id;
}

static int look(struct daemon *d, uint64_t now_ms)
{
	if (!agent_is_empty(d->agent)) {
		if (!d->helper_known && now_ms - d->leave_ms >= LEAVE_HELPER_MS)
			return -ENOTCONN;
		return now_ms - d->leave_ms >= LEAVE_DRAIN_MS ? -ETIMEDOUT : 0;
	}
	if (d->empty_ms == 0)
		d->empty_ms = now_ms;
	prune(d);
	if (d->pruned && agent_was_let_go(d->agent))
		return 1;
	return now_ms - d->empty_ms >= LEAVE_TELL_MS ? 1 : 0;
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct daemon *d = userdata;
	int r = look(d, clock_mono_ms());

	if (r != 0)
		return sd_event_exit(d->event, r);
	sd_event_source_set_time(source, (clock_mono_ms() + LEAVE_LOOK_MS) * 1000);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int leave_result(int r, struct err *err)
{
	if (r > 0)
		return 0;
	if (r == 0)
		return err_set(err, -EINTR, "interrupted: say it again to go on");
	if (r == -ENOTCONN)
		return err_set(err, r, "the helper does not answer, so nothing was removed: "
				       "systemctl start covey-helper");
	return err_set(err, r, "not every deployment has gone: say it again to go on");
}

int daemon_leave(const struct agent_config *config, bool *ret_told, struct err *err)
{
	struct daemon d = {.config = config, .leave_ms = clock_mono_ms()};
	sd_event_source *timer = NULL;
	int r;

	log_open("covey-agent", LOG_LEVEL_WARNING);
	r = joined_load(config, &d.joined, err);
	if (r < 0) {
		joined_free(&d.joined);
		return r;
	}
	r = daemon_open(&d, err);
	if (r == 0)
		r = sd_event_add_time(d.event, &timer, CLOCK_BOOTTIME, 0, TIMER_ACCURACY_US,
				      on_look, &d);
	if (r >= 0) {
		agent_leave(d.agent);
		agent_start(d.agent);
		r = leave_result(sd_event_loop(d.event), err);
		*ret_told = agent_was_let_go(d.agent);
	}
	sd_event_source_disable_unref(timer);
	daemon_close(&d);
	return r;
}
