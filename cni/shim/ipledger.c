/*
 * ipledger: the CNI IPAM plugin that a container runtime executes, for each command anew.
 *
 * It knows nothing about addresses. It carries one CNI call (the CNI_* variables and the network
 * configuration on stdin) to the node's agent over a Unix socket, as one HTTP/1.1 request, and
 * carries the answer back: the body goes to stdout as it is, status 200 means exit code 0.
 * Everything that can be decided by the agent is decided there, so that this program hardly ever
 * changes on a node. It decides only what it must decide alone:
 *
 *   - where the agent is (ipam.socket in the network configuration);
 *   - VERSION, which a runtime asks before an agent may exist;
 *   - what to say when the agent does not answer, or answers with something that is not an answer:
 *     to STATUS that the plugin is not available.
 *
 * Its own failures are CNI error objects on stdout with exit code 1, as the CNI specification asks
 * (https://www.cni.dev/docs/spec/#error), with the specification's codes: 4 a bad environment
 * variable, 5 input or output failed, 6 the input cannot be decoded, 7 a bad configuration,
 * 11 try again later, and 50 not available.
 *
 * A pod waits for this process, so it is one static program: no dynamic linker, no stdio, no heap.
 * The two large buffers are in .bss and cost only the pages that are used. Stdin, the environment
 * and the agent's answer are untrusted: no recursion, no unbounded copy.
 */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef ANSWER_SECONDS
#define ANSWER_SECONDS 90 /* above the agent's own deadline of 60 s, which has the better message */
#endif
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

#define DEFAULT_SOCKET "/run/ipledger/agent.sock"

enum cni_code {
    CNI_BAD_ENVIRONMENT = 4,
    CNI_IO_FAILURE = 5,
    CNI_DECODING_FAILURE = 6,
    CNI_BAD_CONFIGURATION = 7,
    CNI_TRY_AGAIN_LATER = 11,
    CNI_NOT_AVAILABLE = 50,
};

enum {
    MIB = 1 << 20,
    CONFIG_MAX = 4 * MIB,
    ANSWER_MAX = 4 * MIB, /* with its headers */
    VERSION_MAX = 32,
    QUOTE_MAX = 200, /* characters of foreign text shown in an error */
    TEXT_MAX = 1024, /* bytes of a message or of its details */
    JSON_GROWTH = 6, /* one byte becomes \u00XX at worst */
    ERROR_MAX = JSON_GROWTH * (2 * TEXT_MAX + VERSION_MAX) + 128,
};

