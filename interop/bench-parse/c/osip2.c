/* GNU oSIP on the same messages; see ../src/main.rs for what each piece of work is and what is printed.
 * bench-osip2 parse|read|print FILE ROUNDS */
#include <osipparser2/osip_parser.h>
#include "bench.h"

static char *octets;
static size_t length;

static osip_message_t *parse(void) {
    osip_message_t *message = NULL;
    if (osip_message_init(&message) != 0) return NULL;
    if (osip_message_parse(message, octets, length) != 0) {
        osip_message_free(message);
        return NULL;
    }
    return message;
}

static void read_parts(osip_message_t *message, struct found *found) {
    osip_via_t *via = NULL;
    osip_contact_t *contact = NULL;
    osip_route_t *route = NULL;
    osip_generic_param_t *param = NULL;
    osip_header_t *hops = NULL;
    if (osip_message_get_via(message, 0, &via) >= 0 && via) {
        found->sent_by = text(osip_via_get_host(via));
        if (osip_via_param_get_byname(via, "branch", &param) == 0 && param) found->branch = text(param->gvalue);
    }
    if (message->cseq) found->cseq = number(message->cseq->number);
    if (message->call_id) found->call_id = text(message->call_id->number);
    param = NULL;
    if (message->from && osip_from_get_tag(message->from, &param) == 0 && param) found->from_tag = text(param->gvalue);
    param = NULL;
    if (message->to && osip_to_get_tag(message->to, &param) == 0 && param) found->to_tag = text(param->gvalue);
    if (osip_message_header_get_byname(message, "max-forwards", 0, &hops) >= 0 && hops)
        found->max_forwards = number(hops->hvalue);
    if (osip_message_get_route(message, 0, &route) >= 0 && route && route->url) found->route = text(route->url->host);
    if (osip_message_get_contact(message, 0, &contact) >= 0 && contact && contact->url)
        found->contact = text(contact->url->host);
}

static int once(const char *work, osip_message_t *kept, struct found *found) {
    if (strcmp(work, "print") == 0) {
        char *out = NULL;
        size_t size = 0;
        osip_message_force_update(kept); /* else it hands out what it printed before */
        if (osip_message_to_str(kept, &out, &size) != 0) return 0;
        osip_free(out);
        return 1;
    }
    osip_message_t *message = parse();
    if (!message) return 0;
    if (strcmp(work, "read") == 0) read_parts(message, found);
    osip_message_free(message);
    return 1;
}

int main(int count, char **arguments) {
    octets = load(count, arguments, &length);
    parser_init();
    osip_message_t *kept = parse();
    if (!kept) return refused();
    struct found found = {0};
    read_parts(kept, &found);
    long rounds = atol(arguments[3]);
    struct timespec start = now();
    for (long round = 0; round < rounds; round++) once(arguments[1], kept, &found);
    return report(start, rounds, &found);
}
