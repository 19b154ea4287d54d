/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench-baseline PROFILE: how long the baseline of many hosts takes, and how much memory.
 *
 * The hosts are made from one real, unsigned profile: a third of its features are missing on some
 * of them, at random but always the same. Reading is not counted, neither files nor JSON nor
 * signatures. Each size has a process of its own, so that the peaks of memory do not mix.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cpu/render.h"
#include "host/profile.h"

#define RUNS 9
#define DROP_ONE_IN 10 /* hosts */

static const size_t sizes[] = {2, 10, 100, 500, 1000};

static void stop(const char *what, const struct error *err)
{
    fprintf(stderr, "bench-baseline: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

/* A host of its own: another name, and some features fewer. */
static void make_host(json_t *cpu, size_t number, unsigned *seed, struct cpu_offer *offer)
{
    struct error err = ERROR_INIT;
    autojson json_t *copy = json_deep_copy(cpu);
    json_t *features = json_object_get(copy, "available");
    char name[32];
    snprintf(name, sizeof(name), "host%zu", number);
    json_object_set_new(copy, "host", json_string(name));
    for (size_t i = json_array_size(features); i > 0; i--)
        if (i % 3 == 0 && rand_r(seed) % DROP_ONE_IN == 0)
            json_array_remove(features, i - 1);
    if (!cpu_offer_from_json(copy, offer, &err))
        stop("the profile's cpu", &err);
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int compare_times(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* One join: the baseline, the report of what is lost, and each host's -cpu. */
static void join(const struct cpu_offer *const offers[], const struct cpu_request *const requests[],
                 size_t count, size_t *features, size_t *losses)
{
    struct error err = ERROR_INIT;
    autobaseline struct baseline baseline = {0};
    autobaselinereport struct baseline_report report = {0};
    if (!baseline_compute(offers, requests, count, NULL, &baseline, &report, &err))
        stop("no baseline", &err);
    for (size_t i = 0; i < count; i++) {
        autofree char *cpu = render_cpu(&baseline, offers[i], CPU_FORM_NAMED, &err);
        if (!cpu)
            stop("no -cpu", &err);
    }
    *features = featureset_count(&baseline.features);
    *losses = report.loss_count;
}

static void measure(json_t *cpu, size_t count)
{
    unsigned seed = 1;
    struct cpu_request request = {0};
    size_t features = 0, losses = 0;
    struct cpu_offer *made = calloc(count, sizeof(*made));
    const struct cpu_offer **offers = calloc(count, sizeof(*offers));
    const struct cpu_request **requests = calloc(count, sizeof(*requests));
    if (!made || !offers || !requests)
        stop("out of memory", NULL);
    long before = peak_kib();
    size_t used = mallinfo2().uordblks;
    for (size_t i = 0; i < count; i++) {
        make_host(cpu, i, &seed, &made[i]);
        offers[i] = &made[i];
        requests[i] = &request;
    }
    size_t held = mallinfo2().uordblks - used;
    double times[RUNS];
    for (int run = 0; run < RUNS; run++) {
        double began = milliseconds();
        join(offers, requests, count, &features, &losses);
        times[run] = milliseconds() - began;
    }
    qsort(times, RUNS, sizeof(times[0]), compare_times);
    printf("%8zu %10.2f %10.2f %12.1f %12.1f %9zu %7zu\n", count, times[RUNS / 2], times[RUNS - 1],
           (double)held / 1048576, (double)(peak_kib() - before) / 1024, features, losses);
    for (size_t i = 0; i < count; i++)
        cpu_offer_free(&made[i]);
    free(made);
    free(offers);
    free(requests);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    autofree char *text = NULL;
    size_t length;
    if (argc != 2)
        stop("one argument is needed: the file of an unsigned profile", NULL);
    if (!file_read(argv[1], PROFILE_SIZE_MAX, false, &text, &length, &err))
        stop("cannot read", &err);
    autojson json_t *profile = json_parse_strict(text, length, PROFILE_SIZE_MAX, &err);
    if (!profile)
        stop(argv[1], &err);
    printf("profiles  median ms    most ms     held MiB  peak RSS MiB features  losses\n");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fflush(stdout);
        pid_t child = fork();
        if (child < 0)
            stop("cannot fork", NULL);
        if (child == 0) {
            measure(json_object_get(profile, "cpu"), sizes[i]);
            fflush(stdout);
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status != 0)
            return 1;
    }
    return 0;
}
