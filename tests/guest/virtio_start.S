/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The virtio guest's way from the reset vector into C (virtio.c), and its waiting for the timer.
 *
 * Interrupts are taken only while halted, and nothing returns from them by IRET, which a KVM that interprets such a
 * guest does not know in protected mode.
 */

	.include "pc.inc"

	.set	WAITING, 0x1000		/* the stack of who waits */
	.set	STACK, 0x9000		/* grows down from here */

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
	movl	$timer, %eax
	movl	$spurious, %ebx
	call	timer_gates
	call	devices_init
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

	.include "pc_devices.inc"

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
