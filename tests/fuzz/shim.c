/*
 * The shim in one process, fed with hostile input: libFuzzer (clang) or a mutator of its own (gcc).
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -DLIBFUZZER -I cni/shim shim.c
 *     cc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -I cni/shim shim.c
 *     ./a.out COUNT SEED FILE...      the files, and COUNT inputs near them
 *
 * The source is included, and what it asks of the system is answered here: the environment, stdin
 * and what the agent sends come out of the input, in pieces of any length; time passes with each
 * wait, so that everything ends. Memory that was not received is poisoned: reading it is an error
 * as reading behind an array is.
 *
 * An input: how many bytes a read gives at most (1 byte), lengths of environment and stdin (2 bytes
 * each, big-endian), then these, then the answer. The variables are in the order of VARIABLES, each
 * with a NUL behind it; one that starts with \x01 is not set.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sanitizer/asan_interface.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct {
    const uint8_t *at, *end;
} given[3]; /* environment, stdin, answer */
static size_t piece;
static bool starved; /* the next read finds nothing yet */
static long long microseconds;
static jmp_buf ended;
static int exit_code;
static char printed[8 << 20];
static size_t printed_length;

static const char *const VARIABLES[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME",
                                        "CNI_ARGS",    "CNI_PATH",        "TRACEPARENT"};
static char *values[sizeof VARIABLES / sizeof *VARIABLES];

__attribute__((noreturn)) static void fail(const char *what)
{
    fprintf(stderr, "shim: %s\n%.*s\n", what, (int)printed_length, printed);
    abort();
}

static ssize_t take_piece(int source, void *into, size_t room)
{
    size_t left = (size_t)(given[source].end - given[source].at);
    size_t length = left < room ? left : room;

    if (room == 0)
        fail("a read without room");
    starved = !starved;
    if (starved) {
        errno = EAGAIN;
        return -1;
    }
    if (length > piece)
        length = piece;
    ASAN_UNPOISON_MEMORY_REGION(into, length);
    memcpy(into, given[source].at, length);
    given[source].at += length;
    return (ssize_t)length;
}

static ssize_t fake_read(int fd, void *into, size_t room)
{
    (void)fd;
    return take_piece(1, into, room);
}

static ssize_t fake_recv(int fd, void *into, size_t room, int flags)
{
    (void)fd, (void)flags;
    return take_piece(2, into, room);
}

static ssize_t fake_write(int fd, const void *bytes, size_t length)
{
    (void)fd;
    if (length > sizeof printed - printed_length)
        fail("more was printed than an answer holds");
    memcpy(printed + printed_length, bytes, length);
    printed_length += length;
    return (ssize_t)length;
}

static ssize_t fake_sendmsg(int fd, const struct msghdr *message, int flags)
{
    volatile char seen = 0;
    size_t sent = 0;

    (void)fd, (void)flags;
    for (size_t i = 0; i < message->msg_iovlen && sent < piece * 64; i++)
        for (size_t at = 0; at < message->msg_iov[i].iov_len && sent < piece * 64; at++, sent++)
            seen ^= ((const char *)message->msg_iov[i].iov_base)[at];
    return (ssize_t)sent;
}

static int fake_poll(struct pollfd *items, nfds_t count, int timeout)
{
    (void)items, (void)count, (void)timeout;
    microseconds += 100;
    return 1;
}

static int fake_clock_gettime(clockid_t clock, struct timespec *time)
{
    (void)clock;
    *time = (struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000};
    return 0;
}

static char *fake_getenv(const char *name)
{
    for (size_t i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++)
        if (strcmp(name, VARIABLES[i]) == 0)
            return values[i];
    return NULL;
}

static int fake_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    (void)fd, (void)level, (void)name, (void)value, (void)length;
    return 0;
}

__attribute__((noreturn)) static void fake_exit(int code)
{
    exit_code = code;
    longjmp(ended, 1);
}

#define read fake_read
#define recv fake_recv
#define write fake_write
#define sendmsg fake_sendmsg
#define poll fake_poll
#define clock_gettime fake_clock_gettime
#define getenv fake_getenv
#define exit fake_exit
#define signal(number, handler) ((void)0)
#define socket(family, kind, protocol) 3
#define setsockopt fake_setsockopt
#define connect(fd, address, length) 0
#define main shim_main
#include "ipledger.c"
#undef read
#undef write
#undef exit
#undef main

static void set_values(void)
{
    const uint8_t *at = given[0].at;

    for (size_t i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++) {
        size_t left = (size_t)(given[0].end - at);
        const uint8_t *end = left ? memchr(at, 0, left) : NULL;
        free(values[i]);
        values[i] = end && *at != 1 ? strdup((const char *)at) : NULL;
        at = end ? end + 1 : given[0].end;
    }
}

