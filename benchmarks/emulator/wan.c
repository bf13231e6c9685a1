/* A long fat pipe between two network namespaces of this machine.
 *
 *   wan NAMESPACE_A NAMESPACE_B RATE_BITS DELAY_US QUEUE_BYTES LOSS SEED
 *
 * Opens a TUN device (`wan0`) in each namespace and moves packets between them. Each
 * direction is a link of its own: a drop-tail queue of QUEUE_BYTES before a line of
 * RATE_BITS per second, then a delay line of DELAY_US (half of the round trip). A
 * packet may be up to 64 kB (segmentation offload stays on, or two cores cannot carry
 * gigabits); loss is drawn per segment as it would be on the wire, and a packet that
 * loses a segment in its middle goes on in two pieces.
 *
 * Prints "ready" when both devices are there, ends on SIGTERM, and prints then what
 * it carried and dropped: one line per direction, `key=value`. Addresses are set by
 * whoever starts it. Needs CAP_NET_ADMIN and CAP_SYS_ADMIN.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER = sizeof(struct virtio_net_hdr),
    LARGEST = HEADER + 65536,
    FRAMING = 38,          /* Ethernet header, checksum, preamble and gap, bytes per segment */
    SEGMENT = 1500,        /* assumed for packets that say nothing of segments */
    BATCH = 64,            /* packets in one go before the other direction has its turn */
    SLACK_NS = 200 * 1000, /* a packet may leave this much late, so that packets go in batches */
    PENDING = 1 << 18,     /* packets under way in one direction at most */
};

struct slot {
    uint64_t due_ns;
    uint64_t offset;
    uint32_t size;
};

struct link {
    int from, to;
    double ns_per_byte;
    uint64_t delay_ns, queue_ns;
    double loss;
    uint64_t random;
    uint64_t until_loss; /* segments that still pass */
    uint64_t free_at_ns; /* when the line is idle again */
    uint8_t *ring;
    uint64_t ring_bytes, head, tail; /* bytes ever written and read */
    struct slot *slots;
    uint64_t first, last; /* slots ever taken and given */
    uint64_t packets, bytes, segments, lost, overflowed, no_memory, write_errors;
    uint64_t worst_late_ns;
};

static volatile sig_atomic_t ended;

static void end(int signal_number) {
    (void)signal_number;
    ended = 1;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* SplitMix64: small, seeded, good enough to choose segments. */
static double uniform(uint64_t *state) {
    uint64_t mixed = (*state += 0x9E3779B97F4A7C15u);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return (double)((mixed ^ (mixed >> 31)) >> 11) / 9007199254740992.0;
}

/* How many segments pass before the next one is lost. */
static uint64_t draw(struct link *link) {
    uint64_t passed = 0;
    if (link->loss <= 0.0)
        return UINT64_MAX;
    /* Inversion of the geometric distribution, without libm: halve by squaring. */
    double chance = uniform(&link->random), kept = 1.0 - link->loss, power = 1.0;
    while (power * kept > chance && passed < 100000000u) {
        power *= kept;
        passed++;
    }
    return passed;
}

static int enter(const char *namespace) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace_fd < 0 || setns(namespace_fd, CLONE_NEWNET) < 0)
        die(path);
    close(namespace_fd);
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0)
        die("/dev/net/tun");
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    strcpy(request.ifr_name, "wan0");
    if (ioctl(device, TUNSETIFF, &request) < 0)
        die("TUNSETIFF");
    if (ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
        die("TUNSETOFFLOAD");
    return device;
}

/* Put what follows at the ring's end where it lies in one piece; NULL where there is no room. */
static uint8_t *room(struct link *link, uint32_t size) {
    uint64_t place = link->head % link->ring_bytes;
    if (place + size > link->ring_bytes)
        link->head += link->ring_bytes - place;
    if (link->head + size - link->tail > link->ring_bytes || link->last - link->first >= PENDING)
        return NULL;
    return link->ring + link->head % link->ring_bytes;
}

static void give(struct link *link, uint32_t size, uint64_t due_ns) {
    struct slot *slot = &link->slots[link->last % PENDING];
    slot->due_ns = due_ns;
    slot->offset = link->head;
    slot->size = size;
    link->head += size;
    link->last++;
}

