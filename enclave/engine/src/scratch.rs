//! Working memory of a forward pass.
//!
//! Owns the buffers between two kernels and their growth. Every buffer is
//! overwritten with zeros before it is freed, also when it grows. After the
//! first pass of a size, further passes allocate nothing.

use zeroize::Zeroizing;

/// A buffer of activations that never leaves a copy behind.
#[derive(Default)]
pub(crate) struct Buffer(Zeroizing<Vec<f32>>);

impl Buffer {
    /// The first `len` values, whose content is unspecified.
    pub(crate) fn get(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            // A new allocation instead of `resize`, which would free the old one as it is.
            self.0 = Zeroizing::new(vec![0.0; len.next_power_of_two()]);
        }
        &mut self.0[..len]
    }

    /// The first `len` values of a buffer that was filled before.
    pub(crate) fn filled(&self, len: usize) -> &[f32] {
        &self.0[..len]
    }

    /// Frees the memory after overwriting it.
    pub(crate) fn wipe(&mut self) {
        self.0 = Zeroizing::default();
    }
}

/// Working memory for [`Model::forward`](crate::Model::forward); one per sequence at work.
#[derive(Default)]
#[expect(
    missing_debug_implementations,
    reason = "it holds a user's text in another form"
)]
pub struct Scratch {
    pub(crate) residual: Buffer,
    pub(crate) normed: Buffer,
    pub(crate) qkv: Buffer,
    pub(crate) mixed: Buffer,
    pub(crate) activated: Buffer,
    pub(crate) delta: Buffer,
    pub(crate) logits: Buffer,
    pub(crate) own: crate::job::Workspace,
}

impl Scratch {
    /// Empty working memory, which grows to what the passes need.
    pub fn new() -> Self {
        Self::default()
    }
}
