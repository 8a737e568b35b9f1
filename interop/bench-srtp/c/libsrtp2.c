/* The same as src/main.rs with libsrtp2 (Debian: libsrtp2-dev). cc -O2 -o libsrtp2 c/libsrtp2.c -lsrtp2 */
#include <arpa/inet.h>
#include <srtp2/srtp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 500, BATCHES = 60, ROUNDS = 9, LENGTH = 172, ROOM = LENGTH + SRTP_MAX_TRAILER_LEN + 4 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void packet(uint8_t *p, uint32_t number) {
    uint16_t sequence = htons((uint16_t)number);
    uint32_t timestamp = htonl(number * 160), ssrc = htonl(7);
    memset(p, 0xd5, LENGTH);
    p[0] = 0x80, p[1] = 0;
    memcpy(p + 2, &sequence, 2), memcpy(p + 4, &timestamp, 4), memcpy(p + 8, &ssrc, 4);
}

static srtp_t session(int gcm, srtp_ssrc_type_t side) {
    static uint8_t key[64];
    srtp_policy_t policy;
    srtp_t s;
    for (int i = 0; i < 64; i++) key[i] = (uint8_t)i;
    memset(&policy, 0, sizeof policy);
    if (gcm) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
    } else {
        srtp_crypto_policy_set_rtp_default(&policy.rtp);
        srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
    }
    policy.ssrc.type = side;
    policy.key = key;
    policy.window_size = 128;
    if (srtp_create(&s, &policy)) exit(2);
    return s;
}

int main(void) {
    static uint8_t all[BATCH][ROOM], expected[LENGTH];
    static int length[BATCH];
    srtp_init();
    for (int gcm = 0; gcm < 2; gcm++) {
        double best[2] = { 1e18, 1e18 };
        for (int round = 0; round < ROUNDS; round++) {
            srtp_t sender = session(gcm, ssrc_any_outbound), receiver = session(gcm, ssrc_any_inbound);
            double took[2] = { 0, 0 }, start;
            for (uint32_t first = 0; first < BATCH * BATCHES; first += BATCH) {
                for (uint32_t i = 0; i < BATCH; i++) packet(all[i], first + i), length[i] = LENGTH;
                start = now();
                for (uint32_t i = 0; i < BATCH; i++)
                    if (srtp_protect(sender, all[i], &length[i])) return 3;
                took[0] += now() - start;
                start = now();
                for (uint32_t i = 0; i < BATCH; i++)
                    if (srtp_unprotect(receiver, all[i], &length[i])) return 4;
                took[1] += now() - start;
                for (uint32_t i = 0; i < BATCH; i++) {
                    packet(expected, first + i);
                    if (length[i] != LENGTH || memcmp(expected, all[i], LENGTH)) return 5;
                }
            }
            for (int way = 0; way < 2; way++)
                if (took[way] / (BATCH * BATCHES) < best[way]) best[way] = took[way] / (BATCH * BATCHES);
            srtp_dealloc(sender), srtp_dealloc(receiver);
        }
        printf("%-12s %-24s %8.0f %8.0f\n", "libsrtp2", gcm ? "AEAD_AES_128_GCM" : "AES_CM_128_HMAC_SHA1_80", best[0], best[1]);
    }
    return 0;
}
