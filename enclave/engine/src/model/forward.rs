//! The forward pass of a Llama decoder.
//!
//! Owns the order of operations over a range of layers, and the checks of its
//! input. The result for one token depends on the weights, its prefix and
//! nothing else: not on the split into ranges, on the tokens processed
//! together, on the number of threads or on the instruction set. Refuses rows
//! it has no cache for; never reads a cached row that was not written for this
//! prefix.

use std::sync::{Arc, MutexGuard, TryLockError};

use super::Model;
use crate::cache::KvCache;
use crate::error::ForwardError;
use crate::job::{Job, JobKind, Workspace};
use crate::kernels::LANES;
use crate::pool::{Pool, run_alone};
use crate::scratch::Scratch;
use crate::weights::MatrixId;

/// The rows given to a forward pass.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub enum Input<'a> {
    /// Token ids; for a range that begins with layer 0.
    Ids(&'a [u32]),
    /// Residual activations, `hidden` values per row; for any other range.
    Hidden(&'a [f32]),
}

/// The rows that come out of a forward pass.
#[derive(Clone, Copy)]
#[expect(
    missing_debug_implementations,
    reason = "it holds a user's text in another form"
)]
pub enum Output<'a> {
    /// Residual activations, `hidden` values for every input row.
    Hidden(&'a [f32]),
    /// Logits, `vocab` values for every row asked for.
    Logits(&'a [f32]),
}

/// The rows whose logits are wanted. Without effect on the values of those rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every row, as verification of drafted tokens needs.
    All,
    /// The last row, as generation needs.
    Last,
}

/// Consecutive rows of one sequence among the rows of a pass over several.
#[expect(
    missing_debug_implementations,
    reason = "its cache holds a user's text in another form"
)]
pub struct Segment<'a> {
    /// The sequence's cache; first cut to `pos`.
    pub cache: &'a mut KvCache,
    /// Position of the first row.
    pub pos: usize,
    /// Rows, at least one.
    pub rows: usize,
    /// How many of the last rows need logits. Without effect on the values of those rows.
    pub wanted: usize,
}

