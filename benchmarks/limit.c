/* The practical limit of a Storage SCP: what is left when no DICOM work is done.
 *
 *     limit PORT DIRECTORY [fsync]
 *
 * One thread for each connection receives into a large buffer, walks the heads of the PDVs there, gathers what is
 * between them with one writev for each recv, renames the file and sends a canned response with the request's message
 * id. With "fsync" the order is the one that makes "Success" true: fsync of the file, rename, fsync of the directory,
 * response. It understands benchmarks/sender.py and no one else: one PDV in a PDU, a command in one fragment, context 1
 * only (so no C-ECHO), no window of operations, no checks beyond those that keep it in its buffers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    BUFFER = 256 << 10, /* bytes: more for each recv gained nothing */
    PIECES = 1024,      /* IOV_MAX on Linux */
    HEAD = 12,          /* of a PDU with one PDV: type, length, length of the PDV, context, control */
    COMMAND = 512,      /* bytes of a command that are kept; ours have some 130 */
    A_RELEASE_RQ = 5,
    LAST_OF_COMMAND = 3,
    LAST_OF_DATA = 2
};

struct association {
    int socket;
    unsigned char buffer[BUFFER];
    unsigned char head[HEAD];
    size_t head_length;
    size_t left; /* bytes of this fragment that are still to come */
    unsigned char command[COMMAND];
    size_t command_length;
    unsigned char message_id[2];
    int file;
    char temporary[PATH_MAX], final[PATH_MAX];
    struct iovec pieces[PIECES];
    int piece_count;
};

static const char *directory;
static int directory_descriptor;
static int with_fsync;
static int file_count;