/* What the shim says itself is one JSON object of bounded size. */
static void check_output(const char *answered)
{
    if (exit_code != 0 && exit_code != 1)
        fail("another exit code than 0 or 1");
    if (answered)
        return;
    if (printed_length < 3 || memcmp(printed, "{\"cniVersion\":", 14) != 0)
        fail("no CNI object");
    if (memcmp(printed + printed_length - 2, "}\n", 2) != 0 || printed_length > ERROR_MAX)
        fail("a CNI object that is cut");
    for (size_t i = 0; i + 1 < printed_length;) {
        size_t length = utf8_length((const unsigned char *)printed + i, printed_length - i);
        if (length == 0 || (unsigned char)printed[i] < 0x20)
            fail("what is printed is not JSON");
        i += length;
    }
}

static bool runs(void)
{
    bool died = setjmp(ended) != 0;

    if (!died)
        exit_code = shim_main();
    return !died;
}

static void feed(const uint8_t *data, size_t size)
{
    if (size < 5)
        return;
    size_t lengths[2] = {(size_t)data[1] << 8 | data[2], (size_t)data[3] << 8 | data[4]};
    const uint8_t *at = data + 5, *end = data + size;

    for (int i = 0; i < 2; i++) {
        size_t length = lengths[i] < (size_t)(end - at) ? lengths[i] : (size_t)(end - at);
        given[i].at = at, given[i].end = at += length;
    }
    given[2].at = at, given[2].end = end;
    piece = data[0] ? data[0] * (size_t)data[0] : 1;
    starved = false;
    microseconds = 1;
    printed_length = 0;
    strcpy(cni_version, "1.0.0");
    strcpy(agent_address.sun_path, DEFAULT_SOCKET);
    ASAN_POISON_MEMORY_REGION(config, sizeof config);
    ASAN_POISON_MEMORY_REGION(answer, sizeof answer);
    set_values();
    bool finished = runs();
    const char *command = fake_getenv("CNI_COMMAND");
    bool versions = finished && command && strcmp(command, "VERSION") == 0;
    check_output(finished && !versions ? "an answer was passed on" : NULL);
}

#ifdef LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    feed(data, size);
    return 0;
}
#else
enum { INPUT_MAX = 1 << 16 };

static uint32_t state;

static uint32_t random_below(size_t bound)
{
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return (uint32_t)(state % bound);
}

static const char *const TOKENS[] = {
    "\r\n\r\n", "\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 500 No\r\n", "Content-Length: ", "-1",
    "99999999999999999999999", "4194304", "0", "Transfer-Encoding: chunked\r\n", "{", "}", "[", "\"",
    "\\u0000", "\\", "\"socket\":\"", "\"ipam\":{", "\"cniVersion\":\"", "\xff", "\xed\xa0\x80", ":"};

/* One of: another byte, a byte less, a token, a part repeated, the end cut off. */
static size_t mutate(uint8_t *data, size_t size)
{
    size_t at = random_below(size);
    const char *token = TOKENS[random_below(sizeof TOKENS / sizeof *TOKENS)];
    size_t length = strlen(token), part = 1 + random_below(64);

    switch (random_below(5)) {
    case 0:
        data[at] = (uint8_t)random_below(256);
        return size;
    case 1:
        memmove(data + at, data + at + 1, size - at - 1);
        return size > 1 ? size - 1 : size;
    case 2:
        if (size + length > INPUT_MAX)
            return size;
        memmove(data + at + length, data + at, size - at);
        memcpy(data + at, token, length);
        return size + length;
    case 3:
        if (part > size - at || size + part > INPUT_MAX)
            return size;
        memmove(data + at + part, data + at, size - at);
        return size + part;
    default:
        return at ? at : size;
    }
}

static size_t load(const char *path, uint8_t *data)
{
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(data, 1, INPUT_MAX, file) : 0;

    if (!file || size == 0)
        fail("a seed cannot be read");
    fclose(file);
    return size;
}

int main(int count, char **arguments)
{
    static uint8_t data[INPUT_MAX];
    long examples = count > 2 ? atol(arguments[1]) : 0;
    int seeds = count - 3;

    if (seeds < 1) {
        fprintf(stderr, "usage: %s COUNT SEED FILE...\n", arguments[0]);
        return 2;
    }
    state = (uint32_t)atol(arguments[2]) | 1;
    for (int i = 0; i < seeds; i++)
        feed(data, load(arguments[3 + i], data));
    for (long i = 0; i < examples; i++) {
        size_t size = load(arguments[3 + random_below((size_t)seeds)], data);
        for (uint32_t changes = 1 + random_below(8); changes > 0; changes--)
            size = mutate(data, size);
        feed(data, size);
    }
    printf("%ld examples\n", examples);
    return 0;
}
#endif