static const char *const SUPPORTED_VERSIONS[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

static const struct {
    const char *variable, *header;
} FORWARDED[] = {
    {"CNI_COMMAND", "Cni-Command: "}, {"CNI_CONTAINERID", "Cni-Containerid: "},
    {"CNI_NETNS", "Cni-Netns: "},     {"CNI_IFNAME", "Cni-Ifname: "},
    {"CNI_ARGS", "Cni-Args: "},       {"CNI_PATH", "Cni-Path: "},
    {"TRACEPARENT", "Traceparent: "},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* One byte more than allowed, so that "too large" is seen without a second read. */
static char config[CONFIG_MAX + 1];
static char answer[ANSWER_MAX];

static char cni_version[VERSION_MAX] = "1.0.0";
static struct sockaddr_un agent_address = {.sun_family = AF_UNIX, .sun_path = DEFAULT_SOCKET};

/* ---- Text and errors --------------------------------------------------------------------- */

/* Bounded text: what does not fit is dropped. */
struct text {
    char *bytes;
    size_t length, capacity;
};

static void add_bytes(struct text *text, const char *bytes, size_t length)
{
    size_t room = text->capacity - text->length;

    if (length > room)
        length = room;
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void add(struct text *text, const char *string)
{
    add_bytes(text, string, strlen(string));
}

static void add_number(struct text *text, unsigned long long number)
{
    char digits[24];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    add_bytes(text, digits + at, sizeof digits - at);
}

/* Adds at most QUOTE_MAX characters of foreign text, with blanks for control characters. */
static void add_quote(struct text *text, const char *bytes, size_t length)
{
    size_t characters = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        bool starts_character = (byte & 0xc0) != 0x80;
        if (starts_character && ++characters > QUOTE_MAX) {
            add(text, "...");
            return;
        }
        add_bytes(text, byte < 0x20 || byte == 0x7f ? " " : bytes + i, 1);
    }
}

/* Bytes of the UTF-8 character at the start of s, 0 if that is not UTF-8 (RFC 3629). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    static const unsigned long smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80             ? 1
                    : (s[0] & 0xe0) == 0xc0 ? 2
                    : (s[0] & 0xf0) == 0xe0 ? 3
                    : (s[0] & 0xf8) == 0xf0 ? 4
                                            : 0;
    if (length == 1)
        return 1;
    if (length == 0 || length > left)
        return 0;

    unsigned long point = s[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 0x3fU);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return surrogate || point < smallest[length] || point > 0x10ffff ? 0 : length;
}

/* Adds a JSON string. Its input may be cut or not UTF-8 at all; the result is always JSON. */
static void add_json(struct text *text, const char *bytes, size_t length)
{
    static const char hex[] = "0123456789abcdef";

    add(text, "\"");
    for (size_t i = 0; i < length;) {
        unsigned char byte = (unsigned char)bytes[i];
        size_t valid = utf8_length((const unsigned char *)bytes + i, length - i);
        if (valid == 0) {
            add(text, "\\ufffd");
        } else if (byte < 0x20) {
            const char escape[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
            add_bytes(text, escape, sizeof escape);
        } else {
            if (byte == '"' || byte == '\\')
                add(text, "\\");
            add_bytes(text, bytes + i, valid);
        }
        i += valid ? valid : 1;
    }
    add(text, "\"");
}

/* False when stdout is gone: then there is nobody left to tell. */
static bool print(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);
        if (written >= 0) {
            bytes += written;
            length -= (size_t)written;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Prints a CNI error and ends the program. The strings up to NULL make the message. */
__attribute__((noreturn, sentinel)) static void die(enum cni_code code, const char *details, ...)
{
    static char message_bytes[TEXT_MAX], error_bytes[ERROR_MAX];
    struct text message = {message_bytes, 0, sizeof message_bytes};
    struct text error = {error_bytes, 0, sizeof error_bytes};
    size_t details_length = strlen(details);
    va_list parts;

    va_start(parts, details);
    for (const char *part; (part = va_arg(parts, const char *));)
        add(&message, part);
    va_end(parts);

    add(&error, "{\"cniVersion\":");
    add_json(&error, cni_version, strlen(cni_version));
    add(&error, ",\"code\":");
    add_number(&error, (size_t)code);
    add(&error, ",\"msg\":");
    add_json(&error, message.bytes, message.length);
    add(&error, ",\"details\":");
    add_json(&error, details, details_length < TEXT_MAX ? details_length : TEXT_MAX);
    add(&error, "}\n");
    print(error.bytes, error.length);
    exit(EXIT_FAILURE);
}

__attribute__((noreturn)) static void die_unanswered(const char *why)
{
    const char *command = getenv("CNI_COMMAND");
    bool is_status = command && strcmp(command, "STATUS") == 0;

    die(is_status ? CNI_NOT_AVAILABLE : CNI_TRY_AGAIN_LATER,
        "is `ipledger up` running on this node?",
        "the ipledger agent does not answer at ", agent_address.sun_path, ": ", why, NULL);
}

/* ---- The network configuration ----------------------------------------------------------- */

/* A JSON string between its quotes, still escaped. NULL: there is none. */
struct span {
    const char *at, *end;
};

/* The JSON text that is still to be read. */
struct scan {
    const char *at, *end;
};

/* The next character that is no white space, 0 at the end. */
static char peek(struct scan *scan)
{
    while (scan->at < scan->end && memchr(" \t\r\n", *scan->at, 4))
        scan->at++;
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool take(struct scan *scan, char wanted)
{
    if (peek(scan) != wanted || scan->at == scan->end)
        return false;
    scan->at++;
    return true;
}

static bool take_string(struct scan *scan, struct span *string)
{
    if (!take(scan, '"'))
        return false;
    const char *start = scan->at;
    for (; scan->at < scan->end; scan->at++) {
        if (*scan->at == '"') {
            *string = (struct span){start, scan->at++};
            return true;
        }
        if (*scan->at == '\\' && ++scan->at == scan->end)
            break;
    }
    return false;
}

/* Numbers, true, false, null. Anything else of that shape is for the agent to complain about. */
static bool skip_word(struct scan *scan)
{
    const char *start = scan->at;

    while (scan->at < scan->end && *scan->at && !memchr(" \t\r\n,:[]{}\"", *scan->at, 11))
        scan->at++;
    return scan->at > start;
}

/* Counts brackets instead of calling itself: the depth is the sender's choice. */
static bool skip_value(struct scan *scan)
{
    size_t depth = 0;
    struct span ignored;

    do {
        char next = peek(scan);
        bool closing = next == ']' || next == '}';
        bool between = next == ',' || next == ':';
        if ((closing || between) && depth == 0)
            return false;
        if (next == '[' || next == '{')
            depth++;
        if (closing)
            depth--;
        if (closing || between || next == '[' || next == '{')
            scan->at++;
        else if (!(next == '"' ? take_string(scan, &ignored) : skip_word(scan)))
            return false;
    } while (depth > 0);
    return true;
}

static bool take_string_or_skip(struct scan *scan, struct span *string)
{
    *string = (struct span){NULL, NULL};
    return peek(scan) == '"' ? take_string(scan, string) : skip_value(scan);
}

/* The value of four hexadecimal digits, -1 if they are not. */
static int hex4(const char *digits)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Reads one character of a string. Returns 0 for what no path or version has: NUL, a control
 * character's short escape, an escape beyond ASCII. */
static char next_character(struct span *string)
{
    char c = *string->at++;

    if (c != '\\')
        return c;
    c = *string->at++;
    if (c == '"' || c == '\\' || c == '/')
        return c;
    if (c != 'u' || string->end - string->at < 4)
        return '\0';
    int value = hex4(string->at);
    string->at += 4;
    return value > 0 && value < 0x80 ? (char)value : '\0';
}

/* Writes string, unescaped and with a final NUL, to buffer. False: it does not fit or has a
 * character that next_character refuses; the buffer then holds its start. */
static bool unescape(struct span string, char *buffer, size_t capacity)
{
    size_t length = 0;
    bool good = true;

    while (good && string.at < string.end) {
        char c = next_character(&string);
        good = c != '\0' && length + 1 < capacity;
        if (good)
            buffer[length++] = c;
    }
    buffer[length] = '\0';
    return good;
}

static bool is_key(struct span key, const char *name)
{
    char plain[16];

    return unescape(key, plain, sizeof plain) && strcmp(plain, name) == 0;
}

static bool read_ipam(struct scan *scan, struct span *socket_path)
{
    struct span key;
    bool good;

    *socket_path = (struct span){NULL, NULL};
    if (peek(scan) != '{')
        return skip_value(scan);
    take(scan, '{');
    if (take(scan, '}'))
        return true;
    do {
        good = take_string(scan, &key) && take(scan, ':') &&
               (is_key(key, "socket") ? take_string_or_skip(scan, socket_path) : skip_value(scan));
    } while (good && take(scan, ','));
    return good && take(scan, '}');
}

/* Finds what this program needs; of a repeated key the last counts, as it does in the agent. What
 * stands before a syntax error counts too: so a broken configuration still reaches the agent that
 * it names, and that agent explains it. */
static void find_fields(size_t length, struct span *version, struct span *socket_path)
{
    struct scan scan = {config, config + length};
    struct span key;
    bool good;

    if (!take(&scan, '{'))
        return;
    do {
        good = take_string(&scan, &key) && take(&scan, ':');
        if (good && is_key(key, "cniVersion"))
            good = take_string_or_skip(&scan, version);
        else if (good && is_key(key, "ipam"))
            good = read_ipam(&scan, socket_path);
        else if (good)
            good = skip_value(&scan);
    } while (good && take(&scan, ','));
}

static void use_version(struct span version)
{
    char plain[sizeof cni_version];

    if (version.at && version.at < version.end && unescape(version, plain, sizeof plain))
        memcpy(cni_version, plain, sizeof plain);
}

static void use_socket(struct span path)
{
    char bytes[TEXT_MAX];
    struct text quote = {bytes, 0, sizeof bytes - 1};

    if (!path.at)
        return;
    if (path.at < path.end && unescape(path, agent_address.sun_path, sizeof agent_address.sun_path))
        return;
    add_quote(&quote, path.at, (size_t)(path.end - path.at));
    bytes[quote.length] = '\0';
    die(CNI_BAD_CONFIGURATION,
        "a Unix socket path has 1 to 107 bytes, and only ASCII characters may be \\u escapes",
        "ipam.socket cannot be used as a path: \"", bytes, "\"", NULL);
}

/* Returns the length; CONFIG_MAX + 1 when there is more. */
static size_t read_stdin(void)
{
    size_t length = 0;

    while (length < sizeof config) {
        ssize_t got = read(STDIN_FILENO, config + length, sizeof config - length);
        if (got == 0)
            break;
        if (got > 0)
            length += (size_t)got;
        else if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = STDIN_FILENO, .events = POLLIN}, 1, -1);
        else if (errno != EINTR)
            die(CNI_IO_FAILURE, "", "stdin cannot be read: ", strerror(errno), NULL);
    }
    return length;
}

/* ---- The request ------------------------------------------------------------------------- */

/* Microseconds on a clock that nobody sets, and that the agent has too. */
static long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void wait_until_ready(int fd, short events, long long deadline)
{
    struct pollfd item = {.fd = fd, .events = events};

    for (;;) {
        long long left = deadline - now();
        if (left <= 0)
            die_unanswered("no answer within " TEXT(ANSWER_SECONDS) " s");
        int ready = poll(&item, 1, (int)(left / 1000 + 1));
        if (ready > 0)
            return;
        if (ready < 0 && errno != EINTR)
            die_unanswered(strerror(errno));
    }
}

/* A blocking connect: it waits while the agent's accept queue is full (a burst of pods), where a
 * non-blocking one fails. The kernel takes the send timeout as its limit. */
static int connect_to_agent(void)
{
    struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die(CNI_IO_FAILURE, "", "no socket: ", strerror(errno), NULL);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    while (connect(fd, (struct sockaddr *)&agent_address, sizeof agent_address) != 0)
        if (errno != EINTR)
            die_unanswered(strerror(errno));
    return fd;
}

/* Without this a line feed in CNI_ARGS would become a header of the caller's choice. */
static void check_variable(const char *name, const char *value)
{
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            die(CNI_BAD_ENVIRONMENT, "control characters are not allowed in CNI variables",
                "the environment variable ", name, " has a control character", NULL);
}

static struct iovec part_of(const char *bytes, size_t length)
{
    return (struct iovec){.iov_base = (void *)bytes, .iov_len = length};
}

/* Drops the first sent bytes. Returns how many parts are left. */
static size_t advance(struct iovec **parts, size_t count, size_t sent)
{
    for (; count > 0 && sent >= (*parts)->iov_len; ++*parts, count--)
        sent -= (*parts)->iov_len;
    if (count > 0)
        **parts = part_of((const char *)(*parts)->iov_base + sent, (*parts)->iov_len - sent);
    return count;
}

static void send_parts(int fd, struct iovec *parts, size_t count, long long deadline)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT);
        if (sent >= 0)
            count = advance(&parts, count, (size_t)sent);
        else if (errno == EAGAIN)
            wait_until_ready(fd, POLLOUT, deadline);
        else if (errno == EPIPE || errno == ECONNRESET)
            return; /* An agent may refuse before it read everything: its answer is next. */
        else if (errno != EINTR)
            die_unanswered(strerror(errno));
    }
}

