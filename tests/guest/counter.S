/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The counter guest: a 64 KiB BIOS image that counts on COM1, about five lines a second, for ever:
 *
 *   n=00000001 vendor=GenuineIntel 1=EAX,EBX,ECX,EDX 7=… d1=… d0=… 80000001=… 80000008=… xcr0=00000007 lost=00000000
 *
 * All numbers are hexadecimal.  n is kept in RAM, so a guest that was lost, doubled, set back or started again shows in
 * it; the vendor stands only in the first line after a reset.  CPUID is read anew for every line (the APIC id in leaf 1
 * is masked, a leaf above the highest reads as zeros).  Like a modern kernel it turns on XSAVE where there is one:
 * xcr0 is what it wrote there at the reset (00000000 without XSAVE) and writes again for every line, or "ud" or "gp"
 * when the CPU, which took it once, no longer does; d0's second number is the size of what is really enabled at that
 * moment.  For every line it also writes four pages of a ring of 64, and counts in lost= the pages that no longer held
 * what it wrote there sixteen lines before.
 *
 * Between lines it halts, so that many of them fit on a small machine: the PIT wakes it 20 times a second.  It needs
 * COM1, the PIC and the PIT, and no firmware, disk or display.  A KVM that cannot run code without paging natively
 * interprets it, and its interpreter knows neither IRET in protected mode nor XGETBV: so there is none of them here.
 * Interrupts are taken only while halted, and nothing returns from them.
 *
 *
 *   qemu-system-x86_64 -machine q35 -m 16 -nodefaults -display none -bios counter.bin -serial file:OUT
 *
 * Build: tests/guest/build.  Linked at the top 64 KiB below 4 GiB, where the reset vector is.
 */

	.include "pc.inc"

	.set	TICKS_A_LINE, 4

	/* RAM; all of it is below 640 KiB, where there is RAM on every machine type. */
	.set	NUMBER, 0x1000		/* the counter */
	.set	TICKS, 0x1004		/* timer interrupts since the last line */
	.set	LOST, 0x1008		/* pages whose content was not what was written */
	.set	XCR0, 0x100c		/* what was written to it at the reset; 0: there is no XSAVE */
	.set	STACK, 0x8000		/* grows down from here */
	.set	RING, 0x20000
	.set	RING_PAGES, 64
	.set	PAGES_A_LINE, 4

	.text
	.globl	_start
rom:
	.code32
start32:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$STACK, %esp

	/* After a reset RAM keeps what it held: clear what we use. */
	xorl	%eax, %eax
	movl	$NUMBER, %edi
	movl	$(IDT + IDT_SIZE - NUMBER) / 4, %ecx
	rep stosl
	movl	$RING, %edi
	movl	$(RING_PAGES * 4096 / 4), %ecx
	rep stosl

	movl	$6, %ecx
	movl	$invalid_opcode, %eax
	call	set_gate
	movl	$13, %ecx
	movl	$general_protection, %eax
	call	set_gate
	movl	$timer, %eax
	movl	$idle, %ebx
	call	timer_gates

	call	devices_init
	call	xsave_init

	movl	$1, NUMBER
	movl	$text_n, %esi
	call	put_text
	movl	NUMBER, %eax
	call	put_hex
	movl	$text_vendor, %esi
	call	put_text
	xorl	%eax, %eax
	call	cpuid_or_zeros
	movl	%ebx, %eax
	call	put_four
	movl	%edx, %eax
	call	put_four
	movl	%ecx, %eax
	call	put_four
	jmp	leaves

line:
	incl	NUMBER
	movl	$text_n, %esi
	call	put_text
	movl	NUMBER, %eax
	call	put_hex

leaves:
	movl	$leaf_table, %ebp
1:
	movl	(%ebp), %esi
	call	put_text
	movl	4(%ebp), %eax
	movl	8(%ebp), %ecx
	call	cpuid_or_zeros
	cmpl	$1, 4(%ebp)
	jne	2f
	andl	$0x00ffffff, %ebx	/* the APIC id differs by nature */
2:
	call	put_registers
	addl	$12, %ebp
	cmpl	$leaf_table_end, %ebp
	jb	1b

	movl	$text_xcr0, %esi
	call	put_text
	movl	XCR0, %eax
	testl	%eax, %eax
	jz	1f
	xorl	%edx, %edx
	xorl	%ecx, %ecx
	xsetbv				/* or to invalid_opcode or general_protection */
1:
	call	put_hex
	jmp	pages
