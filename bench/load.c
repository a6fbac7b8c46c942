/*
 * The load of bench/relay.py: a server in the container's network namespace, clients in ours.
 *
 *   load NETNS IP MEASUREMENT [ARGUMENT...]
 *
 * NETNS is the file of the container's namespace, and IP where clients find the server: a relay, or
 * the container itself. Clients and server are two processes; they share nothing but counters.
 * Whoever receives, counts. The figures are printed as a JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_PORT = 9000,
    MOST_DESCRIPTORS = 1 << 16,
    REQUEST = 64,
    ANSWER = 512,
    MOST_SAMPLES = 1 << 20,
    SETTLE = 400000, /* microseconds until a datagram counts as lost */
    DATAGRAMS_AT_ONCE = 32,
    UDP_BUFFER = 32 << 20, /* so that no datagram is lost at its destination */
};

/* Seconds before the clock runs: windows open, relays get warm. */
static const double WARM_UP = 0.3;
/* Nobody waits longer for a peer. */
static const struct timeval PATIENCE = {.tv_sec = 5};

/* The services, each on a port of its own from FIRST_PORT on. */
enum service { TCP_SINK, TCP_ECHO, TCP_ANSWER, TCP_SOURCE, UDP_SINK, UDP_ECHO, SERVICES };

static struct {
    atomic_ullong bytes, datagrams, exchanges, failures;
} *counters;

static const char *server_ip;
static char buffer[1 << 18];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void set(int descriptor, int level, int option, int value) {
    if (setsockopt(descriptor, level, option, &value, sizeof value))
        fail("setsockopt");
}

static struct sockaddr_in address(const char *ip, enum service service) {
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons(FIRST_PORT + service)};
    inet_pton(AF_INET, ip, &made.sin_addr);
    return made;
}

/* ---- An event loop: who is ready is handled. ---- */

typedef void handler(int descriptor);
static handler *handlers[MOST_DESCRIPTORS];
static int poller;

static void watch(int descriptor, uint32_t events, handler *handle) {
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    if (descriptor >= MOST_DESCRIPTORS || epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event))
        fail("watch");
    handlers[descriptor] = handle;
}

static void run_for(double seconds) {
    struct epoll_event events[256];
    double deadline = now() + seconds;
    while (now() < deadline) {
        int count = epoll_wait(poller, events, 256, 10);
        for (int i = 0; i < count; i++)
            handlers[events[i].data.fd](events[i].data.fd);
    }
}

/* How much a counter grows in a second, when warm. */
static double rate(atomic_ullong *counter, double seconds) {
    run_for(WARM_UP);
    unsigned long long before = *counter;
    double start = now();
    run_for(seconds);
    return (*counter - before) / (now() - start);
}

/* ---- What both ends do: give and take. ---- */

static void sink(int connection) {
    ssize_t got = recv(connection, buffer, sizeof buffer, 0);
    if (got > 0)
        counters->bytes += got;
    else if (got == 0 || errno != EAGAIN)
        close(connection);
}

