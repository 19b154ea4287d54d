/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What reads the CPU, for rom.S, which includes it once for protected mode (NAME(x) is x_32) and once for long mode
 * (x_64).  It keeps to what is the same in both: 32-bit registers, whose upper halves long mode makes 0; addresses below
 * 2 GiB or in a register; call and ret, but no push and pop.  WIDE_A is the register A in its full width.
 *
 * CPUID changes EAX, EBX, ECX and EDX, so what must last is in RAM.
 */

NAME(walk):
	movl	$0, COUNT
	movl	$0, CUT
	movl	$(BUFFER + HEADER_SIZE), END

	/* The first row: the mode. */
	movl	$0, LEAF
	movl	$0, SUBLEAF
	movl	$MODE_BITS, REGISTERS
	movl	$0, REGISTERS + 4
	movl	$0, REGISTERS + 8
	movl	$0, REGISTERS + 12
	movb	$ROW_MODE, %al
	call	NAME(put)

	/*
	 * With XSAVE (leaf 1 ECX bit 26): turn it on, and in XCR0 all that leaf 0xd offers, as an operating system would;
	 * EBX of leaf 0xd is the size of what is on.  A CPU that takes only a part of its own offer gets the minimum.
	 *
	 * What XSETBV took without an exception is what XGETBV would give, so it is not asked: the interpreter of a KVM that
	 * cannot run this code natively (kvm_pvm, Linux 6.x) knows XSETBV and stops at XGETBV.
	 */
	movl	$0, XCR0_LOW			/* 0: there is no XCR0; bit 0 (x87) of a real one is always 1 */
	movl	$0, XCR0_HIGH
	movl	$1, %eax
	cpuid
	btl	$26, %ecx
	jnc	2f
	/*
	 * TCG (QEMU 7.2 and 10.0 at least, target/i386/cpu.h, cr4_reserved_bits) forbids OSXSAVE when leaf 0xd.1 has no
	 * feature, as with Opteron_G4 and G5, and then repeats the instruction for ever instead of raising an exception.
	 */
	movl	$0xd, %eax
	movl	$1, %ecx
	cpuid
	testl	%eax, %eax
	jnz	0f
	movl	$0x40000000, %eax
	cpuid
	cmpl	$0x54474354, %ebx		/* "TCGT" */
	je	2f
0:
	mov	%cr4, WIDE_A
	orl	$0x40000, %eax			/* OSXSAVE */
	mov	WIDE_A, %cr4
	movl	$1, XCR0_LOW			/* after a reset */
	movl	$0xd, %eax
	xorl	%ecx, %ecx
	cpuid
	xorl	%ecx, %ecx
	try	xsetbv
	cmpl	$NO_FAULT, FAULT
	je	1f
	andl	$7, %eax			/* x87, SSE, AVX */
	orl	$1, %eax
	xorl	%edx, %edx
	try	xsetbv
	cmpl	$NO_FAULT, FAULT
	jne	2f
1:
	movl	%eax, XCR0_LOW
	movl	%edx, XCR0_HIGH
2:

	movl	$AT(ranges), %esi
3:
	movl	%esi, CURSOR
	movl	(%esi), %eax
	call	NAME(walk_range)
	movl	CURSOR, %esi
	addl	$4, %esi
	cmpl	$AT(ranges_end), %esi
	jb	3b

	movl	$0, LEAF
	movl	$0, SUBLEAF
	movl	XCR0_LOW, %eax
	testl	%eax, %eax
	jz	4f
	movl	%eax, REGISTERS
	movl	$0, REGISTERS + 4
	movl	$0, REGISTERS + 8
	movl	XCR0_HIGH, %eax
	movl	%eax, REGISTERS + 12
	movb	$ROW_XCR0, %al
	call	NAME(put)
4:

	/* The microcode's revision appears after writing 0 to the MSR and CPUID (Intel SDM 3A, 10.11.7). */
	movl	$0x8b, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	try	wrmsr
	movl	$1, %eax
	cpuid
	movl	$AT(msrs), %esi
	call	NAME(read_msrs)

	movl	$1, %eax
	cpuid
	btl	$5, %ecx			/* vmx */
	jnc	5f
	movl	$AT(msrs_vmx), %esi
	call	NAME(read_msrs)
5:
	movl	$AT(msrs_amd), %esi
	call	NAME(read_msrs)

	/* The header, and the mark of rows that had no room in the first row's EBX. */
	movl	CUT, %eax
	movl	%eax, BUFFER + HEADER_SIZE + 1 + 8 + 4
	movl	$0x474c4d51, BUFFER		/* "QMLG" */
	movl	$1, BUFFER + 4
	movl	COUNT, %eax
	movl	%eax, BUFFER + 8
	movl	END, %eax
	subl	$(BUFFER - 4), %eax		/* the checksum's 4 bytes, too */
	movl	%eax, BUFFER + 12

	/* CRC-32, a byte at a time. */
	movl	$BUFFER, %esi
	movl	END, %edi
	movl	$0xffffffff, %eax
6:
	movzbl	(%esi), %edx
	xorb	%al, %dl
	shrl	$8, %eax
	movl	$AT(crc_table), %ecx
	xorl	(%ecx, %edx, 4), %eax
	incl	%esi
	cmpl	%edi, %esi
	jb	6b
	notl	%eax
	movl	%eax, (%esi)

	movb	$EXIT_DONE, %al
	outb	%al, $DEBUG_EXIT
	ret

/* All leaves of the range that begins at EAX, if there is one: if the leaf there has the number of a leaf in it. */
NAME(walk_range):
	movl	%eax, LEAF
	xorl	%ecx, %ecx
	cpuid
	movl	%eax, %ecx
	subl	LEAF, %ecx
	cmpl	$0xffff, %ecx
	ja	3f				/* also when EAX is below LEAF */
	cmpl	$LEAVES_MAX, %ecx
	jb	1f
	movl	$1, CUT
	movl	LEAF, %eax
	addl	$(LEAVES_MAX - 1), %eax