/* A variable that is set but empty is sent: a late DEL has an empty CNI_NETNS. */
static size_t gather_variables(struct iovec *parts)
{
    size_t count = 0;

    for (size_t i = 0; i < COUNT(FORWARDED); i++) {
        const char *value = getenv(FORWARDED[i].variable);
        if (!value)
            continue;
        check_variable(FORWARDED[i].variable, value);
        parts[count++] = part_of(FORWARDED[i].header, strlen(FORWARDED[i].header));
        parts[count++] = part_of(value, strlen(value));
        parts[count++] = part_of("\r\n", 2);
    }
    return count;
}

/* ---- The answer -------------------------------------------------------------------------- */

struct answer {
    size_t length; /* bytes received */
    size_t body;   /* where the body starts, 0 while the headers are incomplete */
    size_t end;    /* where it ends, ANSWER_MAX while only the end of the stream tells */
    bool sized;
};

/* Bytes received; 0 when the agent closed the connection. */
static size_t receive(int fd, size_t have, long long deadline)
{
    for (;;) {
        ssize_t got = recv(fd, answer + have, sizeof answer - have, MSG_DONTWAIT);
        if (got >= 0)
            return (size_t)got;
        if (errno == ECONNRESET)
            return 0;
        if (errno == EAGAIN)
            wait_until_ready(fd, POLLIN, deadline);
        else if (errno != EINTR)
            die_unanswered(strerror(errno));
    }
}

