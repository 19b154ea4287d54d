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

	.set	COM1, 0x3f8
	.set	PIC1, 0x20
	.set	PIC2, 0xa0
	.set	PIT, 0x40
	.set	APIC, 0xfee00000
	.set	RELOAD, 59659		/* 1193182 Hz / 59659 = 20 Hz */

	.set	NUMBER, 0x1000		/* the counter */
	.set	LOST, 0x1004		/* pages whose content was not what was written */
	.set	TICKED, 0x1008		/* the timer has ticked since the last line */
	.set	NEXT, 0x100c		/* the page that is written next */
	.set	ROUND, 0x1010		/* how often each page has been written; from 1 */
	.set	IDT, 0x2000		/* 256 gates */
	.set	IDT_SIZE, 0x800
	.set	STACK, 0x8000		/* grows down from here */
	.set	MEMORY, 0x100000
	.set	MEMORY_END, MEMORY + MEBIBYTES * 0x100000

	.set	CODE, 8			/* selectors of gdt */
	.set	DATA, 16

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
	movl	$0x20, %ecx
	movl	$timer, %eax
	call	set_gate
	movl	$0x27, %ecx		/* where the PIC and the APIC send what they cannot explain */
	movl	$idle, %eax
	call	set_gate
	lidt	idt_pointer

	movl	$1, ROUND
	movl	$MEMORY, %edi
1:
	call	write_page
	cmpl	$MEMORY_END, %edi
	jb	1b
	movl	$MEMORY, NEXT
	movl	$2, ROUND

	movl	$uart_ports, %esi
	movl	$uart_ports_end, %edi
	call	write_ports
	movl	$timer_ports, %esi
	movl	$timer_ports_end, %edi
	call	write_ports
	movl	$1, %eax
	cpuid
	btl	$9, %edx		/* a local APIC: let the PIC through, as firmware does */
	jnc	line
	movl	$0x127, APIC + 0xf0	/* enabled; its spurious interrupts are ours, too */
	movl	$0x700, APIC + 0x350	/* LINT0: ExtINT, not masked */

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

/* Sets interrupt gate ECX to handler EAX; changes EAX, EDX. */
set_gate:
	movl	%eax, %edx
	andl	$0xffff, %eax
	orl	$(CODE << 16), %eax
	movl	%eax, IDT(, %ecx, 8)
	movw	$0x8e00, %dx		/* present, 32-bit interrupt gate */
	movl	%edx, IDT + 4(, %ecx, 8)
	ret

/* Runs through a table of (port, byte) pairs, each port 16 bits, from ESI up to EDI. */
write_ports:
	movw	(%esi), %dx
	movb	2(%esi), %al
	outb	%al, %dx
	addl	$3, %esi
	cmpl	%edi, %esi
	jb	write_ports
	ret

/* EAX as eight digits; changes EAX, EBX, ECX. */
put_hex:
	movl	%eax, %ebx
	movl	$8, %ecx
1:
	roll	$4, %ebx
	movb	%bl, %al
	andb	$15, %al
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	2f
	addb	$('a' - '9' - 1), %al
2:
	call	put_byte
	loop	1b
	ret

/* The text at ESI up to a zero byte; changes EAX, ESI. */
put_text:
	lodsb
	testb	%al, %al
	jz	1f
	call	put_byte
	jmp	put_text
1:
	ret

/* AL, when the UART can take it. */
put_byte:
	pushl	%edx
	pushl	%ecx
	pushl	%eax
	movl	$100000, %ecx		/* a UART that never gets ready must not stop the count */
	movw	$(COM1 + 5), %dx
1:
	inb	%dx, %al
	testb	$0x20, %al
	loopz	1b
	movw	$COM1, %dx
	movb	(%esp), %al
	outb	%al, %dx
	popl	%eax
	popl	%ecx
	popl	%edx
	ret

	.macro	port number, value
	.word	\number
	.byte	\value
	.endm

uart_ports:
	port	COM1 + 3, 0x80		/* divisor: 115200 baud */
	port	COM1 + 0, 1
	port	COM1 + 1, 0
	port	COM1 + 3, 3		/* 8 bits, no parity */
	port	COM1 + 1, 0		/* no interrupts */
	port	COM1 + 2, 7		/* FIFOs on and empty */
uart_ports_end:

timer_ports:
	port	PIC1 + 0, 0x11		/* both PICs: vectors from 0x20, 0x28 */
	port	PIC2 + 0, 0x11
	port	PIC1 + 1, 0x20
	port	PIC2 + 1, 0x28
	port	PIC1 + 1, 4
	port	PIC2 + 1, 2
	port	PIC1 + 1, 1
	port	PIC2 + 1, 1
	port	PIC1 + 1, 0xfe		/* only the timer */
	port	PIC2 + 1, 0xff
	port	PIT + 3, 0x34		/* channel 0, rate generator */
	port	PIT + 0, RELOAD & 0xff
	port	PIT + 0, RELOAD >> 8
timer_ports_end:

text_n:		.asciz	"n="
text_lost:	.asciz	" lost="
text_newline:	.asciz	"\r\n"

	.balign	8, 0
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* flat code */
	.quad	0x00cf93000000ffff	/* flat data */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
idt_pointer:
	.word	IDT_SIZE - 1
	.long	IDT

	/* Real mode, at f000:ffc0: just long enough to leave it. */
	.org	0xffc0
	.code16
start16:
	cli
	cld
	movw	$(gdt_pointer - rom), %bx
	lgdtl	%cs:(%bx)
	movl	%cr0, %eax
	orb	$1, %al			/* PE */
	movl	%eax, %cr0
	ljmpl	$CODE, $start32

	.org	0xfff0
_start:					/* the reset vector */
	jmp	start16
	.org	0x10000
