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