invalid_opcode:
	movl	$text_ud, %esi
	jmp	refused
general_protection:
	movl	$text_gp, %esi
refused:
	movl	$STACK, %esp
	call	put_text

	/*
	 * Line n writes n into the PAGES_A_LINE pages from (n * PAGES_A_LINE) % RING_PAGES on.  The page's content before
	 * is the line that wrote it last, RING_PAGES / PAGES_A_LINE lines ago, or 0 when there was none.
	 */
pages:
	movl	NUMBER, %eax
	movl	%eax, %ebx
	subl	$(RING_PAGES / PAGES_A_LINE), %ebx
	ja	1f			/* neither below nor equal to 0 */
	xorl	%ebx, %ebx
1:
	movl	%eax, %edi
	imull	$PAGES_A_LINE, %edi
	andl	$(RING_PAGES - 1), %edi
	shll	$12, %edi
	addl	$RING, %edi
	movl	$PAGES_A_LINE, %ecx
2:
	cmpl	%ebx, (%edi)
	je	3f
	incl	LOST
3:
	movl	%eax, (%edi)
	addl	$4096, %edi
	loop	2b

	movl	$text_lost, %esi
	call	put_text
	movl	LOST, %eax
	call	put_hex
	movl	$text_newline, %esi
	call	put_text

	movl	$0, TICKS
idle:
	cli
	movl	$STACK, %esp
	cmpl	$TICKS_A_LINE, TICKS
	jae	line
	sti				/* takes effect after hlt has begun: no wake-up is missed */
	hlt
	jmp	idle
timer:
	incl	TICKS
	movb	$0x20, %al		/* end of interrupt */
	outb	%al, $PIC1
	jmp	idle

	.include "pc_devices.inc"

/* CR4.OSXSAVE, and of x87, SSE, AVX and PKRU what there is. */
xsave_init:
	movl	$1, %eax
	xorl	%ecx, %ecx
	call	cpuid_or_zeros
	btl	$26, %ecx
	jnc	1f
	movl	%cr4, %eax
	orl	$0x40000, %eax
	movl	%eax, %cr4
	movl	$0xd, %eax
	xorl	%ecx, %ecx
	call	cpuid_or_zeros
	andl	$0x207, %eax
	orl	$1, %eax
	xorl	%edx, %edx
	xorl	%ecx, %ecx
	xsetbv
	movl	%eax, XCR0
1:
	ret

/* CPUID of leaf EAX, sub-leaf ECX; zeros when the leaf is above the highest of its range. */
cpuid_or_zeros:
	pushl	%ecx
	pushl	%eax
	andl	$0x80000000, %eax
	xorl	%ecx, %ecx
	cpuid
	cmpl	(%esp), %eax
	popl	%eax			/* pops leave the flags */
	popl	%ecx
	jb	1f
	cpuid
	ret
1:
	xorl	%eax, %eax
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	ret

/* Output; all keep every register but those named. */

/* EAX,EBX,ECX,EDX; changes all four. */
put_registers:
	pushl	%edx
	pushl	%ecx
	pushl	%ebx
	call	put_hex
	movl	$3, %ecx
1:
	movb	$',', %al
	call	put_byte
	popl	%eax
	call	put_hex
	loop	1b
	ret

/* The four bytes of EAX, lowest first, as they are; changes EAX. */
put_four:
	pushl	%ecx
	movl	$4, %ecx
1:
	call	put_byte
	shrl	$8, %eax
	loop	1b
	popl	%ecx
	ret

	.include "pc_text.inc"

/* Data. */

	.balign	4, 0
leaf_table:				/* text, leaf, sub-leaf */
	.long	text_1, 1, 0
	.long	text_7, 7, 0
	.long	text_d1, 0xd, 1
	.long	text_d0, 0xd, 0
	.long	text_80000001, 0x80000001, 0
	.long	text_80000008, 0x80000008, 0
leaf_table_end:

text_n:		.asciz	"n="
text_vendor:	.asciz	" vendor="
text_1:		.asciz	" 1="
text_7:		.asciz	" 7="
text_d1:	.asciz	" d1="
text_d0:	.asciz	" d0="
text_80000001:	.asciz	" 80000001="
text_80000008:	.asciz	" 80000008="
text_xcr0:	.asciz	" xcr0="
text_ud:	.asciz	"ud"
text_gp:	.asciz	"gp"
text_lost:	.asciz	" lost="
text_newline:	.asciz	"\r\n"

	.include "pc_reset.inc"
