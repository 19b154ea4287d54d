/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The writing guest: a 64 KiB BIOS image that fills memory, so that moving it takes its time, and then writes there for
 * ever and counts on COM1, twenty lines a second:
 *
 *   n=00000001 lost=00000000
 *
 * Both numbers are hexadecimal.  n is kept in RAM: a guest that was lost, doubled, set back or started again shows in
 * it.  The assembler is told MEBIBYTES, the size of the memory from 1 MiB on that is written over, and PAGES, how many
 * of its pages are written again for each line, in turn.  Before a page is written it must hold, in three places, what
 * the last round wrote there; lost= counts the pages that did not.
 *
 * Of more than 2047 MiB (4060 at the most) those behind the first 2 GiB are reached by paging: they lie from 4 GiB on, as
 * q35 has it with -m 2816 and more, and the guest has them behind the others, up to where devices and the ROM are.
 *
 * Like the counter guest (counter.S) it halts between lines, takes interrupts only then, and needs COM1, the PIC and the
 * PIT, and no firmware; it uses no instruction that a KVM which interprets such a guest does not know.
 *
 * Build: tests/e2e/lib/writer.py.  Linked at the top 64 KiB below 4 GiB, where the reset vector is.
 */

	.include "pc.inc"

	.set	NUMBER, 0x1000		/* the counter */
	.set	LOST, 0x1004		/* pages whose content was not what was written */
	.set	TICKED, 0x1008		/* the timer has ticked since the last line */
	.set	NEXT, 0x100c		/* the page that is written next */
	.set	ROUND, 0x1010		/* how often each page has been written; from 1 */
	.set	STACK, 0x8000		/* grows down from here */
	.set	MEMORY, 0x100000
	.set	MEMORY_END, MEMORY + MEBIBYTES * 0x100000
	.set	PAGING, MEBIBYTES > 2047	/* true is -1 here */
	.set	POINTERS, 0x9000	/* PAE: four entries, of a directory each */
	.set	DIRECTORIES, 0x10000	/* 2048 entries, of 2 MiB each */
	.set	LOW_PAGES, 0x80000000 >> 21	/* so many before the hole, in which they are not */
	.set	HIGH_PAGES, 0xfe000000 >> 21	/* and before the devices */

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

	xorl	%eax, %eax
	movl	$NUMBER, %edi
	movl	$(IDT + IDT_SIZE - NUMBER) / 4, %ecx
	rep stosl
	movl	$timer, %eax
	movl	$idle, %ebx
	call	timer_gates
	.if	PAGING
	call	begin_paging
	.endif

	movl	$1, ROUND
	movl	$MEMORY, %edi
1:
	call	write_page
	cmpl	$MEMORY_END, %edi
	jb	1b
	movl	$MEMORY, NEXT
	movl	$2, ROUND

	call	devices_init

line:
	/*
	 * Changing CR4.PGE empties TCG's TLB.  QEMU 7.2 forgets there that a page must be marked as written to once more
	 * after a migration has begun to read it, and would send old content.
	 */
	movl	%cr4, %eax
	xorb	$0x80, %al
	movl	%eax, %cr4

	incl	NUMBER
	movl	$text_n, %esi
	call	put_text
	movl	NUMBER, %eax
	call	put_hex

	movl	NEXT, %edi
	movl	$PAGES, %ecx
1:
	call	check_page
	call	write_page
	cmpl	$MEMORY_END, %edi
	jb	2f
	movl	$MEMORY, %edi
	incl	ROUND
2:
	loop	1b
	movl	%edi, NEXT

	movl	$text_lost, %esi
	call	put_text
	movl	LOST, %eax
	call	put_hex
	movl	$text_newline, %esi
	call	put_text

	movl	$0, TICKED
idle:
	cli
	movl	$STACK, %esp
	cmpl	$0, TICKED
	jne	line
	sti				/* takes effect after hlt has begun: no wake-up is missed */
	hlt
	jmp	idle
timer:
	movl	$1, TICKED
	movb	$0x20, %al		/* end of interrupt */
	outb	%al, $PIC1
	jmp	idle

	.if	PAGING
/* Linear memory from 2 GiB on is what lies from 4 GiB on, but for the devices' and the ROM's part; changes EAX, ECX, EDX. */
begin_paging:
	xorl	%ecx, %ecx
1:
	movl	%ecx, %eax
	shll	$21, %eax		/* where it is, for most */
	xorl	%edx, %edx
	cmpl	$LOW_PAGES, %ecx
	jb	2f
	cmpl	$HIGH_PAGES, %ecx
	jae	2f
	subl	$0x80000000, %eax
	incl	%edx
2:
	orl	$0x83, %eax		/* present, writable, large */
	movl	%eax, DIRECTORIES(, %ecx, 8)
	movl	%edx, DIRECTORIES + 4(, %ecx, 8)
	incl	%ecx
	cmpl	$2048, %ecx
	jb	1b
	xorl	%ecx, %ecx
1:
	movl	%ecx, %eax
	shll	$12, %eax
	addl	$(DIRECTORIES + 1), %eax	/* present */
	movl	%eax, POINTERS(, %ecx, 8)
	movl	$0, POINTERS + 4(, %ecx, 8)
	incl	%ecx
	cmpl	$4, %ecx
	jb	1b
	movl	$POINTERS, %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orb	$0x20, %al		/* PAE */
	movl	%eax, %cr4
	movl	%cr0, %eax
	orl	$0x80000000, %eax	/* PG */
	movl	%eax, %cr0
	ret
	.endif

/* Page EDI holds what the round before wrote there, or LOST goes up; changes EAX, EDX. */
check_page:
	movl	ROUND, %eax
	decl	%eax
	cmpl	%eax, (%edi)
	jne	1f
	movl	%eax, %edx
	xorl	%edi, %edx
	cmpl	%edx, 2048(%edi)
	jne	1f
	notl	%eax
	cmpl	%eax, 4092(%edi)
	jne	1f
	ret
1:
	incl	LOST
	ret

/* Writes page EDI; EDI becomes the next one; changes EAX, EDX. */
write_page:
	movl	ROUND, %eax
	movl	%eax, (%edi)
	movl	%eax, %edx
	xorl	%edi, %edx
	movl	%edx, 2048(%edi)
	notl	%eax
	movl	%eax, 4092(%edi)
	addl	$4096, %edi
	ret

	.include "pc_devices.inc"
	.include "pc_text.inc"

text_n:		.asciz	"n="
text_lost:	.asciz	" lost="
text_newline:	.asciz	"\r\n"

	.include "pc_reset.inc"
