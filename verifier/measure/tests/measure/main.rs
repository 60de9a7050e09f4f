//! Launch digests against independent calculations, and OVMF images that lie.

#[path = "../support/ovmf.rs"]
mod ovmf;

mod differential;
mod hostile;
mod launch;
