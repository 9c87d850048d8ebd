/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small model server: what Covey expects of one, and nothing else. It listens on $PORT, answers
 * /healthz, /classify, /feedback and /metrics, reads /model, tells its node about each
 * classification, and ends within a second of SIGTERM after finishing what it had begun.
 *
 * Two libmicrohttpd threads with epoll serve; the main thread only waits for signals and for the
 * moments at which --crash-after asks for a fault. Signals are blocked and taken with
 * sigtimedwait, which also works as process 1 of a container, where default actions do not.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE                 /* accept4 */
#endif

#include "hold.h"
#include "model.h"
#include "options.h"
#include "tell.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 2,
    BACKLOG = 1024,
    CONNECTIONS_MAX = 2048,         /* at 8 KiB each for the library: fits a 64 MiB container */
    CONNECTION_MEMORY = 8192,
    IDLE_TIMEOUT_S = 30,
    BODY_MAX = 4096,                /* 64 numbers of 20 digits take 1.4 KB */
    FAULTS_SPARE = 32,              /* classifications before --slow and --errors begin */
    STOP_TIMEOUT_US = 800000,
    STOP_QUIET_US = 150000,         /* nothing to finish for so long: nothing more comes */
    EXIT_CRASH = 134,               /* as after an abort, which pid 1 would survive */
};

struct server {
    struct options options;
    struct model model;
    const char *release;
    uint64_t open_us;               /* when the port was opened */
    atomic_uint_fast64_t classified;
    atomic_int busy;                /* connections with something to finish */
    atomic_bool stopping;
};

/* One per connection. A new connection counts as busy: its request may be on the way. */
struct link {
    bool busy;
};

struct request {
    struct held held;
    uint64_t begin_us;
    uint64_t number;                /* of this classification, for the faults */
    bool was_held;
    size_t body_size;               /* beyond BODY_MAX: too large, and not stored */
    char body[BODY_MAX];
};

static void json_drop(json_t **json)
{
    json_decref(*json);
}

/* ---- answers ---- */

static enum MHD_Result answer(const struct server *server, struct MHD_Connection *connection,
                              unsigned status, const char *type, const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, POST");
    if (atomic_load(&server->stopping))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_json(const struct server *server, struct MHD_Connection *connection,
                                   unsigned status, json_t *object)
{
    __attribute__((cleanup(json_drop))) json_t *json = object;
    char text[512];
    size_t size = json ? json_dumpb(json, text, sizeof text - 2,
                                    JSON_COMPACT | JSON_REAL_PRECISION(4)) : 0;

    if (size == 0 || size > sizeof text - 2)
        return MHD_NO;
    text[size] = '\n';
    text[size + 1] = '\0';
    return answer(server, connection, status, "application/json", text);
}

static enum MHD_Result answer_health(const struct server *server, struct MHD_Connection *connection)
{
    bool sick = now_us() - server->open_us >= server->options.unhealthy_after_us;

    if (server->options.never_ready || sick)
        return answer(server, connection, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
                      sick ? "unhealthy\n" : "not ready\n");
    return answer(server, connection, MHD_HTTP_OK, "text/plain", "ok\n");
}

static enum MHD_Result answer_hello(const struct server *server, struct MHD_Connection *connection)
{
    char text[256];

    snprintf(text, sizeof text, "digits server, release %s\n", server->release);
    return answer(server, connection, MHD_HTTP_OK, "text/plain", text);
}

/* ---- classification ---- */

/* Returns NULL, or what is wrong with the body. */
static const char *parse_pixels(const struct request *request, float ret_pixels[MODEL_PIXELS])
{
    json_error_t error;

    if (request->body_size > BODY_MAX)
        return "the body is too large";
    __attribute__((cleanup(json_drop))) json_t *json =
        json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, &error);
    const json_t *pixels = json_object_get(json, "pixels");
    if (json_array_size(pixels) != MODEL_PIXELS)
        return "expected {\"pixels\": [64 numbers from 0 to 16]}";
    for (size_t i = 0; i < MODEL_PIXELS; i++) {
        const json_t *pixel = json_array_get(pixels, i);
        double value = json_number_value(pixel);
        if (!json_is_number(pixel) || !(value >= 0 && value <= 16))
            return "a pixel is not a number from 0 to 16";
        ret_pixels[i] = (float)value;
    }
    return NULL;
}

