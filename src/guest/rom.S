/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The built-in guest: a 64 KiB BIOS image that reads the CPU as a guest sees it, leaves what it found in RAM and ends
 * QEMU.
 *
 *   qemu-system-x86_64 -object memory-backend-file,id=ram,mem-path=RAM,size=16M,share=on \
 *     -machine q35,memory-backend=ram -m 16 -nodefaults -display none -bios ROM -device isa-debug-exit,iobase=0xf4
 *
 * It needs RAM below 640 KiB and this device; no firmware, interrupts, timers or disks.  So it runs on every machine type
 * that has an ISA bus: q35, pc, microvm, isapc.
 *
 * RAM is a file of whoever started QEMU, who reads it when it is whole.  A port (isa-debugcon) would be an exit from
 * the guest and a write by QEMU for every byte.
 *
 * The way: an x86 CPU wakes up in real mode (16 bits) at 0xfffffff0, 16 bytes below 4 GiB, where the last bytes of this
 * image are.  From there it goes to protected mode (32 bits), builds page tables and goes to long mode (64 bits): some
 * CPUID bits show only there.  A CPU model without long mode stays in protected mode; the row of kind ROW_MODE says so.
 * What then reads the CPU is in rom_walk.S, which is assembled twice, once for each of the two modes.
 *
 * The work is done with paging on.  Some KVMs run code without paging in an interpreter that lacks instructions; IRET
 * and XGETBV are known, and there is none of them here.
 *
 * What it leaves at BUFFER, all numbers little-endian:
 *
 *   4 bytes   magic, "QMLG"
 *   4         version, 1
 *   4         count of rows
 *   4         length of all, this header and the checksum too
 *   25 a row  kind (1), leaf or number of the MSR (4), sub-leaf (4), EAX, EBX, ECX, EDX (4 each)
 *   4         CRC-32 (IEEE 802.3, as in gzip) of all before
 *
 * Rows come in order: the mode, CPUID by leaf and sub-leaf, XCR0, MSRs by number.  src/guest/records.c reads them.
 *
 * Every address is written as a difference of two labels (AT below), so that the assembler leaves nothing to a linker:
 * the section that it makes is the image, and a C program linked with it finds it at guest_rom.
 */

	/* The port. */
#define DEBUG_EXIT 0xf4		/* a byte V ends QEMU with status 2 * V + 1 */
#define EXIT_DONE 0x10		/* 33 */
#define EXIT_BROKEN 0x11	/* 35: an exception where none is expected */

	/* Kinds of rows: records.h has the same. */
#define ROW_MODE 1		/* EAX: 64, or 32 without long mode; EBX: 1 if there were too many rows */
#define ROW_CPUID 2
#define ROW_XCR0 3		/* EAX, EDX: low and high half, as XGETBV would give them */
#define ROW_MSR 4		/* likewise, as RDMSR gives them */
#define ROW_MSR_FAULT 5		/* EAX: the exception that RDMSR raised, 13 for #GP */

#define HEADER_SIZE 16
#define ROWS_MAX 4096
#define LEAVES_MAX 0x100	/* looked at in one range of leaves */
#define SUBLEAVES_MAX 64	/* looked at in one leaf */

	/* RAM.  One page each for the page tables, the stack and the variables; from BUFFER on what is left (see rom.h). */
#define PML4 0x1000		/* 512 GiB an entry */
#define PDPT 0x2000		/* 1 GiB an entry */
#define PD_LOW 0x3000		/* 2 MiB an entry, from 0 on */
#define PD_HIGH 0x4000		/* from 3 GiB on */
#define STACK 0x7000		/* grows down from here */
#define BUFFER 0x10000

	/* Variables.  ROW and what follows it has the form of a row in BUFFER, but for its kind. */
