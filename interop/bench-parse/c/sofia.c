/* Sofia-SIP on the same messages; see ../src/main.rs for what each piece of work is and what is printed.
 * bench-sofia parse|read|print FILE ROUNDS */
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/msg_addr.h>
#include "bench.h"

static char *octets;
static size_t length;

static msg_t *parse(void) {
    msg_t *message = msg_make(sip_default_mclass(), 0, octets, (ssize_t)length);
    sip_t *sip = message ? sip_object(message) : NULL;
    if (!sip || sip->sip_error || (!sip->sip_request && !sip->sip_status)) {
        if (message) msg_destroy(message);
        return NULL;
    }
    return message;
}

static void read_parts(msg_t *message, struct found *found) {
    sip_t *sip = sip_object(message);
    if (sip->sip_via) {
        found->branch = text(sip->sip_via->v_branch);
        found->sent_by = text(sip->sip_via->v_host);
    }
    if (sip->sip_cseq) found->cseq = sip->sip_cseq->cs_seq;
    if (sip->sip_call_id) found->call_id = text(sip->sip_call_id->i_id);
    if (sip->sip_from) found->from_tag = text(sip->sip_from->a_tag);
    if (sip->sip_to) found->to_tag = text(sip->sip_to->a_tag);
    if (sip->sip_max_forwards) found->max_forwards = sip->sip_max_forwards->mf_count;
    if (sip->sip_route) found->route = text(sip->sip_route->r_url->url_host);
    if (sip->sip_contact) found->contact = text(sip->sip_contact->m_url->url_host);
}

static int once(const char *work, msg_t *kept, struct found *found) {
    if (strcmp(work, "print") == 0) {
        static char out[65536];
        return msg_object_e(out, sizeof out, sip_object(kept) ? (msg_pub_t *)sip_object(kept) : NULL, 0) > 0;
    }
    msg_t *message = parse();
    if (!message) return 0;
    if (strcmp(work, "read") == 0) read_parts(message, found);
    msg_destroy(message);
    return 1;
}

int main(int count, char **arguments) {
    octets = load(count, arguments, &length);
    msg_t *kept = parse();
    if (!kept) return refused();
    struct found found = {0};
    read_parts(kept, &found);
    long rounds = atol(arguments[3]);
    struct timespec start = now();
    for (long round = 0; round < rounds; round++) once(arguments[1], kept, &found);
    return report(start, rounds, &found);
}
