/*
 * driver: how long one call of a CNI program takes, as the runtime sees it.
 *
 *     cc -O2 -Wall -Wextra -Werror -o driver driver.c
 *     CNI_COMMAND=ADD CNI_NETNS=/x CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
 *         CNI_ARGS='K8S_POD_NAME=pod-@I@' ./driver PROGRAM TEMPLATE PREFIX START COUNT CONCURRENCY
 *
 *     PROGRAM      path of the CNI program
 *     TEMPLATE     file with the network configuration, written to each call's stdin as it is
 *     PREFIX       call i has CNI_CONTAINERID=<PREFIX><i>
 *     START COUNT  i runs from START to START + COUNT - 1
 *     CONCURRENCY  calls in flight at most
 *
 * The driver's environment is passed on; in CNI_ARGS each @I@ becomes i. Stderr of the calls goes
 * to the driver's stderr. One line a call, in the order in which the calls end:
 *
 *     <i> <microseconds> <exit code, 128 + n after signal n> <stdout, line feeds as blanks>
 *
 * The time runs from before the spawn to after the wait. It is a C program because Python's own
 * spawn costs more than the shim. The driver fails (exit 1) only if it cannot do its own work.
 */
#define _GNU_SOURCE /* pipe2, environ, asprintf */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOKEN "@I@"

struct call {
    long index;
    pid_t pid; /* 0: the slot is free */
    int in, out;
    size_t written;
    char *output;
    size_t length, capacity;
    long long started;
};

struct plan {
    const char *program;
    char *container; /* the pattern of CNI_CONTAINERID */
    const char *arguments; /* the pattern of CNI_ARGS, NULL if that is not set */
    char **environment; /* two free places, then what all calls have in common */
    char *config;
    size_t config_length;
};

