//! The head of a pipeline: sequences, speculation, the ring and its repair.
//!
//! Owns every token of every running sequence, and nothing else does.
