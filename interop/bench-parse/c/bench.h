/* What the C benches share: the file, the clock, and what was found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct found {
    unsigned long branch, sent_by, cseq, call_id, from_tag, to_tag, max_forwards, route, contact;
};

static unsigned long text(const char *value) { return value ? strlen(value) : 0; }

static inline unsigned long number(const char *value) { return value ? strtoul(value, NULL, 10) : 0; }

static char *load(int count, char **arguments, size_t *length) {
    if (count != 4) {
        fprintf(stderr, "usage: %s parse|read|print FILE ROUNDS\n", arguments[0]);
        exit(2);
    }
    FILE *file = fopen(arguments[2], "rb");
    char *octets = calloc(1, 1 << 20);
    if (!file || !octets) {
        perror(arguments[2]);
        exit(2);
    }
    *length = fread(octets, 1, (1 << 20) - 1, file);
    fclose(file);
    return octets;
}

static struct timespec now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time;
}

static int refused(void) {
    puts("refused");
    return 0;
}

static int report(struct timespec start, long rounds, const struct found *found) {
    struct timespec end = now();
    double nanoseconds = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
    printf("%.0f ", nanoseconds / (double)(rounds > 0 ? rounds : 1));
    const char *names[] = {"branch", "sent-by", "CSeq", "Call-ID", "From tag", "To tag", "Max-Forwards", "Route", "Contact"};
    const unsigned long values[] = {found->branch,   found->sent_by,      found->cseq,  found->call_id, found->from_tag,
                                    found->to_tag, found->max_forwards, found->route, found->contact};
    const char *comma = "";
    for (int at = 0; at < 9; at++)
        if (values[at] == 0) {
            printf("%s%s", comma, names[at]);
            comma = ", ";
        }
    puts("");
    return 0;
}