#define ROW 0x8000
#define LEAF (ROW + 0)
#define SUBLEAF (ROW + 4)
#define REGISTERS (ROW + 8)	/* EAX, EBX, ECX, EDX */
#define BEFORE 0x8020		/* the registers of the sub-leaf before */
#define LAST 0x8030		/* the last leaf of the range */
#define WANTED 0x8034		/* a bitmap of sub-leaves, or the last one */
#define RULE 0x8038		/* the entry in `rules` for this leaf */
#define CURSOR 0x803c		/* in the list that is gone through */
#define COUNT 0x8040		/* of rows */
#define END 0x8044		/* of what is in BUFFER */
#define CUT 0x8048		/* not 0: a row had no room */
#define FAULT 0x804c		/* the exception that `try` caught, or NO_FAULT */
#define TRY_RESUME 0x8050	/* where `try` goes on, 0 outside of it */
#define TRY_STACK 0x8054
#define XCR0_LOW 0x8058		/* what was written to it, 0 if there is none */
#define XCR0_HIGH 0x805c
#define NO_FAULT 0xff

	/* Selectors of `gdt`. */
#define CODE32 8
#define DATA 16
#define CODE64 24

	/* How the sub-leaves of a leaf are found: see `rules`. */
#define RULE_LAST 0		/* the register of sub-leaf 0 has the number of the last one */
#define RULE_UNTIL 1		/* up to and with the one whose register has none of the mask's bits, from `first` on */
#define RULE_BITS 2		/* the register of sub-leaf 0 has a bit for each, from 1 on */
#define RULE_SPARSE 3		/* all that are not zero */
#define RULE_UNKNOWN 4		/* as long as they are not zero nor the same again */

#define ROM_BASE 0xffff0000
#define AT(label) (label - rom + ROM_BASE)

	.section .rodata.guest_rom, "a", @progbits
	.balign	16
	.globl	guest_rom
	.type	guest_rom, @object
	.size	guest_rom, 0x10000
guest_rom:
rom:

/*
 * Does what may raise an exception.  Afterwards FAULT is its vector, and the instruction has done nothing; or NO_FAULT.
 * Changes EBP.  The handlers below do not return to where the exception was: they go to TRY_RESUME with the stack as it
 * was here, and that is all there is to skipping an instruction, whatever its length.
 */
	.macro	try instruction:vararg
	movl	%esp, TRY_STACK
	movl	$AT(9f), TRY_RESUME
	movl	$NO_FAULT, FAULT
	\instruction
9:
	movl	$0, TRY_RESUME
	.endm

	.code32
start32:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$STACK, %esp
	movl	$0, TRY_RESUME

	/* Is there long mode: leaf 0x80000001, EDX bit 29 (lm)?  Below 0x80000001 nothing is above leaf 0x80000000. */
	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000001, %eax
	jb	no_long_mode
	movl	$0x80000001, %eax
	cpuid
	btl	$29, %edx
	jnc	no_long_mode

	/*
	 * Page tables that map addresses to themselves: the first 2 MiB, where our RAM is, and the last 2 MiB below 4 GiB,
	 * where we are.  Nothing else is ever touched.
	 */
	xorl	%eax, %eax
	movl	$PML4, %edi
	movl	$(4 * 4096 / 4), %ecx
	rep stosl
	movl	$(PDPT + 3), PML4		/* 3: present, writable */
	movl	$(PD_LOW + 3), PDPT
	movl	$(PD_HIGH + 3), PDPT + 3 * 8
	movl	$0x00000083, PD_LOW		/* 0x83: and a page of 2 MiB, not a table */
	movl	$0xffe00083, PD_HIGH + 511 * 8

	movl	$PML4, %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orl	$0x20, %eax			/* PAE: entries of 8 bytes */
	movl	%eax, %cr4
	movl	$0xc0000080, %ecx		/* EFER */
	rdmsr
	orl	$0x100, %eax			/* LME: long mode, once paging is on */
	wrmsr
	movl	%cr0, %eax
	andl	$0x9fffffff, %eax		/* caches on: CD and NW are set after a reset */
	orl	$0x80000000, %eax		/* PG */
	movl	%eax, %cr0
	ljmpl	$CODE64, $AT(start64)

no_long_mode:
	movl	$AT(idt32_pointer), %eax
	lidt	(%eax)
	call	walk_32
	jmp	end32