static void fix_ip_sum(uint8_t *ip, uint32_t header_bytes) {
    uint32_t sum = 0;
    ip[10] = ip[11] = 0;
    for (uint32_t at = 0; at < header_bytes; at += 2)
        sum += (uint32_t)ip[at] << 8 | ip[at + 1];
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    ip[10] = (uint8_t)(~sum >> 8);
    ip[11] = (uint8_t)~sum;
}

/* Queue segments [from, to) of a packet as a packet of their own.
 *
 * The checksum stays "to be finished by hardware", so only its pseudo-header part, which
 * covers the length, has to follow. */
static void give_piece(struct link *link, const uint8_t *packet, uint32_t headers, uint32_t mss,
                       uint32_t payload, uint32_t from, uint32_t to, uint64_t due_ns) {
    uint32_t start = from * mss, stop = to * mss < payload ? to * mss : payload;
    uint32_t size = HEADER + headers + (stop - start);
    uint8_t *copy = room(link, size);
    if (copy == NULL) {
        link->no_memory++;
        return;
    }
    memcpy(copy, packet, HEADER + headers);
    memcpy(copy + HEADER + headers, packet + HEADER + headers + start, stop - start);
    struct virtio_net_hdr *offload = (struct virtio_net_hdr *)copy;
    uint8_t *ip = copy + HEADER;
    uint32_t ip_bytes = (uint32_t)(ip[0] & 15) * 4;
    uint32_t before = (uint32_t)ip[2] << 8 | ip[3], after = headers + (stop - start);
    ip[2] = (uint8_t)(after >> 8);
    ip[3] = (uint8_t)after;
    fix_ip_sum(ip, ip_bytes);
    uint8_t *tcp = ip + ip_bytes;
    uint32_t sequence;
    memcpy(&sequence, tcp + 4, 4);
    sequence = htonl(ntohl(sequence) + start);
    memcpy(tcp + 4, &sequence, 4);
    if (stop < payload)
        tcp[13] &= (uint8_t) ~(TH_FIN | TH_PUSH);
    if (to - from <= 1)
        offload->gso_type = VIRTIO_NET_HDR_GSO_NONE, offload->gso_size = 0;
    uint32_t sum = ((uint32_t)tcp[16] << 8 | tcp[17]) + after + (0xFFFF - before);
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    tcp[16] = (uint8_t)(sum >> 8);
    tcp[17] = (uint8_t)sum;
    give(link, size, due_ns);
}

/* Take one packet that lies at the ring's end, and lose, cut or queue it. */
static void accept_packet(struct link *link, uint8_t *packet, uint32_t size, uint64_t now) {
    struct virtio_net_hdr *offload = (struct virtio_net_hdr *)packet;
    uint8_t *ip = packet + HEADER;
    uint32_t bytes = size - HEADER, mss = offload->gso_size, segments = 1, headers = 0;
    if (offload->gso_type != VIRTIO_NET_HDR_GSO_NONE && mss > 0) {
        uint32_t ip_bytes = (uint32_t)(ip[0] & 15) * 4;
        headers = ip_bytes + (uint32_t)(ip[ip_bytes + 12] >> 4) * 4;
        segments = (bytes - headers + mss - 1) / mss;
    }
    uint64_t wire = bytes + (uint64_t)segments * FRAMING + (uint64_t)(segments - 1) * headers;
    uint64_t start = link->free_at_ns > now ? link->free_at_ns : now;
    if (start - now > link->queue_ns) {
        link->overflowed += segments;
        return;
    }
    link->free_at_ns = start + (uint64_t)((double)wire * link->ns_per_byte);
    link->packets++;
    link->bytes += bytes;
    link->segments += segments;
    uint64_t due_ns = link->free_at_ns + link->delay_ns;
    if (link->until_loss >= segments) {
        link->until_loss -= segments;
        give(link, size, due_ns);
        return;
    }
    static uint8_t whole[LARGEST];
    memcpy(whole, packet, size);
    uint32_t from = 0;
    while (from < segments) {
        uint64_t to = from + link->until_loss;
        if (to > segments)
            to = segments;
        if (to > from && segments == 1)
            give(link, size, due_ns);
        else if (to > from)
            give_piece(link, whole, headers, mss, bytes - headers, from, (uint32_t)to, due_ns);
        link->until_loss -= to - from;
        if (to == segments)
            return;
        link->lost++;
        link->until_loss = draw(link);
        from = (uint32_t)to + 1;
    }
}