static void fail(const char *what)
{
    fprintf(stderr, "driver: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *checked(void *memory)
{
    if (!memory)
        fail("memory");
    return memory;
}

static long long microseconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void read_config(struct plan *plan, const char *path)
{
    struct stat status;
    FILE *file = fopen(path, "rb");

    if (!file || fstat(fileno(file), &status) != 0)
        fail(path);
    plan->config_length = (size_t)status.st_size;
    plan->config = checked(malloc(plan->config_length + 1));
    if (fread(plan->config, 1, plan->config_length, file) != plan->config_length)
        fail(path);
    fclose(file);
}

/* "name=value" with each TOKEN of the value replaced; the caller frees it. */
static char *variable(const char *name, const char *value, long index)
{
    char *text = NULL;
    size_t length;
    FILE *stream = checked(open_memstream(&text, &length));
    const char *token;

    fprintf(stream, "%s=", name);
    for (; (token = strstr(value, TOKEN)); value = token + strlen(TOKEN))
        fprintf(stream, "%.*s%ld", (int)(token - value), value, index);
    fputs(value, stream);
    if (fclose(stream) != 0)
        fail("memory");
    return text;
}

static char **common_environment(void)
{
    size_t count = 2;

    for (char **entry = environ; *entry; entry++)
        count++;
    char **result = checked(calloc(count + 1, sizeof *result));
    count = 2;
    for (char **entry = environ; *entry; entry++)
        if (strncmp(*entry, "CNI_CONTAINERID=", 16) != 0 && strncmp(*entry, "CNI_ARGS=", 9) != 0)
            result[count++] = *entry;
    return result;
}

static void make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        fail("pipe");
}

static pid_t spawn(const char *program, char **environment, int in, int out)
{
    char *arguments[] = {(char *)program, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    pid_t pid;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* The driver ignores it, which a program would inherit. */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    errno = posix_spawn(&pid, program, &files, &attributes, arguments, environment);
    if (errno != 0)
        fail(program);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

/* Puts what differs from call to call into the free places. */
static char **environment_of(const struct plan *plan, long index)
{
    plan->environment[1] = variable("CNI_CONTAINERID", plan->container, index);
    if (!plan->arguments)
        return plan->environment + 1;
    plan->environment[0] = variable("CNI_ARGS", plan->arguments, index);
    return plan->environment;
}

static void start_call(const struct plan *plan, struct call *call, long index)
{
    char **environment = environment_of(plan, index);
    int in[2], out[2];

    make_pipe(in);
    make_pipe(out);
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    *call = (struct call){.index = index, .in = in[1], .out = out[0], .started = microseconds()};
    call->pid = spawn(plan->program, environment, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    for (char **entry = environment; entry < plan->environment + 2; entry++)
        free(*entry);
}

/* Writes what the pipe takes; closes it after the last byte or when the program stopped reading. */
static void feed(const struct plan *plan, struct call *call)
{
    while (call->written < plan->config_length) {
        ssize_t count = write(call->in, plan->config + call->written,
                              plan->config_length - call->written);
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0)
            break;
        call->written += (size_t)count;
    }
    close(call->in);
    call->in = -1;
}

static void print_call(const struct call *call, int status, long long duration)
{
    int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);

    for (size_t i = 0; i < call->length; i++)
        if (call->output[i] == '\n' || call->output[i] == '\r')
            call->output[i] = ' ';
    printf("%ld %lld %d ", call->index, duration, code);
    fwrite(call->output, 1, call->length, stdout);
    putchar('\n');
}

static void end_call(struct call *call)
{
    int status;

    close(call->out);
    if (call->in >= 0)
        close(call->in);
    while (waitpid(call->pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid");
    print_call(call, status, microseconds() - call->started);
    free(call->output);
    call->pid = 0;
}

/* Reads what is there. Returns 0 at the end of the output. */
static int drain(struct call *call)
{
    for (;;) {
        if (call->length == call->capacity) {
            call->capacity = call->capacity ? 2 * call->capacity : 4096;
            call->output = checked(realloc(call->output, call->capacity));
        }
        ssize_t count = read(call->out, call->output + call->length, call->capacity - call->length);
        if (count < 0)
            return errno == EAGAIN || errno == EINTR;
        if (count == 0)
            return 0;
        call->length += (size_t)count;
    }
}

/* Waits until something happens to a call, and serves all that it happened to. Returns how many
 * calls ended. A negative descriptor, of a free slot or a closed pipe, is one that poll ignores. */
static long serve(const struct plan *plan, struct call *calls, struct pollfd *items, long slots)
{
    long ended = 0;

    for (long i = 0; i < slots; i++) {
        items[2 * i] = (struct pollfd){calls[i].pid ? calls[i].in : -1, POLLOUT, 0};
        items[2 * i + 1] = (struct pollfd){calls[i].pid ? calls[i].out : -1, POLLIN, 0};
    }
    if (poll(items, 2 * (nfds_t)slots, -1) < 0 && errno != EINTR)
        fail("poll");
    for (long i = 0; i < slots; i++) {
        if (items[2 * i].revents)
            feed(plan, &calls[i]);
        if (items[2 * i + 1].revents && !drain(&calls[i])) {
            end_call(&calls[i]);
            ended++;
        }
    }
    return ended;
}

static void run(const struct plan *plan, long start, long count, long slots)
{
    struct call *calls = checked(calloc((size_t)slots, sizeof *calls));
    struct pollfd *items = checked(calloc((size_t)slots, 2 * sizeof *items));
    long next = 0, ended = 0;

    while (ended < count) {
        for (long i = 0; i < slots && next < count; i++)
            if (!calls[i].pid) {
                start_call(plan, &calls[i], start + next++);
                feed(plan, &calls[i]);
            }
        ended += serve(plan, calls, items, slots);
    }
    free(items);
    free(calls);
}

static long number(const char *text, long least)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || value < least) {
        fprintf(stderr, "driver: not a number of at least %ld: %s\n", least, text);
        exit(2);
    }
    return value;
}

int main(int count, char **arguments)
{
    struct plan plan = {.arguments = getenv("CNI_ARGS"), .environment = common_environment()};

    if (count != 7) {
        fputs("usage: driver PROGRAM TEMPLATE PREFIX START COUNT CONCURRENCY\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    plan.program = arguments[1];
    read_config(&plan, arguments[2]);
    if (asprintf(&plan.container, "%s" TOKEN, arguments[3]) < 0)
        fail("memory");
    run(&plan, number(arguments[4], 0), number(arguments[5], 0), number(arguments[6], 1));
    if (fflush(stdout) != 0)
        fail("stdout");
    free(plan.container);
    free(plan.environment);
    free(plan.config);
    return 0;
}