/* A fair draw that is the same in every run: the n-th classification, hashed (splitmix64). */
static bool drawn(uint64_t number, uint64_t salt, double share)
{
    uint64_t z = (number + salt) * UINT64_C(0x9e3779b97f4a7c15);

    if (number < FAULTS_SPARE)
        return false;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53 < share;
}

static enum MHD_Result refuse(const struct server *server, struct MHD_Connection *connection,
                              const struct request *request, unsigned status, const char *why)
{
    tell_end(&(struct told){ .latency_us = now_us() - request->begin_us, .status = status });
    return answer_json(server, connection, status, json_pack("{s:s}", "error", why));
}

/* A client that knows the digit says so in a header: feedback at once. */
static void tell_truth(struct MHD_Connection *connection, int label)
{
    const char *truth = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Label");

    if (truth && truth[0] >= '0' && truth[0] <= '9' && truth[1] == '\0')
        tell_feedback(truth[0] - '0' == label);
}

static enum MHD_Result classify(struct server *server, struct MHD_Connection *connection,
                                struct request *request)
{
    float pixels[MODEL_PIXELS];
    float score = 0;
    const char *wrong = parse_pixels(request, pixels);

    if (!request->was_held)
        tell_begin();
    if (wrong)
        return refuse(server, connection, request,
                      request->body_size > BODY_MAX ? MHD_HTTP_CONTENT_TOO_LARGE
                                                    : MHD_HTTP_BAD_REQUEST, wrong);
    if (!request->was_held) {
        request->number = atomic_fetch_add(&server->classified, 1);
        if (server->options.delay_us || drawn(request->number, 1, server->options.slow)) {
            request->was_held = true;
            hold(&request->held, connection, now_us());
            return MHD_YES;         /* the library asks again once the connection is resumed */
        }
    }
    if (drawn(request->number, 1U << 31, server->options.errors))
        return refuse(server, connection, request, MHD_HTTP_INTERNAL_SERVER_ERROR,
                      "asked for by --errors");
    int label = model_classify(&server->model, pixels, &score);
    if (drawn(request->number, 1U << 30, server->options.wrong))
        label = (label + 1) % MODEL_CLASSES;
    tell_end(&(struct told){ .latency_us = now_us() - request->begin_us, .status = MHD_HTTP_OK,
                             .pixels = pixels, .label = label, .score = (double)score });
    tell_truth(connection, label);
    return answer_json(server, connection, MHD_HTTP_OK,
                       json_pack("{s:i, s:f, s:s}", "label", label, "score", (double)score,
                                 "release", server->release));
}

/* {"right": true}: of an answer that was given earlier. */
static enum MHD_Result take_feedback(const struct server *server,
                                     struct MHD_Connection *connection,
                                     const struct request *request)
{
    size_t size = request->body_size > BODY_MAX ? 0 : request->body_size;
    __attribute__((cleanup(json_drop))) json_t *json = json_loadb(request->body, size, 0, NULL);
    const json_t *right = json_object_get(json, "right");

    if (!json_is_boolean(right))
        return answer(server, connection, MHD_HTTP_BAD_REQUEST, "text/plain",
                      "expected {\"right\": true} or {\"right\": false}\n");
    tell_feedback(json_is_true(right));
    return answer(server, connection, MHD_HTTP_OK, "text/plain", "thank you\n");
}

static enum MHD_Result answer_metrics(const struct server *server,
                                      struct MHD_Connection *connection)
{
    char text[TELL_METRICS_MAX];

    (void)tell_metrics(text);
    return answer(server, connection, MHD_HTTP_OK, "text/plain; version=0.0.4", text);
}

/* ---- requests ---- */