impl Model {
    /// Processes rows at positions `pos`, `pos + 1`, …; the cache is first cut to `pos`.
    ///
    /// Returns [`Output::Logits`] for every row if the range ends with the last
    /// layer, else [`Output::Hidden`].
    ///
    /// # Errors
    /// A [`ForwardError`], before anything is computed or written.
    pub fn forward<'s>(
        &self,
        input: Input<'_>,
        pos: usize,
        cache: &mut KvCache,
        scratch: &'s mut Scratch,
    ) -> Result<Output<'s>, ForwardError> {
        self.forward_rows(input, pos, Rows::All, cache, scratch)
    }

    /// As [`forward`](Self::forward), with logits only for the rows asked for.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_rows<'s>(
        &self,
        input: Input<'_>,
        pos: usize,
        rows: Rows,
        cache: &mut KvCache,
        scratch: &'s mut Scratch,
    ) -> Result<Output<'s>, ForwardError> {
        let n = self.count(input)?;
        let wanted = if rows == Rows::Last { n.min(1) } else { n };
        let segment = Segment {
            cache,
            pos,
            rows: n,
            wanted,
        };
        self.forward_batch(input, &mut [segment], scratch)
    }

    /// Processes the rows of several sequences together: the rows of the first segment, then those of
    /// the second, and so on. Each result is, bit for bit, the one of a pass over its segment alone.
    ///
    /// Returns [`Output::Logits`] for the rows wanted if the range ends with the last layer, else
    /// [`Output::Hidden`] for every row.
    ///
    /// # Errors
    /// A [`ForwardError`], before anything is computed or written in any cache.
    pub fn forward_batch<'s>(
        &self,
        input: Input<'_>,
        segments: &mut [Segment<'_>],
        scratch: &'s mut Scratch,
    ) -> Result<Output<'s>, ForwardError> {
        let n = self.check(input, segments)?;
        let hidden = self.config().hidden;
        self.enter(input, scratch.residual.get(n * hidden))?;
        for segment in segments.iter_mut() {
            segment.cache.truncate(segment.pos);
        }
        let mut pool = self.workers();
        let mut run = |job: &Job, input: &[f32], out: &mut [f32], own: &mut Workspace| match &mut pool {
            Some(pool) => pool.run(job, input, out, own),
            // Another sequence has the workers: this thread computes alone, with the same result.
            None => run_alone(job, input, out, own),
        };
        for layer in 0..self.weights.layers.len() {
            self.layer(layer, n, segments, scratch, &mut run);
        }
        for segment in segments.iter_mut() {
            segment.cache.set_len(segment.pos + segment.rows);
        }
        if !self.weights.is_tail_of_model() {
            return Ok(Output::Hidden(scratch.residual.filled(n * hidden)));
        }
        Ok(Output::Logits(self.head(n, segments, scratch, &mut run)))
    }

    /// The worker threads, unless another sequence has them. A panic while they
    /// were used leaves them at rest.
    pub(super) fn workers(&self) -> Option<MutexGuard<'_, Pool>> {
        match self.pool.try_lock() {
            Ok(pool) => Some(pool),
            Err(TryLockError::Poisoned(pool)) => Some(pool.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Overwrites the activations that the worker threads still hold; for when a sequence ends.
    /// While another pass is running it is left to the end of that one's sequence.
    pub fn wipe_workers(&self) {
        if let Some(mut pool) = self.workers() {
            pool.wipe();
        }
    }

    /// The number of rows given, if they are rows for this range.
    fn count(&self, input: Input<'_>) -> Result<usize, ForwardError> {
        let hidden = self.config().hidden;
        let first_layer = self.weights.range.start;
        match input {
            Input::Ids(ids) if self.weights.is_head_of_model() => Ok(ids.len()),
            Input::Hidden(_) if self.weights.is_head_of_model() => Err(ForwardError::InputKind {
                first_layer,
                expected: "token ids",
            }),
            Input::Ids(_) => Err(ForwardError::InputKind {
                first_layer,
                expected: "activations",
            }),
            Input::Hidden(rows) if rows.len().is_multiple_of(hidden) => Ok(rows.len() / hidden),
            Input::Hidden(rows) => Err(ForwardError::Ragged {
                got: rows.len(),
                hidden,
            }),
        }
    }

    /// The number of rows, if they can be processed.
    fn check(&self, input: Input<'_>, segments: &[Segment<'_>]) -> Result<usize, ForwardError> {
        let n = self.count(input)?;
        let mut expected = 0usize;
        for segment in segments {
            let Segment {
                ref cache,
                pos,
                rows,
                wanted,
            } = *segment;
            if rows == 0 {
                return Err(ForwardError::Empty);
            }
            if wanted > rows {
                return Err(ForwardError::Wanted { wanted, rows });
            }
            if !cache.belongs_to(self.id) {
                return Err(ForwardError::ForeignCache);
            }
            if pos > cache.len() {
                return Err(ForwardError::Gap {
                    pos,
                    cached: cache.len(),
                });
            }
            let capacity = cache.capacity();
            if rows > capacity - pos {
                return Err(ForwardError::Capacity { pos, rows, capacity });
            }
            expected = expected.saturating_add(rows);
        }
        if n == 0 {
            return Err(ForwardError::Empty);
        }
        if n != expected {
            return Err(ForwardError::Segments { got: n, expected });
        }
        Ok(n)
    }

    /// Fills the residual stream from the input.
    fn enter(&self, input: Input<'_>, residual: &mut [f32]) -> Result<(), ForwardError> {
        match input {
            Input::Hidden(rows) => {
                if !rows.iter().all(|value| value.is_finite()) {
                    return Err(ForwardError::NotFinite);
                }
                residual.copy_from_slice(rows);
            }
            Input::Ids(ids) => {
                let spec = self.config();
                let embedding = self
                    .weights
                    .embedding()
                    .expect("a range from layer 0 has the embedding");
                for (id, row) in ids.iter().zip(residual.chunks_exact_mut(spec.hidden)) {
                    let id = usize::try_from(*id).ok().filter(|id| *id < spec.vocab);
                    embedding.widen_row(
                        id.ok_or(ForwardError::TokenOutOfRange { vocab: spec.vocab })?,
                        row,
                    );
                }
            }
        }
        Ok(())
    }

    /// One transformer layer over `n` rows of the residual stream.
    fn layer(
        &self,
        index: usize,
        n: usize,
        segments: &mut [Segment<'_>],
        scratch: &mut Scratch,
        run: &mut impl FnMut(&Job, &[f32], &mut [f32], &mut Workspace),
    ) {
        let spec = self.config();
        let weights = &self.weights.layers[index];
        let (hidden, qkv_rows, attention) = (spec.hidden, spec.qkv_rows(), spec.attention_width());
        let Scratch {
            residual,
            normed,
            qkv,
            mixed,
            activated,
            delta,
            own,
            ..
        } = scratch;
        let residual = residual.get(n * hidden);
        let normed = normed.get(n * hidden);
        let qkv = qkv.get(n * qkv_rows);
        let mixed = mixed.get(n * attention);
        let delta = delta.get(n * hidden);
        let activated = activated.get(n * spec.ffn);

        self.norm(residual, &weights.attention_norm, normed);
        run(
            &self.job(n, JobKind::Linear(MatrixId::Qkv(index))),
            normed,
            qkv,
            own,
        );
        let mut first = 0;
        for Segment { cache, pos, rows, .. } in segments {
            let (pos, rows) = (*pos, *rows);
            let qkv = &mut qkv[first * qkv_rows..][..rows * qkv_rows];
            let mixed = &mut mixed[first * attention..][..rows * attention];
            self.store(index, pos, qkv, cache);
            let layer = Arc::clone(&cache.layers[index]);
            run(&self.job(rows, JobKind::Attend { layer, pos }), qkv, mixed, own);
            first += rows;
        }
        run(
            &self.job(n, JobKind::Linear(MatrixId::Output(index))),
            mixed,
            delta,
            own,
        );
        add(residual, delta);

        self.norm(residual, &weights.ffn_norm, normed);
        run(&self.job(n, JobKind::Gated(index)), normed, activated, own);
        run(
            &self.job(n, JobKind::Linear(MatrixId::Down(index))),
            activated,
            delta,
            own,
        );
        add(residual, delta);
    }

    /// Rotates queries and keys in place and stores keys and values.
    fn store(&self, index: usize, pos: usize, qkv: &mut [f32], cache: &mut KvCache) {
        let spec = self.config();
        let (width, attention) = (spec.head_dim, spec.attention_width());
        let layer = cache.layer_mut(index);
        for (m, row) in qkv.chunks_exact_mut(spec.qkv_rows()).enumerate() {
            let (rotated, values) = row.split_at_mut(attention + spec.kv_heads * width);
            for head in rotated.chunks_exact_mut(width) {
                self.rope.rotate(pos + m, head);
            }
            let keys = &rotated[attention..];
            for (head, (key, value)) in keys
                .chunks_exact(width)
                .zip(values.chunks_exact(width))
                .enumerate()
            {
                layer.store(head, pos + m, key, value);
            }
        }
    }

    /// The final norm and the logits of the rows wanted.
    fn head<'s>(
        &self,
        n: usize,
        segments: &[Segment<'_>],
        scratch: &'s mut Scratch,
        run: &mut impl FnMut(&Job, &[f32], &mut [f32], &mut Workspace),
    ) -> &'s [f32] {
        let spec = self.config();
        let rows = segments.iter().map(|segment| segment.wanted).sum();
        if rows == 0 {
            return &[];
        }
        let Scratch {
            residual,
            normed,
            logits,
            own,
            ..
        } = scratch;
        let normed = normed.get(rows * spec.hidden);
        let (mut given, mut taken) = (residual.filled(n * spec.hidden), 0);
        for segment in segments {
            let (rows, rest) = given.split_at(segment.rows * spec.hidden);
            given = rest;
            let wanted = segment.wanted * spec.hidden;
            self.norm(
                &rows[rows.len() - wanted..],
                &self.weights.final_norm,
                &mut normed[taken..][..wanted],
            );
            taken += wanted;
        }
        let padded = spec.vocab.next_multiple_of(LANES);
        let logits = logits.get(rows * padded);
        run(
            &self.job(rows, JobKind::Linear(MatrixId::Head)),
            normed,
            logits,
            own,
        );
        if padded != spec.vocab {
            for row in 1..rows {
                logits.copy_within(row * padded..row * padded + spec.vocab, row * spec.vocab);
            }
        }
        &logits[..rows * spec.vocab]
    }

    fn norm(&self, rows: &[f32], weight: &[f32], out: &mut [f32]) {
        let (hidden, eps) = (self.config().hidden, self.config().norm_eps);
        for (row, out) in rows.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)) {
            self.kernels.rms_norm(row, weight, eps, out);
        }
    }

    fn job(&self, n: usize, kind: JobKind) -> Job {
        Job {
            kernels: self.kernels,
            weights: Arc::clone(&self.weights),
            n,
            kind,
        }
    }
}

fn add(residual: &mut [f32], delta: &[f32]) {
    for (residual, delta) in residual.iter_mut().zip(delta) {
        *residual += delta;
    }
}