1:
	movl	%eax, LAST
2:
	call	NAME(walk_leaf)
	movl	LEAF, %eax
	cmpl	LAST, %eax
	jae	3f
	incl	LEAF
	jmp	2b
3:
	ret

/* All sub-leaves of LEAF. */
NAME(walk_leaf):
	movl	$0, SUBLEAF
	call	NAME(read)
	movb	$ROW_CPUID, %al
	call	NAME(put)

	movl	LEAF, %eax
	movl	$AT(rules), %esi
1:
	cmpl	(%esi), %eax
	je	2f
	addl	$16, %esi
	cmpl	$AT(last_rule), %esi
	jb	1b
2:
	movl	%esi, RULE
	movzbl	5(%esi), %edi
	movl	REGISTERS(%edi), %eax
	movl	%eax, WANTED			/* for the rules that have a register in sub-leaf 0 */
	movb	4(%esi), %al

	/* Each rule's loop knows SUBLEAF, goes to the next, and ends with a ret. */
	cmpb	$RULE_LAST, %al
	je	NAME(rule_last)
	cmpb	$RULE_UNTIL, %al
	je	NAME(rule_until)
	cmpb	$RULE_BITS, %al
	je	NAME(rule_bits)
	cmpb	$RULE_SPARSE, %al
	je	NAME(rule_sparse)
	jmp	NAME(rule_unknown)

NAME(rule_last):
	movl	SUBLEAF, %eax
	cmpl	WANTED, %eax
	jae	9f
	call	NAME(next)
	jae	9f
	movb	$ROW_CPUID, %al
	call	NAME(put)
	jmp	NAME(rule_last)

NAME(rule_until):
	movl	RULE, %esi
	movzbl	6(%esi), %eax
	cmpl	%eax, SUBLEAF
	jb	1f				/* the first ones say nothing about the end */
	movzbl	5(%esi), %edi
	movl	8(%esi), %eax
	testl	%eax, REGISTERS(%edi)
	jz	9f
1:
	call	NAME(next)
	jae	9f
	movb	$ROW_CPUID, %al
	call	NAME(put)
	jmp	NAME(rule_until)

NAME(rule_bits):
	call	NAME(next)
	jae	9f
	movl	SUBLEAF, %ecx
	cmpl	$32, %ecx
	jae	9f
	btl	%ecx, WANTED
	jnc	NAME(rule_bits)
	movb	$ROW_CPUID, %al
	call	NAME(put)
	jmp	NAME(rule_bits)

NAME(rule_sparse):
	call	NAME(next)
	jae	9f
	call	NAME(is_zero)
	jz	NAME(rule_sparse)
	movb	$ROW_CPUID, %al
	call	NAME(put)
	jmp	NAME(rule_sparse)

NAME(rule_unknown):
	movl	$REGISTERS, %esi
	movl	$BEFORE, %edi
	movl	$4, %ecx
	rep movsl
	call	NAME(next)
	jae	9f
	call	NAME(is_zero)
	jz	9f
	movl	$REGISTERS, %esi
	movl	$BEFORE, %edi
	movl	$4, %ecx
	repe cmpsl
	je	9f
	movb	$ROW_CPUID, %al
	call	NAME(put)
	jmp	NAME(rule_unknown)
9:
	ret

/* Reads the next sub-leaf.  The condition "above or equal": there is none, SUBLEAVES_MAX are read. */
NAME(next):
	incl	SUBLEAF
	cmpl	$SUBLEAVES_MAX, SUBLEAF
	jae	1f
	call	NAME(read)
	cmpl	$SUBLEAVES_MAX, SUBLEAF
1:
	ret

/* LEAF, SUBLEAF to REGISTERS. */
NAME(read):
	movl	LEAF, %eax
	movl	SUBLEAF, %ecx
	cpuid
	movl	%eax, REGISTERS
	movl	%ebx, REGISTERS + 4
	movl	%ecx, REGISTERS + 8
	movl	%edx, REGISTERS + 12
	ret

/* The condition "zero": all of REGISTERS are. */
NAME(is_zero):
	movl	REGISTERS, %eax
	orl	REGISTERS + 4, %eax
	orl	REGISTERS + 8, %eax
	orl	REGISTERS + 12, %eax
	ret

/* The MSRs of the list at ESI; RDMSR that raises an exception is an answer, too. */
NAME(read_msrs):
	movl	%esi, CURSOR
	movl	(%esi), %ecx
	testl	%ecx, %ecx
	jz	2f
	movl	%ecx, LEAF
	movl	$0, SUBLEAF
	try	rdmsr
	movb	$ROW_MSR, %bl
	cmpl	$NO_FAULT, FAULT
	je	1f
	movb	$ROW_MSR_FAULT, %bl
	movl	FAULT, %eax
	xorl	%edx, %edx
1:
	movl	%eax, REGISTERS
	movl	$0, REGISTERS + 4
	movl	$0, REGISTERS + 8
	movl	%edx, REGISTERS + 12
	movb	%bl, %al
	call	NAME(put)
	movl	CURSOR, %esi
	addl	$4, %esi
	jmp	NAME(read_msrs)
2:
	ret

/* Appends the row at ROW, of the kind AL, to BUFFER. */
NAME(put):
	cmpl	$ROWS_MAX, COUNT
	jae	1f
	incl	COUNT
	movl	END, %edi
	stosb
	movl	$ROW, %esi
	movl	$6, %ecx
	rep movsl
	movl	%edi, END
	ret
1:
	movl	$1, CUT
	ret
