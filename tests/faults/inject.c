/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A library for LD_PRELOAD that makes calls of the program fail: tests/e2e/lib/injection.py, which
 * says what for, maps the same file.
 *
 * QML_INJECT names that file, QML_INJECT_PROGRAM the program: what else is preloaded into (QEMU) is
 * left alone. Each call below is known by its stack; the file gets one entry for each stack, and
 * says which of them is to fail, how, and when. All of a process's children write into the same
 * memory. Not counted: calls before main, or on a thread that has no frame of the program (a
 * resolver's), and what goes to standard error, where it would be told.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "inject.h"

static struct inject_file *shared;
static uintptr_t program_start, program_end; /* the program's code */
static __thread bool inside __attribute__((tls_model("initial-exec")));

/* The next definition of a function: the C library's, or a sanitizer's. */
void *inject_next(void **kept, const char *name)
{
    if (!*kept)
        *kept = dlsym(RTLD_NEXT, name);
    return *kept;
}

struct search {
    uintptr_t address, base;
};

static int find_object(struct dl_phdr_info *object, size_t size, void *context)
{
    struct search *search = context;
    (void)size;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        uintptr_t first = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
        if (object->dlpi_phdr[i].p_type == PT_LOAD && search->address >= first &&
            search->address < first + object->dlpi_phdr[i].p_memsz) {
            search->base = object->dlpi_addr;
            return 1;
        }
    }
    return 0;
}

static int find_program(struct dl_phdr_info *object, size_t size, void *context)
{
    (void)size, (void)context;
    for (size_t i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_LOAD && (object->dlpi_phdr[i].p_flags & PF_X)) {
            program_start = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
            program_end = program_start + object->dlpi_phdr[i].p_memsz;
        }
    return 1; /* the first object is the program */
}

/* Where in its object an address is: the same in each run. */
static uint64_t place(void *address)
{
    static struct {
        uintptr_t page, base;
    } known[1 << 12]; /* a page belongs to one object; races write the same */
    uintptr_t page = (uintptr_t)address >> 12;
    size_t slot = page % (sizeof(known) / sizeof(known[0]));
    if (known[slot].page == page)
        return (uintptr_t)address - known[slot].base;
    struct search search = {.address = (uintptr_t)address};
    dl_iterate_phdr(find_object, &search);
    known[slot].base = search.base;
    known[slot].page = page;
    return (uintptr_t)address - search.base;
}

/* The entry of this stack; a new one if it has none; NULL when there is no room, or the stack is
 * not the program's. */
static __attribute__((noinline)) struct inject_entry *find_entry(enum inject_class class,
                                                                 const char *function)
{
    void *stack[INJECT_FRAMES + 4];
    int depth = backtrace(stack, INJECT_FRAMES + 4);
    uint64_t frames[INJECT_FRAMES] = {0}, hash = 14695981039346656037u ^ class;
    bool ours = false;
    for (int i = 4; i < depth; i++) { /* behind this function, its callers here and the stand-in */
        uintptr_t address = (uintptr_t)stack[i];
        bool is_ours = address >= program_start && address < program_end;
        frames[i - 4] = place(stack[i]) | (is_ours ? INJECT_OURS : 0);
        ours |= is_ours;
    }
    for (int i = 0; i < INJECT_FRAMES; i++)
        hash = (hash ^ frames[i]) * 1099511628211u;
    hash += !hash;
    for (size_t i = 0; ours && i < INJECT_ENTRIES; i++) {
        struct inject_entry *entry = &shared->entries[(hash + i) % INJECT_ENTRIES];
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&entry->hash, &none, hash)) {
            entry->class = class;
            memcpy(entry->frames, frames, sizeof(frames));
            strncpy(entry->function, function, sizeof(entry->function) - 1);
        } else if (none != hash) {
            continue;
        }
        return entry;
    }
    return NULL;
}

/* Is this call worth a look at its stack, which is slow? */
static bool is_of_interest(enum inject_class class, uint64_t number)
{
    return !shared->to ||
           (class == shared->target_class && number >= shared->from && number < shared->to);
}

/* Is it the one that is to fail? */
static __attribute__((noinline)) bool is_target(enum inject_class class, const char *function,
                                                uint64_t number)
{
    struct inject_entry *entry = find_entry(class, function);
    if (!entry)
        return false;
    uint32_t before = atomic_fetch_add(&entry->calls, 1);
    if (before == 0)
        entry->first = number;
    return entry->hash == shared->target && before == shared->skip;
}

bool inject_fails(enum inject_class class, const char *function)
{
    if (!shared || inside || !atomic_load(&shared->armed))
        return false;
    inside = true;
    int saved = errno;
    uint64_t number = atomic_fetch_add(&shared->calls[class], 1);
    bool fails = shared->lasting && class == shared->target_class && atomic_load(&shared->fired);
    if (!fails && is_of_interest(class, number))
        fails = is_target(class, function, number);
    if (fails)
        atomic_fetch_add(&shared->fired, 1);
    errno = fails && shared->mode > 0 ? shared->mode : saved;
    inside = false;
    return fails;
}

bool inject_shortens(void)
{
    return shared->mode == INJECT_SHORT;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("QML_INJECT"), *program = getenv("QML_INJECT_PROGRAM");
    char exe[PATH_MAX] = "";
    void *first[1];
    if (!path || !program || readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0 ||
        strcmp(exe, program) != 0)
        return;
    backtrace(first, 1); /* loads what it needs */
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    struct inject_file *file =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        syscall(SYS_close, fd);
    if (file == MAP_FAILED)
        return;
    dl_iterate_phdr(find_program, NULL);
    shared = file;
}