handle_ud_32:
	movl	$6, FAULT
	jmp	handle_32
handle_gp_32:
	movl	$13, FAULT
handle_32:
	movl	TRY_RESUME, %ebp
	testl	%ebp, %ebp
	jz	broken_32
	movl	TRY_STACK, %esp
	jmp	*%ebp
broken_32:
	movb	$EXIT_BROKEN, %al
	outb	%al, $DEBUG_EXIT
end32:
	cli
	hlt
	jmp	end32

#define NAME(name) name##_32
#define WIDE_A %eax
#define MODE_BITS 32
#include "rom_walk.S"
#undef NAME
#undef WIDE_A
#undef MODE_BITS

	.code64
start64:
	lidt	idt64_pointer(%rip)
	call	walk_64
	jmp	end64

handle_ud_64:
	movl	$6, FAULT
	jmp	handle_64
handle_gp_64:
	movl	$13, FAULT
handle_64:
	movl	TRY_RESUME, %ebp		/* the upper half of RBP becomes 0 */
	testl	%ebp, %ebp
	jz	broken_64
	movl	TRY_STACK, %esp
	jmp	*%rbp
broken_64:
	movb	$EXIT_BROKEN, %al
	outb	%al, $DEBUG_EXIT
end64:
	cli
	hlt
	jmp	end64

#define NAME(name) name##_64
#define WIDE_A %rax
#define MODE_BITS 64
#include "rom_walk.S"

/* Data, for both modes. */

/*
 * How the sub-leaves of a leaf are found.  16 bytes an entry: leaf; rule; register, as an offset in REGISTERS; a first
 * sub-leaf; a filler; a mask; a filler.  A leaf that is not here has the rule of the last entry.
 * Sources: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
 */
#define IN_EAX 0
#define IN_EBX 4
#define IN_ECX 8
#define IN_EDX 12

	.macro	rule leaf, rule, register, first, mask
	.long	\leaf
	.byte	\rule, \register, \first, 0
	.long	\mask, 0
	.endm

	.balign	16, 0
rules:
	rule	0x4, RULE_UNTIL, IN_EAX, 0, 0x1f	/* caches: type 0 ends them */
	rule	0x7, RULE_LAST, IN_EAX, 0, 0		/* features */
	rule	0xb, RULE_UNTIL, IN_ECX, 0, 0xff00	/* topology: level type 0 ends it */
	rule	0xd, RULE_SPARSE, 0, 0, 0		/* XSAVE: one for each state component, 2 to 63 */
	rule	0xf, RULE_BITS, IN_EDX, 0, 0		/* resource monitoring */
	rule	0x10, RULE_BITS, IN_EBX, 0, 0		/* resource allocation */
	rule	0x12, RULE_UNTIL, IN_EAX, 2, 0xf	/* SGX: memory sections from 2 on, type 0 ends them */
	rule	0x14, RULE_LAST, IN_EAX, 0, 0		/* processor trace */
	rule	0x17, RULE_LAST, IN_EAX, 0, 0		/* vendor of a system on a chip */
	rule	0x18, RULE_LAST, IN_EAX, 0, 0		/* address translation */
	rule	0x1b, RULE_UNTIL, IN_EAX, 0, 0xfff	/* PCONFIG: type 0 ends it */
	rule	0x1d, RULE_LAST, IN_EAX, 0, 0		/* tiles */
	rule	0x1e, RULE_LAST, IN_EAX, 0, 0		/* tile multiplication */
	rule	0x1f, RULE_UNTIL, IN_ECX, 0, 0xff00	/* topology with dies */
	rule	0x20, RULE_LAST, IN_EAX, 0, 0		/* history reset */
	rule	0x23, RULE_BITS, IN_EAX, 0, 0		/* performance monitoring */
	rule	0x24, RULE_LAST, IN_EAX, 0, 0		/* AVX10 */
	rule	0x8000001d, RULE_UNTIL, IN_EAX, 0, 0x1f	/* AMD's caches */
	rule	0x80000020, RULE_BITS, IN_EBX, 0, 0	/* AMD's resource control */
	rule	0x80000026, RULE_UNTIL, IN_ECX, 0, 0xff00 /* AMD's topology */
