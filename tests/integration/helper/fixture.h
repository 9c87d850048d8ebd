/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node for tests of the helper: a network namespace with a client's namespace beside it, all
 * directories in memory, a root document and release key of its own, and the real covey-helper with
 * real workers, runc, conmon and nftables. Needs root; fixture_usable() says whether it can run.
 */
#pragma once

#include "agent/helper/api.h"
#include "base/str.h"
#include "protocol/manifest.h"

#include <sys/types.h>

#define FIXTURE_BUSYBOX "/bin/busybox" /* static: the whole of the images' programs */

enum { FIXTURE_EVENTS = 16 };

struct fixture {
	char tag[16]; /* in the names of namespaces: covey-ht-<tag>-node, -client */
	char dir[64];
	char node[32], client[32];
	struct sign_key key;
	pid_t helper;
	int fd;
	uint64_t ids;
	struct helper_reply events[FIXTURE_EVENTS]; /* EXITED, oldest first */
	size_t events_count;
};

struct fixture_release {
	const char *text;           /* what its server answers at / */
	const char *const *command; /* NULL: the web server on container port 8000 */
	const char *model;          /* content of /model/sub/weights; NULL: no model files */
	uint32_t port;              /* of clients; 0: 8080 */
	enum serve_network network;
	bool no_egress;
	const char *user; /* "" : 1000 */
	uint64_t memory_bytes;
	uint32_t cpu_millis, pids;
	const char *device;
	const char *const *health;       /* command; NULL: HTTP */
	const struct bytes *extra_layer; /* one more tar, NULL: none */
	bool foreign_key;                /* signed by a key that the root document does not know */
};

bool fixture_usable(void);
/* A time limit of a test: as many times longer as COVEY_PATIENCE says (under valgrind). */
uint64_t fixture_ms(uint64_t ms);
void fixture_up(struct fixture *fixture, const char *tag, const char *more_config);
void fixture_down(struct fixture *fixture);

void fixture_start(struct fixture *fixture); /* the helper, and connects */
/* With a listening socket on descriptor 3, as systemd hands it over; listener -1: without. */
void fixture_start_with(struct fixture *fixture, int listener);
void fixture_kill(struct fixture *fixture); /* kill -9, and closes */
void fixture_connect(struct fixture *fixture);

/* Writes the root document. */
void fixture_root(struct fixture *fixture);
void fixture_write(const char *path, const void *data, size_t size, mode_t mode);
/* Stores blobs and manifest where the agent would; returns the release's digest. */
struct digest fixture_release(struct fixture *fixture, const struct fixture_release *wanted);
/* Path of a blob by its content. */
char *fixture_blob(struct fixture *fixture, const void *data, size_t size);

/* Sends a request and waits for its reply; *ret_reply is the caller's (codec_free). Returns the
 * reply's error. EXITED events that come meanwhile are kept. */
int fixture_ask(struct fixture *fixture, struct helper_request *request,
                struct helper_reply *ret_reply);
/* The same where the helper may hang up: ENOTCONN then. */
int fixture_try(struct fixture *fixture, struct helper_request *request,
                struct helper_reply *ret_reply);
/* The same without looking at the reply; prints the sentence when it fails. */
int fixture_do(struct fixture *fixture, enum helper_op op, const char *deployment,
               enum colour colour, const struct digest *release);
int fixture_stop(struct fixture *fixture, const char *deployment, enum colour colour, bool kill);
int fixture_traffic(struct fixture *fixture, const char *deployment, enum colour colour,
                    const struct digest *release, uint32_t port);
/* Waits up to ms for an EXITED event; NULL: none came. Valid until the next call. */
const struct helper_reply *fixture_exited(struct fixture *fixture, uint64_t ms);

/* Runs a shell command in a namespace ("" : ours); its output (at most 64 KiB) in *ret_output,
 * which may be NULL. Returns the exit code. */
int fixture_shell(const char *netns, struct str *ret_output, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What http://address:port/ answers in a namespace; "" when it does not. Static buffer. */
const char *fixture_get(const char *netns, const char *address, uint32_t port);
/* GETs it until it answers `text`, at most ms. */
bool fixture_answers(const char *netns, const char *address, uint32_t port, const char *text,
                     uint64_t ms);

/* Processes of this fixture whose command line has a word that contains `part`, found by the
 * fixture's own directory; each gets the signal when it is not 0. How many there were. */
int fixture_processes(const struct fixture *fixture, const char *part, int signal_number);
/* A web server in a namespace that answers 404 to everything and ends with the test; kill it by
 * its id. port: "9999" or "127.0.0.1:9999". What it logs goes to `log`. */
pid_t fixture_server(const char *netns, const char *port, const char *log);
/* A TCP connection made inside a namespace, with time limits of 5 s; -1 when it fails. */
int fixture_dial(const char *netns, const char *address, uint32_t port);

/* ---- tar files by hand, so that they may be as bad as wanted ---- */

struct fixture_entry {
	const char *name;
	char type; /* '0' file, '1' hard link, '2' symlink, '3' char device, '5' folder, '6' fifo */
	uint32_t mode, uid;
	const char *link;
	const void *data;
	size_t size;
	uint64_t claimed_size; /* 0: size */
};

void fixture_tar(struct str *tar, const struct fixture_entry *entry);
void fixture_tar_end(struct str *tar);