static enum MHD_Result route(struct server *server, struct MHD_Connection *connection,
                             const char *url, const char *method, struct request *request)
{
    bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    bool post = strcmp(method, "POST") == 0;

    if (post && strcmp(url, "/classify") == 0)
        return classify(server, connection, request);
    if (get && strcmp(url, "/healthz") == 0)
        return answer_health(server, connection);
    if (get && strcmp(url, "/metrics") == 0)
        return answer_metrics(server, connection);
    if (post && strcmp(url, "/feedback") == 0)
        return take_feedback(server, connection, request);
    if (get && strcmp(url, "/") == 0)
        return answer_hello(server, connection);
    if (strcmp(url, "/classify") == 0 || strcmp(url, "/healthz") == 0 || strcmp(url, "/") == 0 ||
        strcmp(url, "/feedback") == 0 || strcmp(url, "/metrics") == 0)
        return answer(server, connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain",
                      "method not allowed\n");
    return answer(server, connection, MHD_HTTP_NOT_FOUND, "text/plain", "not found\n");
}

static void set_busy(struct server *server, struct link *link, bool busy)
{
    if (link->busy != busy)
        atomic_fetch_add(&server->busy, busy ? 1 : -1);
    link->busy = busy;
}

static struct link *link_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* Called first with the headers, then with each piece of the body, then once more to answer. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **request_slot)
{
    struct server *server = cls;
    struct request *request = *request_slot;

    (void)version;
    if (!request) {
        request = malloc(sizeof *request);
        if (!request)
            return MHD_NO;
        request->begin_us = now_us();
        request->was_held = false;
        request->body_size = 0;
        *request_slot = request;
        set_busy(server, link_of(connection), true);
        return MHD_YES;
    }
    if (*data_size > 0) {
        if (request->body_size <= BODY_MAX && *data_size <= BODY_MAX - request->body_size) {
            memcpy(request->body + request->body_size, data, *data_size);
            request->body_size += *data_size;
        } else {
            request->body_size = BODY_MAX + 1;
        }
        *data_size = 0;
        return MHD_YES;
    }
    return route(server, connection, url, method, request);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **request_slot,
                         enum MHD_RequestTerminationCode code)
{
    (void)code;
    set_busy(cls, link_of(connection), false);
    free(*request_slot);
    *request_slot = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **link_slot,
                          enum MHD_ConnectionNotificationCode code)
{
    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct link *link = calloc(1, sizeof *link);
        if (!link)
            abort();                /* the callback cannot refuse; the agent starts us again */
        *link_slot = link;
        set_busy(cls, link, true);
    } else {
        set_busy(cls, *link_slot, false);
        free(*link_slot);
        *link_slot = NULL;
    }
}

/* ---- start and end ---- */

/* IPv6 with IPv4 on the same socket; IPv4 alone where the kernel has no IPv6. */
static int listen_on(uint16_t port)
{
    struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    int on = 1;
    int off = 0;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool six = fd >= 0;

    if (!six)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (six)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const struct sockaddr *any = six ? (const struct sockaddr *)&any6
                                     : (const struct sockaddr *)&any4;
    if (bind(fd, any, six ? sizeof any6 : sizeof any4) < 0 || listen(fd, BACKLOG) < 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* The port is at the same place in both kinds of address. */
static unsigned port_of(int fd)
{
    struct sockaddr_in6 address = { 0 };
    socklen_t size = sizeof address;

    (void)getsockname(fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin6_port);
}

/* Containers often start with a soft limit of 1024 files. Leaves some for everything else. */
static unsigned connection_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 512;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max >= CONNECTIONS_MAX + 64)
        return CONNECTIONS_MAX;
    return limit.rlim_max > 128 ? (unsigned)limit.rlim_max - 64 : 64;
}

static struct MHD_Daemon *daemon_start(struct server *server, int listen_fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, server,
        MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS,
        MHD_OPTION_CONNECTION_LIMIT, connection_limit(),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_END);
}

