//! The arithmetic, in three tiers that agree bit for bit.
//!
//! Owns every inner loop and all `unsafe` of the crate. The contract that
//! makes splits, batches and speculation exact: one chain of fused
//! multiply-adds per (output row, token) and per parity of k, in the order of
//! k; blocks are formed over rows and tokens only; horizontal sums use one
//! fixed tree; softmax runs over the keys in order. Nothing here depends on
//! how many tokens, rows or threads are processed together.
//!
//! UNSAFETY: needed to call functions compiled for instruction sets that the
//! build target does not promise, and to load from checked ranges without a
//! bounds check per element. [`Kernels`] exists only for a tier that this CPU
//! has, and every block function is entered through a length check here.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod lanes;
mod portable;

pub(crate) use lanes::AttendArgs;

use crate::weights::Chunk;

/// Rows of one weight tile, and lanes of every vector operation.
pub(crate) const LANES: usize = 16;

/// Sixteen neighbouring values of a cache, aligned to a cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

impl zeroize::DefaultIsZeroes for Lanes {}

/// An instruction set the kernels are written for. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Tier {
    /// Plain Rust with fused multiply-add.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512F.
    Avx512,
}

impl Tier {
    /// The fastest tier of this CPU.
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self::Portable)
    }

    /// The tiers of this CPU, slowest first.
    pub fn available() -> Vec<Self> {
        let mut tiers = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                tiers.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f") {
                    tiers.push(Self::Avx512);
                }
            }
        }
        tiers
    }

    /// A short name, for logs and benchmarks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// The kernels of one tier.
///
/// INVARIANT: `tier` is one that this CPU has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels {
    tier: Tier,
}

/// Calls the tier's copy of a kernel.
macro_rules! dispatch {
    ($self:ident, $name:ident ( $($arg:expr),* )) => {
        match $self.tier {
            Tier::Portable => portable::$name($($arg),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: by the invariant of `Kernels`, this CPU has AVX2 and FMA.
            Tier::Avx2 => unsafe { avx2::$name($($arg),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: by the invariant of `Kernels`, this CPU has AVX-512F (and AVX2 and FMA).
            Tier::Avx512 => unsafe { avx512::$name($($arg),*) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable::$name($($arg),*),
        }
    };
}

impl Kernels {
    /// The kernels of `tier`, if this CPU has it.
    pub(crate) fn new(tier: Tier) -> Option<Self> {
        Tier::available().contains(&tier).then_some(Self { tier })
    }

    /// The kernels of the fastest tier.
    pub(crate) fn detect() -> Self {
        Self { tier: Tier::detect() }
    }

    /// The instruction set in use.
    pub(crate) fn tier(self) -> Tier {
        self.tier
    }

    /// Multiplies `n` rows of `x` (row-major, `2 * pairs` wide) with the tiles of `w`.
    ///
    /// Tile t of 16 rows lies at `w[t * pairs..]`; its result for token m goes
    /// to `out[m * stride + t * 16..][..16]`.
    pub(crate) fn matmul(
        self,
        w: &[Chunk],
        pairs: usize,
        x: &[f32],
        n: usize,
        out: &mut [f32],
        stride: usize,
    ) {
        let tiles = w.len() / pairs;
        assert_eq!(w.len(), tiles * pairs, "weights are whole tiles");
        assert_eq!(x.len(), n * pairs * 2, "activations are whole rows");
        assert!(stride >= tiles * LANES, "output rows hold every tile");
        assert!(
            n == 0 || out.len() >= (n - 1) * stride + tiles * LANES,
            "the output holds every row"
        );
        dispatch!(self, matmul(w, pairs, x, n, out, stride));
    }

    /// `out = x / sqrt(mean(x²) + eps) * weight`, for one row whose width is a multiple of 16.
    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        dispatch!(self, rms_norm(x, weight, eps, out));
    }

    /// Gated activation of one row, in place.
    ///
    /// `row[at_in..]` holds groups of 16 gate values and 16 up values;
    /// `silu(gate) * up` is written from `row[at_out..]` on. `at_out <= at_in`.
    pub(crate) fn silu_mul(self, row: &mut [f32], at_in: usize, at_out: usize, groups: usize) {
        dispatch!(self, silu_mul(row, at_in, at_out, groups));
    }

    /// Attention of one query head over the keys `0..len`; see [`AttendArgs`].
    pub(crate) fn attend(self, args: AttendArgs<'_>) {
        dispatch!(self, attend(args));
    }
}

#[cfg(test)]
mod tests;
