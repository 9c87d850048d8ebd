/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A multipart message arrives whole or not at all, so once its first part is there the others can
 * be read without waiting. Parts beyond the bound are still read, or they would pass for the
 * beginning of the next message.
 */
#include "protocol/transport/zframes.h"

#include <errno.h>
#include <string.h>

/* How many parts the message had; ret_frames keeps the first ZFRAMES_MAX of them. */
static int receive_parts(void *zmq_socket, struct zframes *ret_frames, size_t *ret_parts)
{
	bool more = true;

	for (*ret_parts = 0; more; (*ret_parts)++) {
		zmq_msg_t part;

		zmq_msg_init(&part);
		if (zmq_msg_recv(&part, zmq_socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&part);
			return -errno;
		}
		more = zmq_msg_more(&part);
		if (ret_frames->count == ZFRAMES_MAX) {
			zmq_msg_close(&part);
			continue;
		}
		zmq_msg_init(&ret_frames->parts[ret_frames->count]);
		zmq_msg_move(&ret_frames->parts[ret_frames->count], &part);
		ret_frames->count++;
	}
	return 0;
}

int zframes_receive(void *zmq_socket, struct zframes *ret_frames)
{
	size_t parts = 0;
	int r;

	ret_frames->count = 0;
	r = receive_parts(zmq_socket, ret_frames, &parts);
	if (r == 0 && parts > ZFRAMES_MAX)
		r = -EBADMSG;
	if (r < 0)
		zframes_free(ret_frames);
	return r;
}

void zframes_free(struct zframes *frames)
{
	while (frames->count > 0)
		zmq_msg_close(&frames->parts[--frames->count]);
}

const void *zframes_data(const struct zframes *frames, size_t index)
{
	return zmq_msg_data((zmq_msg_t *)&frames->parts[index]);
}

size_t zframes_size(const struct zframes *frames, size_t index)
{
	return zmq_msg_size(&frames->parts[index]);
}

bool zframes_is(const struct zframes *frames, size_t index, const char *text)
{
	size_t size = strlen(text);

	return zframes_size(frames, index) == size &&
	       (size == 0 || memcmp(zframes_data(frames, index), text, size) == 0);
}