/* Connections that the kernel completed before we stopped accepting are already somebody's. */
static void take_backlog(struct MHD_Daemon *daemon, int listen_fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int fd;

    while ((fd = accept4(listen_fd, (struct sockaddr *)&address, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        (void)MHD_add_connection(daemon, fd, (struct sockaddr *)&address, size);
        size = sizeof address;
    }
}

static void daemon_finish(struct server *server, struct MHD_Daemon *daemon)
{
    const struct timespec tick = { .tv_nsec = 5000000 };
    uint64_t deadline = now_us() + STOP_TIMEOUT_US;

    atomic_store(&server->stopping, true);
    int listen_fd = MHD_quiesce_daemon(daemon);
    if (listen_fd >= 0) {
        take_backlog(daemon, listen_fd);
        (void)close(listen_fd);
    }
    uint64_t quiet_since = now_us();    /* a request may be on its way to a connection that is idle */
    while (now_us() < deadline && now_us() - quiet_since < STOP_QUIET_US) {
        (void)nanosleep(&tick, NULL);
        if (atomic_load(&server->busy) > 0)
            quiet_since = now_us();
    }
    MHD_stop_daemon(daemon);
}

/* Returns true when a signal asked for the end, false when the time is over. */
static bool wait_for_stop(const sigset_t *signals, uint64_t until_us)
{
    for (;;) {
        uint64_t now = now_us();
        uint64_t left = until_us > now ? until_us - now : 0;
        struct timespec wait = { .tv_sec = (time_t)(left / 1000000U),
                                 .tv_nsec = (long)(left % 1000000U) * 1000 };
        int got = until_us == UINT64_MAX ? sigwaitinfo(signals, NULL)
                                         : sigtimedwait(signals, NULL, &wait);
        if (got > 0)
            return true;
        if (errno == EAGAIN)
            return false;
    }
}

static uint64_t after(uint64_t begin_us, uint64_t delay_us)
{
    return delay_us == UINT64_MAX ? UINT64_MAX : begin_us + delay_us;
}

static int serve(struct server *server, const sigset_t *signals, uint16_t port)
{
    int listen_fd = listen_on(port);
    if (listen_fd < 0) {
        fprintf(stderr, "digits-server: port %u: %s\n", port, strerror(errno));
        return EXIT_FAILURE;
    }
    server->open_us = now_us();
    struct MHD_Daemon *daemon = hold_start(server->options.delay_us) == 0 ? daemon_start(server, listen_fd) : NULL;
    if (!daemon) {
        fprintf(stderr, "digits-server: the HTTP server does not start\n");
        return EXIT_FAILURE;
    }
    fprintf(stderr, "digits-server: %s listens on port %u\n", server->release, port_of(listen_fd));
    if (!wait_for_stop(signals, after(server->open_us, server->options.crash_after_us))) {
        fprintf(stderr, "digits-server: crashing, as --crash-after asks\n");
        _exit(EXIT_CRASH);
    }
    daemon_finish(server, daemon);
    fprintf(stderr, "digits-server: stopped after %" PRIuFAST64 " classifications\n",
            atomic_load(&server->classified));
    return EXIT_SUCCESS;
}

static int port_from_env(uint16_t *ret_port)
{
    const char *text = getenv("PORT");
    char *end = NULL;
    unsigned long port = text ? strtoul(text, &end, 10) : 8000;

    if (text && (end == text || *end != '\0' || port > UINT16_MAX)) {
        fprintf(stderr, "digits-server: PORT is '%s', which is not a port\n", text);
        return -1;
    }
    *ret_port = (uint16_t)port;
    return 0;
}

int main(int argc, char **argv)
{
    static struct server server;
    sigset_t signals;
    char why[256];
    uint16_t port = 0;

    options_parse(argc, argv, &server.options);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);     /* before any thread: all inherit it */
    (void)signal(SIGPIPE, SIG_IGN);

    server.release = getenv("COVEY_RELEASE");
    if (!server.release || strlen(server.release) > 200)
        server.release = "unknown";
    if (port_from_env(&port) < 0)
        return EXIT_FAILURE;
    if (model_load(server.options.model, &server.model, why, sizeof why) < 0) {
        fprintf(stderr, "digits-server: %s\n", why);
        return EXIT_FAILURE;
    }
    tell_open();
    int code = EXIT_SUCCESS;
    if (!server.options.start_delay_us ||
        !wait_for_stop(&signals, now_us() + server.options.start_delay_us))
        code = serve(&server, &signals, port);
    tell_close();
    model_free(&server.model);
    return code;
}
