//! A stage on small layers.