static void source(int connection) {
    if (send(connection, buffer, sizeof buffer, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        close(connection);
}

/* ---- The server. ---- */

static void echo(int connection) {
    ssize_t got = recv(connection, buffer, sizeof buffer, 0);
    if (got > 0)
        send(connection, buffer, got, MSG_NOSIGNAL);
    else if (got == 0 || errno != EAGAIN)
        close(connection);
}

/* An answer to a request, which arrives as a whole (SO_RCVLOWAT), and the end. */
static void answer(int connection) {
    if (recv(connection, buffer, REQUEST, 0) == REQUEST)
        send(connection, buffer, ANSWER, MSG_NOSIGNAL);
    close(connection);
}

static void udp_sink(int descriptor) {
    static struct mmsghdr batch[DATAGRAMS_AT_ONCE]; /* no room for payload, only counted */
    int got = recvmmsg(descriptor, batch, DATAGRAMS_AT_ONCE, MSG_DONTWAIT, NULL);
    if (got > 0)
        counters->datagrams += got;
}

static void udp_echo(int descriptor) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    ssize_t got =
        recvfrom(descriptor, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&peer, &length);
    if (got >= 0)
        sendto(descriptor, buffer, got, 0, (struct sockaddr *)&peer, length);
}

static void accept_all(int listener, uint32_t events, handler *handle) {
    int connection;
    while ((connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        watch(connection, events, handle);
}

static void accept_sink(int listener) { accept_all(listener, EPOLLIN, sink); }
static void accept_echo(int listener) { accept_all(listener, EPOLLIN, echo); }
static void accept_answer(int listener) { accept_all(listener, EPOLLIN, answer); }
static void accept_source(int listener) { accept_all(listener, EPOLLOUT, source); }

static handler *const services[SERVICES] = {
    accept_sink, accept_echo, accept_answer, accept_source, udp_sink, udp_echo};

/* Connections inherit these options. */
static int tcp_listener(enum service service) {
    int made = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    set(made, SOL_SOCKET, SO_REUSEADDR, 1);
    set(made, IPPROTO_TCP, TCP_NODELAY, 1);
    set(made, SOL_SOCKET, SO_RCVLOWAT, service == TCP_ANSWER ? REQUEST : 1);
    return made;
}

static int udp_socket(void) {
    int made = socket(AF_INET, SOCK_DGRAM, 0);
    set(made, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER);
    return made;
}

static int bound(enum service service) {
    bool udp = service >= UDP_SINK;
    struct sockaddr_in everywhere = address("0.0.0.0", service);
    int made = udp ? udp_socket() : tcp_listener(service);
    if (bind(made, (struct sockaddr *)&everywhere, sizeof everywhere))
        fail("bind");
    if (!udp && listen(made, SOMAXCONN))
        fail("listen");
    return made;
}

static void enter(int namespace) {
    if (setns(namespace, CLONE_NEWNET))
        fail("network namespace");
}

static void serve(const int *listeners) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no longer than the clients live */
    poller = epoll_create1(0);
    for (enum service service = 0; service < SERVICES; service++)
        watch(listeners[service], EPOLLIN, services[service]);
    for (;;)
        run_for(1);
}

/* Bind in the container's namespace, where sockets stay, and let a process of its own serve them. */
static void start_server(const char *namespace) {
    int listeners[SERVICES], ours = open("/proc/self/ns/net", O_RDONLY);
    enter(open(namespace, O_RDONLY));
    for (enum service service = 0; service < SERVICES; service++)
        listeners[service] = bound(service);
    enter(ours);
    if (fork() == 0)
        serve(listeners);
    for (enum service service = 0; service < SERVICES; service++)
        close(listeners[service]);
    poller = epoll_create1(0);
}

/* ---- The clients. ---- */

static int connected(int type, enum service service) {
    struct sockaddr_in server = address(server_ip, service);
    int made = socket(AF_INET, type, 0);
    if (made < 0)
        fail("socket");
    if (service < UDP_SINK)
        set(made, IPPROTO_TCP, TCP_NODELAY, 1);
    setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE);
    setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &PATIENCE, sizeof PATIENCE);
    if (connect(made, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        fail("connect");
    return made;
}

static void bulk(enum service service, uint32_t events, handler *handle, char **arguments) {
    for (int stream = atoi(arguments[0]); stream > 0; stream--) {
        int made = connected(SOCK_STREAM, service);
        fcntl(made, F_SETFL, O_NONBLOCK);
        watch(made, events, handle);
    }
    double bytes = rate(&counters->bytes, atof(arguments[1]));
    printf("{\"gbit/s\": %.3f}\n", bytes * 8 / 1e9);
}

/* up STREAMS SECONDS */
static void up(char **arguments) { bulk(TCP_SINK, EPOLLOUT, source, arguments); }

/* down STREAMS SECONDS */
static void down(char **arguments) { bulk(TCP_SOURCE, EPOLLIN, sink, arguments); }

/* What a client has of its answer; below 0 it has not even asked. */
static int received[MOST_DESCRIPTORS];

static void exchange(int connection);

static void start_exchange(void) {
    int made = connected(SOCK_STREAM | SOCK_NONBLOCK, TCP_ANSWER);
    received[made] = -1;
    watch(made, EPOLLIN | EPOLLOUT | EPOLLET, exchange);
}

/* A step of a client that connects, asks, reads to the end, and makes place for the next one. */
static void exchange(int connection) {
    ssize_t got = 0;
    if (received[connection] < 0 && send(connection, buffer, REQUEST, MSG_NOSIGNAL) == REQUEST) {
        received[connection] = 0;
        return;
    }
    while (received[connection] >= 0 && (got = recv(connection, buffer, sizeof buffer, 0)) > 0)
        received[connection] += got;
    if (got < 0 && errno == EAGAIN)
        return;
    if (got == 0 && received[connection] == ANSWER)
        counters->exchanges++;
    else
        counters->failures++;
    close(connection);
    start_exchange();
}

/* connect AT_A_TIME SECONDS */
static void connect_often(char **arguments) {
    for (int number = atoi(arguments[0]); number > 0; number--)
        start_exchange();
    double exchanges = rate(&counters->exchanges, atof(arguments[1]));
    printf("{\"per second\": %.1f, \"failed\": %llu, \"made\": %llu}\n", exchanges,
           counters->failures, counters->exchanges);
}

static int by_size(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

/* Microseconds from a message to its echo. */
static double round_trip(int descriptor) {
    double start = now();
    send(descriptor, buffer, REQUEST, MSG_NOSIGNAL);
    for (ssize_t got, left = REQUEST; left > 0; left -= got)
        if ((got = recv(descriptor, buffer, left, 0)) <= 0)
            fail("no echo");
    return (now() - start) * 1e6;
}

static void ping_pong(int descriptor, double seconds) {
    static double samples[MOST_SAMPLES];
    for (double deadline = now() + WARM_UP; now() < deadline;)
        round_trip(descriptor);
    int count = 0;
    for (double deadline = now() + seconds; now() < deadline && count < MOST_SAMPLES;)
        samples[count++] = round_trip(descriptor);
    qsort(samples, count, sizeof *samples, by_size);
    printf("{\"p50\": %.2f, \"p99\": %.2f}\n", samples[count / 2], samples[count * 99 / 100]);
}

/* tcp-ping SECONDS */
static void tcp_ping(char **arguments) {
    ping_pong(connected(SOCK_STREAM, TCP_ECHO), atof(arguments[0]));
}

/* udp-ping SECONDS */
static void udp_ping(char **arguments) {
    ping_pong(connected(SOCK_DGRAM, UDP_ECHO), atof(arguments[0]));
}

/* Send at a rate, or without one as fast as can be, and tell how many were sent. */
static unsigned long long send_for(double seconds, int descriptor, int size, double per_second) {
    struct iovec payload = {buffer, size};
    struct mmsghdr batch[DATAGRAMS_AT_ONCE] = {0};
    for (int i = 0; i < DATAGRAMS_AT_ONCE; i++)
        batch[i].msg_hdr = (struct msghdr){.msg_iov = &payload, .msg_iovlen = 1};
    unsigned long long sent = 0;
    double start = now(), passed;
    while ((passed = now() - start) < seconds) {
        int count = -1;
        if (!per_second || passed * per_second >= sent + DATAGRAMS_AT_ONCE)
            count = sendmmsg(descriptor, batch, DATAGRAMS_AT_ONCE, 0);
        else
            usleep(100);
        sent += count > 0 ? count : 0;
    }
    return sent;
}

/* flood BYTES PER_SECOND SECONDS; 0 per second is as fast as can be */
static void flood(char **arguments) {
    int size = atoi(arguments[0]), descriptor = connected(SOCK_DGRAM, UDP_SINK);
    double per_second = atof(arguments[1]), seconds = atof(arguments[2]);
    unsigned long long sent = send_for(WARM_UP, descriptor, size, per_second);
    unsigned long long before = counters->datagrams;
    double start = now();
    sent += send_for(seconds, descriptor, size, per_second);
    double arrived = (counters->datagrams - before) / (now() - start);
    usleep(SETTLE);
    double lost = 100 * (1 - (double)counters->datagrams / sent);
    printf("{\"per second\": %.0f, \"lost %%\": %.4f}\n", arrived, lost);
}

/* hold CONNECTIONS: open them, use each once, and keep them until our input ends */
static void hold(char **arguments) {
    int number = atoi(arguments[0]);
    for (int i = 0; i < number; i++)
        round_trip(connected(SOCK_STREAM, TCP_ECHO));
    printf("{\"held\": %d}\n", number);
    fflush(stdout);
    if (read(STDIN_FILENO, buffer, 1) < 0)
        fail("read");
}

static const struct {
    const char *name;
    int arguments;
    void (*run)(char **arguments);
} measurements[] = {
    {"up", 2, up},
    {"down", 2, down},
    {"connect", 2, connect_often},
    {"tcp-ping", 1, tcp_ping},
    {"udp-ping", 1, udp_ping},
    {"flood", 3, flood},
    {"hold", 1, hold},
};

int main(int count, char **arguments) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < MOST_DESCRIPTORS ? files.rlim_max : MOST_DESCRIPTORS;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements && count > 3; i++)
        if (!strcmp(arguments[3], measurements[i].name) && count == 4 + measurements[i].arguments) {
            counters = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            server_ip = arguments[2];
            start_server(arguments[1]);
            measurements[i].run(arguments + 4);
            return 0;
        }
    fputs("load NETNS IP MEASUREMENT [ARGUMENT...]\n", stderr);
    return 2;
}