static unsigned big_endian(const unsigned char *bytes)
{
    return (unsigned)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

static int send_all(int socket, const void *bytes, size_t length)
{
    return send(socket, bytes, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1; /* short: it fits into any buffer */
}

static int receive_all(int socket, void *bytes, size_t length)
{
    return recv(socket, bytes, length, MSG_WAITALL) == (ssize_t)length ? 0 : -1;
}

static size_t put_item(unsigned char *at, int type, const void *body, size_t length)
{
    unsigned char head[] = {type, 0, length >> 8, length};
    memcpy(at, head, 4);
    memcpy(at + 4, body, length);
    return 4 + length;
}

/* Accepts context 1 with Explicit VR Little Endian, whatever was proposed. */
static int accept_association(struct association *a)
{
    static const char application[] = "1.2.840.10008.3.1.1.1", transfer[] = "1.2.840.10008.1.2.1";
    static const unsigned char maximum_length[] = {0, 0, 0x40, 0};
    unsigned char answer[256] = {2}, context[64] = {1}, user[16];
    size_t length = 74, part;

    if (receive_all(a->socket, a->head, 6))
        return -1;
    unsigned body = big_endian(a->head + 2);
    if (body < 68 || body > BUFFER || receive_all(a->socket, a->buffer, body))
        return -1;
    memcpy(answer + 6, a->buffer, 68); /* version and titles, as they came */
    length += put_item(answer + length, 0x10, application, strlen(application));
    part = 4 + put_item(context + 4, 0x40, transfer, strlen(transfer));
    length += put_item(answer + length, 0x21, context, part);
    part = put_item(user, 0x51, maximum_length, sizeof maximum_length);
    length += put_item(answer + length, 0x50, user, part);
    answer[5] = length - 6;
    return send_all(a->socket, answer, length);
}

static int respond(struct association *a)
{
    unsigned char response[] = {
        4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, LAST_OF_COMMAND, /* the lengths follow below */
        0, 0, 0x00, 0x00, 4, 0, 0, 0, 0, 0, 0, 0,         /* group length */
        0, 0, 0x00, 0x01, 2, 0, 0, 0, 0x01, 0x80,         /* C-STORE-RSP */
        0, 0, 0x20, 0x01, 2, 0, 0, 0, a->message_id[0], a->message_id[1],
        0, 0, 0x00, 0x08, 2, 0, 0, 0, 0x01, 0x01,         /* no data set */
        0, 0, 0x00, 0x09, 2, 0, 0, 0, 0x00, 0x00,         /* Success */
    };
    size_t command = sizeof response - HEAD;
    response[5] = command + 6;
    response[9] = command + 2;
    response[20] = command - 12;
    return send_all(a->socket, response, sizeof response);
}

static void read_message_id(struct association *a)
{
    size_t at = 0;
    while (at + 10 <= a->command_length) {
        const unsigned char *element = a->command + at;
        if (element[2] == 0x10 && element[3] == 0x01)
            memcpy(a->message_id, element + 8, 2);
        at += 8 + element[4] + (element[5] << 8);
    }
}

static int open_file(struct association *a)
{
    int number = __sync_add_and_fetch(&file_count, 1);
    snprintf(a->temporary, sizeof a->temporary, "%s/.part%d", directory, number);
    snprintf(a->final, sizeof a->final, "%s/%d", directory, number);
    a->file = open(a->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return a->file < 0 ? -1 : 0;
}

static int write_pieces(struct association *a)
{
    size_t length = 0;
    int count = a->piece_count;
    a->piece_count = 0;
    for (int i = 0; i < count; i++)
        length += a->pieces[i].iov_len;
    return !length || writev(a->file, a->pieces, count) == (ssize_t)length ? 0 : -1;
}

static int publish(struct association *a)
{
    if (write_pieces(a) || (with_fsync && fsync(a->file)) || close(a->file))
        return -1;
    a->file = -1;
    if (rename(a->temporary, a->final) || (with_fsync && fsync(directory_descriptor)))
        return -1;
    return respond(a);
}

static int take(struct association *a, unsigned char *bytes, size_t length)
{
    if (a->head[11] & 1) {
        if (a->command_length + length > COMMAND)
            return -1;
        memcpy(a->command + a->command_length, bytes, length);
        a->command_length += length;
        return 0;
    }
    if (a->piece_count == PIECES && write_pieces(a))
        return -1;
    a->pieces[a->piece_count++] = (struct iovec){bytes, length};
    return 0;
}

static int end_fragment(struct association *a)
{
    if (a->head[11] == LAST_OF_DATA)
        return publish(a);
    if (a->head[11] != LAST_OF_COMMAND)
        return 0;
    read_message_id(a);
    a->command_length = 0;
    return open_file(a);
}

/* What one recv has brought; 1 where the association is released. */
static int walk(struct association *a, unsigned char *at, unsigned char *end)
{
    while (at < end) {
        if (a->head_length < HEAD) {
            a->head[a->head_length++] = *at++;
            if (a->head_length == 10 && a->head[0] == A_RELEASE_RQ)
                return 1;
            if (a->head_length < HEAD)
                continue;
            a->left = big_endian(a->head + 2) - 6;
        }
        size_t length = a->left < (size_t)(end - at) ? a->left : (size_t)(end - at);
        if (length && take(a, at, length))
            return -1;
        at += length;
        a->left -= length;
        if (a->left)
            continue;
        a->head_length = 0;
        if (end_fragment(a))
            return -1;
    }
    return write_pieces(a); /* the next recv overwrites them */
}

static void *serve(void *argument)
{
    static const unsigned char released[10] = {6, 0, 0, 0, 0, 4};
    struct association *a = argument;
    int outcome = accept_association(a);
    while (!outcome) {
        ssize_t received = recv(a->socket, a->buffer, BUFFER, 0);
        outcome = received > 0 ? walk(a, a->buffer, a->buffer + received) : -1;
    }
    if (outcome == 1)
        send_all(a->socket, released, sizeof released);
    if (a->file >= 0)
        close(a->file);
    close(a->socket);
    free(a);
    return NULL;
}

static int start(int socket)
{
    int on = 1;
    pthread_t thread;
    struct association *a = calloc(1, sizeof *a);
    if (!a)
        return -1;
    a->socket = socket;
    a->file = -1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (pthread_create(&thread, NULL, serve, a)) {
        free(a);
        return -1;
    }
    return pthread_detach(thread);
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fprintf(stderr, "usage: limit PORT DIRECTORY [fsync]\n");
        return 2;
    }
    int on = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(atoi(arguments[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    directory = arguments[2];
    directory_descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    with_fsync = count > 3;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (directory_descriptor < 0 || bind(listening, (void *)&address, sizeof address) || listen(listening, 1024)) {
        perror("limit");
        return 1;
    }
    for (;;) {
        int socket = accept(listening, NULL, NULL);
        if (socket >= 0 && start(socket))
            close(socket);
    }
}