static int take(struct link *link) {
    int taken = 0;
    for (; taken < BATCH; taken++) {
        uint8_t *place = room(link, LARGEST);
        static uint8_t dropped[LARGEST];
        ssize_t size = read(link->from, place ? place : dropped, LARGEST);
        if (size <= HEADER)
            break;
        if (place == NULL)
            link->no_memory++;
        else
            accept_packet(link, place, (uint32_t)size, now_ns());
    }
    return taken;
}

static void deliver(struct link *link) {
    uint64_t now = now_ns();
    for (int sent = 0; sent < BATCH && link->first < link->last; sent++) {
        struct slot *slot = &link->slots[link->first % PENDING];
        if (slot->due_ns > now)
            return;
        if (now - slot->due_ns > link->worst_late_ns)
            link->worst_late_ns = now - slot->due_ns;
        if (write(link->to, link->ring + slot->offset % link->ring_bytes, slot->size) < 0)
            link->write_errors++;
        link->tail = slot->offset + slot->size;
        link->first++;
    }
}

/* How long until a packet of a link is due, ns; UINT64_MAX where none is under way. */
static uint64_t wait_of(const struct link *link, uint64_t now) {
    if (link->first == link->last)
        return UINT64_MAX;
    uint64_t due = link->slots[link->first % PENDING].due_ns;
    return due > now ? due - now : 0;
}

static void prepare(struct link *link, int from, int to, char **arguments, uint64_t seed) {
    double bits = strtod(arguments[3], NULL), queue_bytes = strtod(arguments[5], NULL);
    memset(link, 0, sizeof *link);
    link->from = from;
    link->to = to;
    link->ns_per_byte = 8e9 / bits;
    link->delay_ns = strtoull(arguments[4], NULL, 10) * 1000;
    link->queue_ns = (uint64_t)(queue_bytes * link->ns_per_byte);
    link->loss = strtod(arguments[6], NULL);
    link->random = seed;
    link->until_loss = draw(link);
    /* Everything that the queue and the delay line can hold, and a quarter more. */
    double held = (double)(link->delay_ns + link->queue_ns) / link->ns_per_byte * 1.25;
    link->ring_bytes = (uint64_t)held + 64 * LARGEST;
    link->ring = mmap(NULL, link->ring_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    link->slots = mmap(NULL, PENDING * sizeof *link->slots, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (link->ring == MAP_FAILED || link->slots == MAP_FAILED)
        die("mmap");
}

static void report(const char *name, const struct link *link) {
    printf("%s packets=%llu bytes=%llu segments=%llu lost=%llu overflowed=%llu no_memory=%llu "
           "write_errors=%llu worst_late_us=%llu\n",
           name, (unsigned long long)link->packets, (unsigned long long)link->bytes,
           (unsigned long long)link->segments, (unsigned long long)link->lost,
           (unsigned long long)link->overflowed, (unsigned long long)link->no_memory,
           (unsigned long long)link->write_errors, (unsigned long long)link->worst_late_ns / 1000);
}

int main(int count, char **arguments) {
    if (count != 8) {
        fprintf(stderr, "usage: wan NS_A NS_B RATE_BITS DELAY_US QUEUE_BYTES LOSS SEED\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1000);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int near = enter(arguments[1]), far = enter(arguments[2]);
    uint64_t seed = strtoull(arguments[7], NULL, 10);
    struct link there, back;
    prepare(&there, near, far, arguments, seed * 2 + 1);
    prepare(&back, far, near, arguments, seed * 2 + 2);
    puts("ready");
    fflush(stdout);
    while (!ended) {
        int taken = take(&there) + take(&back);
        deliver(&there);
        deliver(&back);
        if (taken)
            continue;
        uint64_t now = now_ns(), wait = wait_of(&there, now), other = wait_of(&back, now);
        if (other < wait)
            wait = other;
        if (wait == 0)
            continue;
        if (wait < SLACK_NS)
            wait = SLACK_NS;
        struct pollfd both[2] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
        struct timespec timeout = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
        ppoll(both, 2, wait == UINT64_MAX ? NULL : &timeout, NULL);
    }
    report("there", &there);
    report("back", &back);
    return 0;
}
