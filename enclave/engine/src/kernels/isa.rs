//! Sixteen lanes as a value, per instruction set.
//!
//! Owns the few operations the shared kernels are written in. An [`Isa`] value
//! is a proof that its instructions may be executed: the x86 ones can only be
//! made inside functions compiled for them, through an unsafe constructor.
//! Every operation is one IEEE operation per lane, so all sets agree.

use super::LANES;

/// An instruction set's sixteen lanes of single precision.
pub(super) trait Isa: Copy {
    /// Sixteen lanes.
    type V: Copy;
    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &[f32; LANES]) -> Self::V;
    fn store(self, v: Self::V, to: &mut [f32; LANES]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Per lane `x` where `a > b`, else `y`; `y` too where a lane is not a number.
    fn if_greater(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// 2^n, where the low nine bits of a lane's representation hold n in two's complement.
    fn power_of_two(self, bits: Self::V) -> Self::V;
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(f)
}

impl Isa for Portable {
    type V = [f32; LANES];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        *from
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut [f32; LANES]) {
        *to = v;
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        lanes(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn if_greater(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
        lanes(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }

    #[inline(always)]
    fn power_of_two(self, bits: Self::V) -> Self::V {
        lanes(|i| f32::from_bits((bits[i].to_bits() << 23).wrapping_add(127 << 23)))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64 as arch;

    use super::super::LANES;
    use super::Isa;

    /// AVX2 with FMA: two registers of eight lanes.
    ///
    /// INVARIANT: exists only where AVX2 and FMA may be executed.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(());

    impl Avx2 {
        /// # Safety
        /// This CPU has AVX2 and FMA.
        #[inline(always)]
        pub(in super::super) unsafe fn new() -> Self {
            Self(())
        }
    }

    /// One intrinsic on both halves.
    macro_rules! halves {
        ($name:ident $(, $arg:expr)+) => {{
            // SAFETY: by the invariant of `Avx2`, these instructions may be executed.
            unsafe { [arch::$name($($arg[0]),+), arch::$name($($arg[1]),+)] }
        }};
    }

    impl Isa for Avx2 {
        type V = [arch::__m256; 2];

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            // SAFETY: by the invariant of `Avx2`, this instruction may be executed.
            [unsafe { arch::_mm256_set1_ps(x) }; 2]
        }

        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::V {
            let at = from.as_ptr();
            // SAFETY: as above; `from` holds two times eight values, loaded unaligned.
            unsafe { [arch::_mm256_loadu_ps(at), arch::_mm256_loadu_ps(at.add(8))] }
        }

        #[inline(always)]
        fn store(self, v: Self::V, to: &mut [f32; LANES]) {
            let at = to.as_mut_ptr();
            // SAFETY: as above; `to` holds two times eight values, stored unaligned.
            unsafe {
                arch::_mm256_storeu_ps(at, v[0]);
                arch::_mm256_storeu_ps(at.add(8), v[1]);
            }
        }

        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            halves!(_mm256_add_ps, a, b)
        }

        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            halves!(_mm256_sub_ps, a, b)
        }

        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            halves!(_mm256_mul_ps, a, b)
        }

        #[inline(always)]
        fn div(self, a: Self::V, b: Self::V) -> Self::V {
            halves!(_mm256_div_ps, a, b)
        }

        #[inline(always)]
        fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            halves!(_mm256_fmadd_ps, a, b, c)
        }

        #[inline(always)]
        fn if_greater(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
            // SAFETY: by the invariant of `Avx2`, these instructions may be executed.
            let half = |i: usize| unsafe {
                let mask = arch::_mm256_cmp_ps::<{ arch::_CMP_GT_OQ }>(a[i], b[i]);
                arch::_mm256_blendv_ps(y[i], x[i], mask)
            };
            [half(0), half(1)]
        }

        #[inline(always)]
        fn power_of_two(self, bits: Self::V) -> Self::V {
            // SAFETY: by the invariant of `Avx2`, these instructions may be executed.
            let half = |i: usize| unsafe {
                let shifted = arch::_mm256_slli_epi32::<23>(arch::_mm256_castps_si256(bits[i]));
                arch::_mm256_castsi256_ps(arch::_mm256_add_epi32(
                    shifted,
                    arch::_mm256_set1_epi32(127 << 23),
                ))
            };
            [half(0), half(1)]
        }
    }

    /// AVX-512F: one register of sixteen lanes.
    ///
    /// INVARIANT: exists only where AVX-512F may be executed.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(());

    impl Avx512 {
        /// # Safety
        /// This CPU has AVX-512F.
        #[inline(always)]
        pub(in super::super) unsafe fn new() -> Self {
            Self(())
        }
    }

    /// One intrinsic on the whole register.
    macro_rules! whole {
        ($name:ident $(, $arg:expr)+) => {{
            // SAFETY: by the invariant of `Avx512`, this instruction may be executed.
            unsafe { arch::$name($($arg),+) }
        }};
    }

    impl Isa for Avx512 {
        type V = arch::__m512;

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            whole!(_mm512_set1_ps, x)
        }

        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::V {
            // SAFETY: as above; `from` holds sixteen values, loaded unaligned.
            unsafe { arch::_mm512_loadu_ps(from.as_ptr()) }
        }

        #[inline(always)]
        fn store(self, v: Self::V, to: &mut [f32; LANES]) {
            // SAFETY: as above; `to` holds sixteen values, stored unaligned.
            unsafe { arch::_mm512_storeu_ps(to.as_mut_ptr(), v) };
        }

        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            whole!(_mm512_add_ps, a, b)
        }

        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            whole!(_mm512_sub_ps, a, b)
        }

        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            whole!(_mm512_mul_ps, a, b)
        }

        #[inline(always)]
        fn div(self, a: Self::V, b: Self::V) -> Self::V {
            whole!(_mm512_div_ps, a, b)
        }

        #[inline(always)]
        fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            whole!(_mm512_fmadd_ps, a, b, c)
        }

        #[inline(always)]
        fn if_greater(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
            // SAFETY: by the invariant of `Avx512`, these instructions may be executed.
            unsafe {
                let mask = arch::_mm512_cmp_ps_mask::<{ arch::_CMP_GT_OQ }>(a, b);
                arch::_mm512_mask_blend_ps(mask, y, x)
            }
        }

        #[inline(always)]
        fn power_of_two(self, bits: Self::V) -> Self::V {
            // SAFETY: by the invariant of `Avx512`, these instructions may be executed.
            unsafe {
                let shifted = arch::_mm512_slli_epi32::<23>(arch::_mm512_castps_si512(bits));
                arch::_mm512_castsi512_ps(arch::_mm512_add_epi32(
                    shifted,
                    arch::_mm512_set1_epi32(127 << 23),
                ))
            }
        }
    }
}