last_rule:
	rule	0, RULE_UNKNOWN, 0, 0, 0

/* Where ranges of leaves may begin.  In each, EAX of the first leaf is the number of the last. */
ranges:
	.long	0x00000000		/* basic */
	.long	0x40000000		/* hypervisor: KVM, Hyper-V or TCG */
	.long	0x40000100		/* hypervisor: KVM when Hyper-V is at 0x40000000 */
	.long	0x40000200		/* and when Xen is between them */
	.long	0x80000000		/* extended */
	.long	0xc0000000		/* VIA, Zhaoxin */
ranges_end:

/*
 * For CRC-32: for every byte what 8 steps of division make of it, with the polynomial 0x04c11db7 and all bits reversed.
 * (A loop over bits takes 0.1 s where a KVM interprets this code.)
 */
	.balign	4, 0
crc_table:
	.set	byte, 0
	.rept	256
	.set	crc, byte
	.rept	8
	.set	crc, ((crc >> 1) ^ (0xedb88320 * (crc & 1)))
	.endr
	.long	crc
	.set	byte, byte + 1
	.endr

/* MSRs in three lists, each with a 0 at its end. */
msrs:
	.long	0x8b			/* UCODE_REV, AMD: PATCH_LEVEL */
	.long	0xce			/* PLATFORM_INFO */
	.long	0xcf			/* CORE_CAPABILITIES */
	.long	0x10a			/* ARCH_CAPABILITIES */
	.long	0x345			/* PERF_CAPABILITIES */
	.long	0
msrs_vmx:
	.long	0x480, 0x481, 0x482, 0x483, 0x484, 0x485, 0x486, 0x487, 0x488
	.long	0x489, 0x48a, 0x48b, 0x48c, 0x48d, 0x48e, 0x48f, 0x490, 0x491
	.long	0
msrs_amd:
	.long	0xc0011029		/* DE_CFG */
	.long	0

/* Segments without limits.  Bit 40 (accessed) is set, so that the CPU need not write into a ROM. */
	.balign	16, 0
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* CODE32 */
	.quad	0x00cf93000000ffff	/* DATA */
	.quad	0x00af9b000000ffff	/* CODE64 */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	AT(gdt)

/* Interrupt gates for the 32 exceptions.  Bits 16 to 31 of every handler's address are those of ROM_BASE. */
	.macro	gate32 handler
	.word	\handler - rom, CODE32, 0x8e00, ROM_BASE >> 16
	.endm
	.macro	gate64 handler
	.word	\handler - rom, CODE64, 0x8e00, ROM_BASE >> 16
	.long	0, 0
	.endm

	.balign	16, 0
idt32:
	.rept	6
	gate32	broken_32
	.endr
	gate32	handle_ud_32		/* 6: invalid opcode */
	.rept	6
	gate32	broken_32
	.endr
	gate32	handle_gp_32		/* 13: general protection */
	.rept	18
	gate32	broken_32
	.endr
idt32_end:
idt32_pointer:
	.word	idt32_end - idt32 - 1
	.long	AT(idt32)

	.balign	16, 0
idt64:
	.rept	6
	gate64	broken_64
	.endr
	gate64	handle_ud_64
	.rept	6
	gate64	broken_64
	.endr
	gate64	handle_gp_64
	.rept	18
	gate64	broken_64
	.endr
idt64_end:
idt64_pointer:
	.word	idt64_end - idt64 - 1
	.quad	AT(idt64)

/* Real mode, at f000:ffc0: just long enough to leave it. */
	.org	0xffc0
	.code16
start16:
	cli
	cld
	movw	$(gdt_pointer - rom), %bx
	lgdtl	%cs:(%bx)
	movl	%cr0, %eax
	orb	$1, %al				/* PE */
	movl	%eax, %cr0
	ljmpl	$CODE32, $AT(start32)

	.org	0xfff0
	jmp	start16				/* the reset vector */
	.org	0x10000

	.section .note.GNU-stack, "", @progbits
