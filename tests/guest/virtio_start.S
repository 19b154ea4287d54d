/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The virtio guest's way from the reset vector into C (virtio.c), and its waiting for the timer.
 *
 * Interrupts are taken only while halted, and nothing returns from them by IRET, which a KVM that interprets such a
 * guest does not know in protected mode.
 */

	.set	COM1, 0x3f8
	.set	PIC1, 0x20
	.set	PIC2, 0xa0
	.set	PIT, 0x40
	.set	APIC, 0xfee00000
	.set	RELOAD, 59659		/* 1193182 Hz / 59659 = 20 Hz */

	.set	WAITING, 0x1000		/* the stack of who waits */
	.set	IDT, 0x2000		/* 256 gates */
	.set	IDT_SIZE, 0x800
	.set	STACK, 0x9000		/* grows down from here */

	.set	CODE, 8			/* selectors of gdt */
	.set	DATA, 16

	.section .text.start, "ax"
	.code32
start32:
	movw	$DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$STACK, %esp

	xorl	%eax, %eax		/* after a reset RAM keeps what it held */
	movl	$IDT, %edi
	movl	$IDT_SIZE / 4, %ecx
	rep stosl
	movl	$0x20, %ecx
	movl	$timer, %eax
	call	set_gate
	movl	$0x27, %ecx		/* where the PIC and the APIC send what they cannot explain */
	movl	$spurious, %eax
	call	set_gate
	lidt	idt_pointer

	movl	$ports, %esi
	movl	$ports_end, %edi
1:
	movw	(%esi), %dx
	movb	2(%esi), %al
	outb	%al, %dx
	addl	$3, %esi
	cmpl	%edi, %esi
	jb	1b
	movl	$1, %eax
	cpuid
	btl	$9, %edx		/* a local APIC: let the PIC through, as firmware does */
	jnc	1f
	movl	$0x127, APIC + 0xf0	/* enabled; its spurious interrupts are ours, too */
	movl	$0x700, APIC + 0x350	/* LINT0: ExtINT, not masked */
1:
	call	guest
	hlt

/* void wait_tick(void): halts until the timer has ticked. */
	.globl	wait_tick
wait_tick:
	pushl	%ebp
	pushl	%ebx
	pushl	%esi
	pushl	%edi
	movl	%esp, WAITING
spurious:
	cli
	movl	WAITING, %esp
	sti				/* takes effect after hlt has begun: no wake-up is missed */
	hlt
	jmp	spurious
timer:
	movb	$0x20, %al		/* end of interrupt */
	outb	%al, $PIC1
	cli
	cld
	movl	WAITING, %esp
	popl	%edi
	popl	%esi
	popl	%ebx
	popl	%ebp
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

	.macro	port number, value
	.word	\number
	.byte	\value
	.endm

ports:
	port	COM1 + 3, 0x80		/* divisor: 115200 baud */
	port	COM1 + 0, 1
	port	COM1 + 1, 0
	port	COM1 + 3, 3		/* 8 bits, no parity */
	port	COM1 + 1, 0		/* no interrupts */
	port	COM1 + 2, 7		/* FIFOs on and empty */
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
ports_end:

idt_pointer:
	.word	IDT_SIZE - 1
	.long	IDT

	/* The last 64 bytes of the image; real mode, at f000:ffc0: just long enough to leave it. */
	.section .reset, "ax"
	.code16
start16:
	cli
	cld
	movw	$0xffe0, %bx
	lgdtl	%cs:(%bx)
	movl	%cr0, %eax
	orb	$1, %al			/* PE */
	movl	%eax, %cr0
	ljmpl	$CODE, $start32
	.org	0x20
	.word	0x17			/* of the GDT: its last byte, and where it is */
	.long	0xffffffa8
	.org	0x30
	.globl	_start
_start:					/* the reset vector */
	jmp	start16
	.org	0x40

	.section .gdt, "a"
	.quad	0
	.quad	0x00cf9b000000ffff	/* flat code */
	.quad	0x00cf93000000ffff	/* flat data */