__attribute__((noreturn)) static void die_bad_answer(const char *why, size_t received)
{
    char bytes[TEXT_MAX];
    struct text details = {bytes, 0, sizeof bytes - 1};

    add(&details, "it begins: ");
    add_quote(&details, answer, received);
    bytes[details.length] = '\0';
    die(CNI_IO_FAILURE, bytes, "the answer of the ipledger agent at ", agent_address.sun_path, " ",
        why, NULL);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether the bytes so far can be the start of "HTTP/1.1 200 ". */
static bool is_http(const char *bytes, size_t length)
{
    static const char pattern[] = "HTTP/1.# ###";

    for (size_t i = 0; i < length && i < sizeof pattern - 1; i++)
        if (pattern[i] == '#' ? !is_digit(bytes[i]) : bytes[i] != pattern[i])
            return false;
    return true;
}

/* Where the body starts, 0 if the headers' end is not among the bytes from..length. */
static size_t find_body(size_t from, size_t length)
{
    for (size_t i = from; i + 4 <= length; i++)
        if (memcmp(answer + i, "\r\n\r\n", 4) == 0)
            return i + 4;
    return 0;
}

/* The value of a header, with the white space around it; NULL if there is none. */
static struct span find_header(const char *name, size_t headers_end)
{
    size_t name_length = strlen(name);

    for (size_t i = 0; i + 2 + name_length < headers_end; i++) {
        if (memcmp(answer + i, "\r\n", 2) != 0)
            continue;
        if (strncasecmp(answer + i + 2, name, name_length) != 0)
            continue;
        const char *value = answer + i + 2 + name_length;
        size_t left = headers_end - (i + 2 + name_length);
        const char *end = memchr(value, '\r', left);
        return (struct span){value, end ? end : value + left};
    }
    return (struct span){NULL, NULL};
}

/* Content-Length (RFC 9110 8.6). A number above ANSWER_MAX comes out as ANSWER_MAX + 1. */
static bool read_length(struct span digits, size_t *length)
{
    while (digits.at < digits.end && (*digits.at == ' ' || *digits.at == '\t'))
        digits.at++;
    while (digits.end > digits.at && (digits.end[-1] == ' ' || digits.end[-1] == '\t'))
        digits.end--;
    *length = 0;
    for (const char *c = digits.at; c < digits.end; c++) {
        if (!is_digit(*c))
            return false;
        *length = *length * 10 + (size_t)(*c - '0');
        if (*length > ANSWER_MAX)
            *length = ANSWER_MAX + 1;
    }
    return digits.at < digits.end;
}

static void read_headers(struct answer *state)
{
    struct span sized = find_header("Content-Length:", state->body);
    size_t length;

    if (answer[12] != ' ' && answer[12] != '\r')
        die_bad_answer("is not HTTP", state->length);
    if (find_header("Transfer-Encoding:", state->body).at)
        die_bad_answer("has a Transfer-Encoding", state->length);
    state->end = ANSWER_MAX;
    if (!sized.at)
        return;
    if (!read_length(sized, &length))
        die_bad_answer("has a wrong Content-Length", state->length);
    if (length > ANSWER_MAX - state->body)
        die_bad_answer("is larger than 4 MiB", state->length);
    state->end = state->body + length;
    state->sized = true;
}

static void check_complete(const struct answer *state)
{
    if (state->length == 0)
        die_unanswered("the connection was closed before an answer");
    if (state->body == 0 || state->sized)
        die_bad_answer("is cut short", state->length);
}

static void read_answer(int fd, struct answer *state, long long deadline)
{
    while (state->body == 0 || !state->sized || state->length < state->end) {
        size_t seen = state->length;
        if (seen == ANSWER_MAX)
            die_bad_answer("is larger than 4 MiB", seen);
        size_t got = receive(fd, seen, deadline);
        if (got == 0) {
            check_complete(state);
            state->end = state->length;
            return;
        }
        state->length += got;
        if (!is_http(answer, state->length))
            die_bad_answer("is not HTTP", state->length);
        if (state->body == 0)
            state->body = find_body(seen > 3 ? seen - 3 : 0, state->length);
        if (state->body > 0 && state->end == 0)
            read_headers(state);
    }
}

/* Prints the body and returns the exit code. A body that is no CNI error (a web framework's own
 * error page, say) is wrapped into one. */
static int pass_on(const struct answer *state)
{
    const char *body = answer + state->body;
    size_t length = state->end - state->body;
    bool success = memcmp(answer + sizeof "HTTP/1.1", "200", 3) == 0;

    if (!success && (length == 0 || body[0] != '{')) {
        char bytes[TEXT_MAX];
        struct text details = {bytes, 0, sizeof bytes - 1};
        add(&details, "status ");
        add_bytes(&details, answer + sizeof "HTTP/1.1", 3);
        add(&details, ": ");
        add_quote(&details, body, length);
        bytes[details.length] = '\0';
        die(CNI_IO_FAILURE, bytes, "the ipledger agent at ", agent_address.sun_path,
            " failed without a CNI error", NULL);
    }
    return print(body, length) && success ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- The program ------------------------------------------------------------------------- */

/* started is when this program began: the agent counts from it how long the pod has waited. */
static int call_agent(size_t config_length, long long started)
{
    char numbers_bytes[128];
    struct text numbers = {numbers_bytes, 0, sizeof numbers_bytes};
    static const char start[] = "POST /cni HTTP/1.1\r\nHost: ipledger\r\nConnection: close\r\n"
                                "Content-Type: application/json\r\n";
    struct iovec parts[3 + 3 * COUNT(FORWARDED)];
    size_t count = 0;
    struct answer state = {0};

    parts[count++] = part_of(start, sizeof start - 1);
    count += gather_variables(parts + count);
    add(&numbers, "Ipledger-Started: ");
    add_number(&numbers, (unsigned long long)started);
    add(&numbers, "\r\nContent-Length: ");
    add_number(&numbers, config_length);
    add(&numbers, "\r\n\r\n");
    parts[count++] = part_of(numbers.bytes, numbers.length);
    parts[count++] = part_of(config, config_length);

    long long deadline = now() + ANSWER_SECONDS * 1000000LL;
    int fd = connect_to_agent();
    send_parts(fd, parts, count, deadline);
    read_answer(fd, &state, deadline);
    return pass_on(&state);
}

static int print_versions(void)
{
    char bytes[512];
    struct text line = {bytes, 0, sizeof bytes};

    add(&line, "{\"cniVersion\":");
    add_json(&line, cni_version, strlen(cni_version));
    add(&line, ",\"supportedVersions\":[");
    for (size_t i = 0; i < COUNT(SUPPORTED_VERSIONS); i++) {
        add(&line, i > 0 ? "," : "");
        add_json(&line, SUPPORTED_VERSIONS[i], strlen(SUPPORTED_VERSIONS[i]));
    }
    add(&line, "]}\n");
    return print(line.bytes, line.length) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(void)
{
    struct span version = {NULL, NULL}, socket_path = {NULL, NULL};
    const char *command = getenv("CNI_COMMAND");
    long long started = now();

    signal(SIGPIPE, SIG_IGN);
    size_t length = read_stdin();
    find_fields(length, &version, &socket_path);
    use_version(version); /* First, because every error from here on carries it. */
    if (length > CONFIG_MAX)
        die(CNI_DECODING_FAILURE, "", "the network configuration on stdin is larger than 4 MiB",
            NULL);
    if (!command || !*command)
        die(CNI_BAD_ENVIRONMENT, "a CNI runtime sets it to ADD, DEL, CHECK, GC, STATUS or VERSION",
            "the environment variable CNI_COMMAND is missing or empty", NULL);
    if (strcmp(command, "VERSION") == 0)
        return print_versions();
    use_socket(socket_path);
    return call_agent(length, started);
}
