"""Instructions that every judge of the interpreter knows: of %r1, %r2, %r3, into %r4."""

BASIC = """
add.s32 %r4, %r1, %r2;
sub.s32 %r4, %r1, %r2;
mul.lo.s32 %r4, %r1, %r2;
mul.hi.s32 %r4, %r1, %r2;
mul.hi.u32 %r4, %r1, %r2;
mad.lo.s32 %r4, %r1, %r2, %r3;
min.s32 %r4, %r1, %r2;
min.u32 %r4, %r1, %r2;
max.s32 %r4, %r1, %r2;
max.u32 %r4, %r1, %r2;
abs.s32 %r4, %r1;
neg.s32 %r4, %r1;
and.b32 %r4, %r1, %r2;
or.b32 %r4, %r1, %r2;
xor.b32 %r4, %r1, %r2;
not.b32 %r4, %r1;
popc.b32 %r4, %r1;
clz.b32 %r4, %r1;
brev.b32 %r4, %r1;
cvt.s32.s8 %r4, %r1;
cvt.u32.u8 %r4, %r1;
cvt.s32.s16 %r4, %r1;
cvt.u32.u16 %r4, %r1;
setp.lt.s32 %p1, %r1, %r2; selp.b32 %r4, %r1, %r3, %p1;
setp.ge.u32 %p1, %r1, %r2; selp.b32 %r4, %r1, %r3, %p1;
""".strip().splitlines()
